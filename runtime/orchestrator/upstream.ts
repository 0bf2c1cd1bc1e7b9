import { Agent, type Dispatcher } from "undici";
import { z } from "zod";
import type { Member } from "../contracts/ensemble-config.ts";
import { OllamaChatChunk, OllamaError } from "../contracts/ollama.ts";
import { OpenAiChatChunk, OpenAiError } from "../contracts/openai.ts";
import { Fault } from "../core/fault.ts";
import type { ModelCall, Piece } from "../core/ports.ts";
import { LineError, linesOf } from "../support/lines.ts";

/** Longest part of a server's error text that goes into a message, characters. */
const ERROR_CHARS = 300;

/** Error codes of a connection that could not be made or that broke. Source: Node's and undici's error documentation. */
const BROKEN = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_SOCKET",
  "UND_ERR_CLOSED",
  "UND_ERR_DESTROYED",
]);

/** The connections to all members. Every call streams, so that closing one stops its model (ollama#11889). */
export class Upstream {
  readonly #agent: Agent;
  readonly #env: Readonly<Record<string, string | undefined>>;

  /** @param env where `apiKeyEnv` of a member is looked up. */
  constructor(options: { connectMs: number; env?: Readonly<Record<string, string | undefined>> }) {
    this.#env = options.env ?? {};
    this.#agent = new Agent({
      connect: { timeout: options.connectMs },
      // Deadlines are the pipeline's; a slow model is not a broken one.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 30_000,
      pipelining: 1,
    });
  }

  /** Streams one answer. @throws Fault model_unreachable, model_loading, model_failed, model_bad_answer, each naming the member */
  async *call(call: ModelCall, signal: AbortSignal): AsyncIterable<Piece> {
    const { member } = call;
    const ollama = member.api === "ollama";
    const path = ollama ? "/api/chat" : "/v1/chat/completions";
    const body = await this.#open(member, path, ollama ? ollamaBody(call) : openAiBody(call), signal);
    try {
      yield* ollama ? ollamaPieces(member, body) : openAiPieces(member, body);
    } catch (error) {
      throw connectionFault(member, error);
    } finally {
      body.destroy();
    }
  }

  /** GETs a JSON document of a member. Undefined body when it is not JSON. @throws Fault model_unreachable */
  async get(member: Member, path: string, signal: AbortSignal): Promise<{ status: number; body: unknown }> {
    try {
      const answer = await this.#agent.request({
        ...target(member, path),
        method: "GET",
        signal,
        headers: this.#headers(member),
      });
      const text = await answer.body.text();
      return { status: answer.statusCode, body: jsonOf(text) };
    } catch (error) {
      throw connectionFault(member, error);
    }
  }

  /** Breaks all connections. */
  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async #open(
    member: Member,
    path: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData["body"]> {
    const request = {
      ...target(member, path),
      method: "POST" as const,
      headers: { ...this.#headers(member), "content-type": "application/json" },
      body: JSON.stringify(body),
      signal,
    };
    let answer: Dispatcher.ResponseData;
    try {
      answer = await this.#agent.request(request);
    } catch (error) {
      throw connectionFault(member, error);
    }
    if (answer.statusCode >= 200 && answer.statusCode < 300) return answer.body;
    const text = await answer.body.text().catch(() => "");
    throw refused(member, answer.statusCode, text, answer.headers["retry-after"]);
  }

  #headers(member: Member): { authorization?: string } {
    if (member.apiKeyEnv === undefined) return {};
    const key = this.#env[member.apiKeyEnv];
    if (key === undefined || key === "") {
      throw new Fault("model_failed", `${member.name}: the environment variable ${member.apiKeyEnv} is not set`, {
        member: member.name,
      });
    }
    return { authorization: `Bearer ${key}` };
  }
}

/** The fault of a call whose connection could not be made or broke, or whose answer could not be read. */
export function connectionFault(member: Member, error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof LineError) return bad(member, error.message);
  const code = codeOf(error);
  const unreachable = code !== undefined && BROKEN.has(code);
  const what = code ?? (error instanceof Error ? error.name : "failed");
  return new Fault(
    unreachable ? "model_unreachable" : "model_failed",
    unreachable ? `no connection to ${member.url} (${what})` : `the call of ${member.url} failed (${what})`,
    { cause: error, member: member.name },
  );
}

/** The header with a member's key, where it has one. @throws Fault model_failed when its variable is not set */
export function keyHeaders(
  member: Member,
  env: Readonly<Record<string, string | undefined>>,
): { authorization?: string } {
  if (member.apiKeyEnv === undefined) return {};
  const key = env[member.apiKeyEnv];
  if (key === undefined || key === "") {
    throw new Fault("model_failed", `${member.name}: the environment variable ${member.apiKeyEnv} is not set`, {
      member: member.name,
    });
  }
  return { authorization: `Bearer ${key}` };
}

