import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { embeddingsOf } from "./mock-embeddings.ts";

/** What a mock does instead of answering. `…-mid` ones come after the first words. */
export const MOCK_FAULTS = [
  "stall",
  "stall-mid",
  "reset",
  "reset-mid",
  "eof-mid",
  "500",
  "503",
  "404",
  "empty",
  "garbage",
  "garbage-mid",
  "wrong-shape",
  "half-json",
  "error-line",
  "endless",
] as const;
/** What a mock does instead of answering. */
export type MockFault = (typeof MOCK_FAULTS)[number];

/** One call that a mock got. */
export interface MockCall {
  path: string;
  headers: IncomingHttpHeaders;
  body: z.output<typeof Body>;
  /** Text of the last user message. */
  prompt: string;
  /** Whether the caller closed before the answer was whole. */
  closedEarly: boolean;
  /** The connection's end of this call was seen, early or not. */
  ended?: boolean;
  /** When the caller closed early, `performance.now()`. */
  closedAtMs?: number;
}

/** How a mock behaves; every field may be changed while it runs. */
export interface MockBehaviour {
  /** The answer to a call; streamed word by word. */
  answer: (call: MockCall) => string;
  /** Wait before the first word, ms. */
  prefillMs: number;
  /** Wait between words, ms. */
  tokenMs: number;
  /** Fault of a call by its number, from 0. Undefined: it answers. */
  fault: (call: MockCall, number: number) => MockFault | undefined;
  /** Answers a call instead of words: a text as it stands, anything else as JSON. Absent: words. */
  reply?: (call: MockCall) => { status?: number; headers?: Record<string, string>; body: unknown };
  /** What `GET /models/health` says. */
  ready: boolean;
}

/** A model server that speaks the Ollama and OpenAI APIs with set timing and faults. */
export interface MockModel {
  url: string;
  calls: MockCall[];
  behaviour: MockBehaviour;
  /** Connections open now. */
  connections(): number;
  close(): Promise<void>;
}

const Body = z.looseObject({
  model: z.string(),
  stream: z.boolean().nullish(),
  prompt: z.unknown().optional(),
  format: z.unknown().optional(),
  messages: z.array(z.looseObject({ role: z.string(), content: z.unknown().optional() })).default([]),
});

