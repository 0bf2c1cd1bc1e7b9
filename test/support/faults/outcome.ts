import { z } from "zod";
import { OllamaChatChunk, OllamaError } from "../../../runtime/contracts/ollama.ts";
import { OpenAiChatChunk, OpenAiChatCompletion, OpenAiError } from "../../../runtime/contracts/openai.ts";
import { jsonOf } from "../../../runtime/support/json.ts";

/** How a client sees a call end. */
export type Outcome =
  /** Whole, and said to be whole. */
  | { kind: "answer"; text: string; status: number }
  /** One error of the API's own shape; `text` came before it. */
  | { kind: "error"; text: string; status: number; message: string; code: string | number | undefined }
  /** It stopped without a word of why: the client takes half an answer for a whole one, or cannot tell. */
  | { kind: "cut"; text: string; status: number }
  /** An error that is not of the API's shape, or words after the end. */
  | { kind: "malformed"; text: string; status: number; body: string }
  /** Nothing ended within the client's patience. */
  | { kind: "hang"; text: string };

/** API in which the client speaks. */
export type ClientApi = "ollama" | "openai";

/** One call of a client. */
export interface ClientCall {
  baseUrl: string;
  api: ClientApi;
  model: string;
  question: string;
  stream: boolean;
  /** How long the client waits for the end, ms. */
  patienceMs: number;
  headers?: Record<string, string>;
}

/**
 * Makes a call as a plain client does and says how it ended. Any server of these APIs can be called.
 * @returns with `broke`, what broke the connection, such as ECONNREFUSED; absent when nothing did
 */
export async function callAsClient(call: ClientCall): Promise<Outcome & { ms: number; broke?: string }> {
  const { baseUrl, api, model, question, stream, patienceMs, headers } = call;
  const began = performance.now();
  const signal = AbortSignal.timeout(patienceMs);
  let status = 0;
  let body = "";
  let broke: string | undefined;
  try {
    const response = await fetch(`${baseUrl}${api === "ollama" ? "/api/chat" : "/v1/chat/completions"}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ model, stream, messages: [{ role: "user", content: question }] }),
      signal,
    });
    status = response.status;
    const decoder = new TextDecoder();
    if (response.body !== null) {
      for await (const part of response.body as AsyncIterable<Uint8Array>)
        body += decoder.decode(part, { stream: true });
    }
  } catch (error) {
    broke = Broken.safeParse(error).data?.cause.code ?? String(error);
  }
  const ms = performance.now() - began;
  if (signal.aborted) return { kind: "hang", text: body, ms };
  const outcome = read(api, stream && status === 200, status, body, broke !== undefined);
  return { ...outcome, ms, ...(broke === undefined ? {} : { broke }) };
}

const Broken = z.looseObject({ cause: z.looseObject({ code: z.string() }) });

function read(api: ClientApi, streamed: boolean, status: number, body: string, broken: boolean): Outcome {
  if (broken && body === "") return { kind: "cut", text: "", status };
  if (status >= 400) return errorOf(api, jsonOf(body), "", status) ?? { kind: "malformed", text: "", status, body };
  if (streamed) return api === "ollama" ? readLines(status, body) : readEvents(status, body);
  const json = jsonOf(body);
  const whole = api === "ollama" ? OllamaChatChunk.safeParse(json) : OpenAiChatCompletion.safeParse(json);
  if (!whole.success) return { kind: broken ? "cut" : "malformed", text: "", status, body };
  const text =
    "message" in whole.data && Chunk.safeParse(whole.data.message).success
      ? Chunk.parse(whole.data.message).content
      : (OpenAiChatCompletion.parse(json).choices[0]?.message.content ?? "");
  return { kind: "answer", text, status };
}

const Chunk = z.looseObject({ content: z.string() });

function readLines(status: number, body: string): Outcome {
  let text = "";
  const lines = body.split("\n").filter((line) => line !== "");
  for (const [index, line] of lines.entries()) {
    const json = jsonOf(line);
    const chunk = OllamaChatChunk.safeParse(json);
    const last = index === lines.length - 1;
    if (!chunk.success) {
      const error = last ? errorOf("ollama", json, text, status) : undefined;
      return error ?? { kind: last ? "cut" : "malformed", text, status, body };
    }
    text += chunk.data.message.content;
    if (chunk.data.done) return last ? { kind: "answer", text, status } : { kind: "malformed", text, status, body };
  }
  return { kind: "cut", text, status };
}

function readEvents(status: number, body: string): Outcome {
  let text = "";
  let finished = false;
  for (const event of body.split("\n\n").filter((one) => one !== "")) {
    const data = /^data: ?(.*)$/m.exec(event)?.[1];
    if (data === undefined) continue;
    if (data === "[DONE]") return finished ? { kind: "answer", text, status } : { kind: "cut", text, status };
    const json = jsonOf(data);
    const chunk = OpenAiChatChunk.safeParse(json);
    if (!chunk.success) return errorOf("openai", json, text, status) ?? { kind: "malformed", text, status, body };
    text += chunk.data.choices[0]?.delta.content ?? "";
    finished ||= typeof chunk.data.choices[0]?.finish_reason === "string";
  }
  return { kind: "cut", text, status };
}

function errorOf(api: ClientApi, json: unknown, text: string, status: number): Outcome | undefined {
  if (api === "ollama") {
    const error = OllamaError.safeParse(json);
    if (!error.success) return undefined;
    return { kind: "error", text, status, message: error.data.error, code: error.data.code };
  }
  const error = OpenAiError.safeParse(json);
  if (!error.success) return undefined;
  const { message, code } = error.data.error;
  return { kind: "error", text, status, message, code: code ?? undefined };
}