/** Where a path of a member's API is; its base address may have a path of its own. */
export function target(member: Member, path: string): { origin: string; path: string } {
  const { origin, pathname } = new URL(member.url);
  return { origin, path: `${pathname.replace(/\/$/, "")}${path}` };
}

/** The code of an error or of one of its causes. */
function codeOf(error: unknown): string | undefined {
  const parsed = z.looseObject({ code: z.string() }).safeParse(error);
  if (parsed.success) return parsed.data.code;
  return error instanceof Error && error.cause !== undefined ? codeOf(error.cause) : undefined;
}

function ollamaBody({ member, messages, format, maxTokens, temperature }: ModelCall): unknown {
  return {
    model: member.model,
    messages,
    stream: true,
    // Hidden thoughts cost most of a small model's time and are thrown away here.
    think: false,
    ...(format === undefined ? {} : { format }),
    options: {
      num_ctx: member.numCtx,
      num_predict: maxTokens,
      ...(member.numThread === undefined ? {} : { num_thread: member.numThread }),
      ...(temperature === undefined ? {} : { temperature }),
    },
  };
}

function openAiBody({ member, messages, format, maxTokens, temperature }: ModelCall): unknown {
  const schema = { name: "answer", strict: true, schema: format };
  return {
    model: member.model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: maxTokens,
    ...(format === undefined ? {} : { response_format: { type: "json_schema", json_schema: schema } }),
    ...(temperature === undefined ? {} : { temperature }),
  };
}

async function* ollamaPieces(member: Member, body: AsyncIterable<Uint8Array>): AsyncIterable<Piece> {
  for await (const line of linesOf(body)) {
    const json = jsonOf(line);
    const chunk = OllamaChatChunk.safeParse(json);
    if (!chunk.success) {
      const error = OllamaError.safeParse(json);
      throw error.success ? said(member, error.data.error) : bad(member, "a line that is not of the Ollama API");
    }
    const { message, done, done_reason, prompt_eval_count, eval_count } = chunk.data;
    yield done
      ? {
          text: message.content,
          done: { reason: done_reason ?? "stop", promptTokens: prompt_eval_count, answerTokens: eval_count },
        }
      : { text: message.content };
    if (done) return;
  }
}

async function* openAiPieces(member: Member, body: AsyncIterable<Uint8Array>): AsyncIterable<Piece> {
  let reason: string | undefined;
  let usage: { promptTokens: number; answerTokens: number } | undefined;
  const end = (): Piece => ({ text: "", done: { reason: reason ?? "stop", ...usage } });
  for await (const line of linesOf(body)) {
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") {
      yield end();
      return;
    }
    const json = jsonOf(data);
    const chunk = OpenAiChatChunk.safeParse(json);
    if (!chunk.success) {
      const error = OpenAiError.safeParse(json);
      throw error.success
        ? said(member, error.data.error.message)
        : bad(member, "an event that is not of the OpenAI API");
    }
    const choice = chunk.data.choices[0];
    reason = choice?.finish_reason ?? reason;
    const tokens = chunk.data.usage;
    if (tokens !== undefined && tokens !== null)
      usage = { promptTokens: tokens.prompt_tokens, answerTokens: tokens.completion_tokens };
    const text = choice?.delta.content ?? "";
    if (text !== "") yield { text };
  }
  // Some servers leave [DONE] out; a finish_reason says as much.
  if (reason !== undefined) yield end();
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The fault of a server that answered with an error status. */
export function refused(
  member: Member,
  status: number,
  text: string,
  retryAfter: string | string[] | undefined,
): Fault {
  const json = jsonOf(text);
  const ollama = OllamaError.safeParse(json);
  const openai = OpenAiError.safeParse(json);
  const message = ollama.success ? ollama.data.error : openai.success ? openai.data.error.message : "";
  const seconds = Number(retryAfter);
  const loading = status === 503 && (Number.isFinite(seconds) || /loading/i.test(message));
  const detail = message === "" ? "" : `: ${message.slice(0, ERROR_CHARS)}`;
  return new Fault(loading ? "model_loading" : "model_failed", `${member.url} answered ${status}${detail}`, {
    member: member.name,
    ...(loading && Number.isFinite(seconds) ? { retryAfterSeconds: seconds } : {}),
  });
}

function said(member: Member, message: string): Fault {
  return new Fault("model_failed", `${member.url} broke off: ${message.slice(0, ERROR_CHARS)}`, {
    member: member.name,
  });
}

function bad(member: Member, what: string): Fault {
  return new Fault("model_bad_answer", `${member.url} sent ${what}`, { member: member.name });
}