/** Starts a mock on 127.0.0.1. @param port 0 takes a free one */
export async function startMockModel(
  model: string,
  behaviour: Partial<MockBehaviour> = {},
  port = 0,
): Promise<MockModel> {
  const calls: MockCall[] = [];
  const settled: MockBehaviour = {
    answer: () => `An answer of ${model}.`,
    prefillMs: 0,
    tokenMs: 0,
    fault: () => undefined,
    ready: true,
    ...behaviour,
  };
  const server = createServer((request, response) => {
    void serve(model, settled, calls, request, response).catch(() => response.destroy());
  });
  const sockets = new Set<unknown>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const address = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${address.port}`,
    calls,
    behaviour: settled,
    connections: () => sockets.size,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function serve(
  model: string,
  behaviour: MockBehaviour,
  calls: MockCall[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = request.url ?? "/";
  if (request.method === "GET") {
    const body =
      path === "/models/health"
        ? { ready: behaviour.ready, models: [{ name: model, state: behaviour.ready ? "ready" : "loading" }] }
        : path === "/v1/models"
          ? { object: "list", data: [{ id: model, object: "model", created: 0, owned_by: "mock" }] }
          : { models: [{ name: model }] };
    response
      .writeHead(path === "/models/health" && !behaviour.ready ? 503 : 200, { "content-type": "application/json" })
      .end(JSON.stringify(body));
    return;
  }
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  const body = Body.parse(JSON.parse(Buffer.concat(parts).toString("utf8")));
  const said = body.messages.findLast(({ role }) => role === "user")?.content;
  const prompt = typeof said === "string" ? said : typeof body.prompt === "string" ? body.prompt : "";
  const call: MockCall = { path, headers: request.headers, body, prompt, closedEarly: false };
  calls.push(call);
  response.on("close", () => {
    call.ended = true;
    if (response.writableFinished) return;
    call.closedEarly = true;
    call.closedAtMs = performance.now();
  });
  await answer(model, behaviour, call, calls.length - 1, response);
}

async function answer(
  model: string,
  behaviour: MockBehaviour,
  call: MockCall,
  number: number,
  response: ServerResponse,
): Promise<void> {
  const fault = behaviour.fault(call, number);
  const wire = wireOf(call.path, model);
  const json = (status: number, value: unknown, headers = {}): unknown =>
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
  if (fault === "stall") return;
  if (fault === "reset") return void response.destroy();
  if (fault === "500") return void json(500, { error: "the runner crashed" });
  if (fault === "503") return void json(503, { error: `${model} is loading` }, { "retry-after": "1" });
  if (fault === "404") return void json(404, { error: `model '${model}' not found` });
  if (fault === "garbage") return void response.writeHead(200).end("<html>this is no model</html>\n");
  if (fault === "wrong-shape") return void json(200, { hello: "world" });
  const whole = fault === "empty" ? "" : behaviour.answer(call);
  const words = whole.match(/\s*\S+\s*$|\s*\S+/g) ?? [];
  // Ollama streams unless told not to, OpenAI only when told to.
  const streams = call.path.startsWith("/api/") ? call.body.stream !== false : call.body.stream === true;
  if (behaviour.reply !== undefined) {
    const { status = 200, headers = {}, body } = behaviour.reply(call);
    if (typeof body !== "string") return void json(status, body, headers);
    return void response.writeHead(status, headers).end(body);
  }
  if (call.path === "/api/show") return void json(200, { capabilities: ["completion"], details: { family: model } });
  const vectors = embeddingsOf(call.path, model, call.body);
  if (vectors !== undefined) return void json(200, vectors);
  if (!streams) {
    const takesMs = behaviour.prefillMs + behaviour.tokenMs * words.length;
    if (takesMs > 0) await delay(takesMs);
    return void json(200, wire.whole(whole, words.length));
  }
  response.writeHead(200, { "content-type": wire.type });
  response.flushHeaders();
  if (behaviour.prefillMs > 0) await delay(behaviour.prefillMs);
  for (let at = 0; !response.destroyed; at++) {
    const word = words[at] ?? (fault === "endless" ? " more" : undefined);
    if (word === undefined) break;
    response.write(wire.piece(word));
    if (fault === "endless") await delay(1);
    else if (behaviour.tokenMs > 0) await delay(behaviour.tokenMs);
    if (fault === "stall-mid") return;
    if (fault === "reset-mid" || fault === "eof-mid") {
      await delay(2); // The first words must be on their way before the line goes down.
      return void (fault === "reset-mid" ? response.destroy() : response.end());
    }
    if (fault === "garbage-mid") return void response.end("\u0000\u0001 not a line of any API\n");
    if (fault === "half-json") return void response.end(wire.piece("cut").slice(0, 20));
    if (fault === "error-line") return void response.end(wire.error("an error was met while running"));
  }
  if (!response.destroyed) response.end(wire.end(words.length));
}

/** How one API writes an answer. */
export interface Wire {
  /** Content type of a streamed answer. */
  type: string;
  piece(text: string): string;
  end(tokens: number): string;
  error(message: string): string;
  whole(text: string, tokens: number): unknown;
}

/** The way in which a path's API writes the answers of a model. */
export function wireOf(path: string, model: string): Wire {
  if (path === "/v1/responses")
    return { ...openAi(model), whole: (text, tokens) => openAiResponse(model, text, tokens) };
  return path === "/v1/chat/completions" ? openAi(model) : ollama(model, path);
}

function openAiResponse(model: string, text: string, tokens: number): unknown {
  const content = [{ type: "output_text", text, annotations: [] }];
  return {
    ...{ id: "resp_mock", object: "response", created_at: 1, status: "completed", model },
    output: [{ type: "message", id: "msg_mock", status: "completed", role: "assistant", content }],
    usage: { input_tokens: 7, output_tokens: tokens, total_tokens: 7 + tokens },
  };
}

function ollama(model: string, path: string): Wire {
  const base = { model, created_at: "2026-01-01T00:00:00Z" };
  const said = (text: string): object =>
    path === "/api/generate" ? { response: text } : { message: { role: "assistant", content: text } };
  const totals = (tokens: number): object => ({
    done: true,
    done_reason: "stop",
    total_duration: 5_000_000,
    prompt_eval_count: 7,
    eval_count: tokens,
  });
  return {
    type: "application/x-ndjson",
    piece: (text) => `${JSON.stringify({ ...base, ...said(text), done: false })}\n`,
    end: (tokens) => `${JSON.stringify({ ...base, ...said(""), ...totals(tokens) })}\n`,
    error: (message) => `${JSON.stringify({ error: message })}\n`,
    whole: (text, tokens) => ({ ...base, ...said(text), ...totals(tokens) }),
  };
}

function openAi(model: string): Wire {
  const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
  const base = { id: "mock", object: "chat.completion.chunk", created: 1, model };
  const chunk = (delta: object, finish: string | null): object => ({
    ...base,
    choices: [{ index: 0, delta, finish_reason: finish }],
  });
  const usage = (tokens: number): object => ({ prompt_tokens: 7, completion_tokens: tokens, total_tokens: 7 + tokens });
  return {
    type: "text/event-stream",
    piece: (text) => event(chunk({ content: text }, null)),
    end: (tokens) =>
      `${event(chunk({}, "stop"))}${event({ ...base, choices: [], usage: usage(tokens) })}data: [DONE]\n\n`,
    error: (message) => event({ error: { message, type: "server_error" } }),
    whole: (text, tokens) => ({
      ...base,
      object: "chat.completion",
      choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
      usage: usage(tokens),
    }),
  };
}
