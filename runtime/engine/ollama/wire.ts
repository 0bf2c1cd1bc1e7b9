import { OllamaChatChunk, OllamaError, OllamaGenerateChunk } from "../../contracts/ollama.ts";
import { jsonOf } from "../../support/json.ts";
import type { GeneratePiece, GenerateRequest, TokenLogprob } from "../backend.ts";
import { likeliest } from "../likeliest.ts";
import { labelsIn, Logprobs, writtenOf } from "../upstream/labels.ts";
import type { UpstreamServer } from "../upstream/server.ts";

/** What stays the same for all calls of one loaded model: Ollama loads it again for other values. Source: `needsReload`, server/sched.go of ollama 0.17. */
export interface OllamaRunner {
  num_ctx: number;
  num_thread?: number;
}

/** Tokens that are asked for where a label is to be found among them; the most that the API tells. */
const MOST_TOP_LOGPROBS = 20;
const NANOSECONDS_A_MS = 1e6;

/** A call that writes an answer: its path and body. It always streams: closing the connection then ends the work (ollama#11889). @param keepAlive such as `300s` */
export function callOf(
  model: string,
  request: GenerateRequest,
  runner: OllamaRunner,
  keepAlive: string,
): { path: string; body: unknown } {
  const { messages, format, maxTokens, temperature, seed, stop, choices, topLogprobs, raw = false } = request;
  const told = choices === undefined ? topLogprobs : MOST_TOP_LOGPROBS;
  const options = {
    ...runner,
    num_predict: choices === undefined ? maxTokens : 1,
    temperature,
    seed,
    stop,
    top_k: request.topK,
    top_p: request.topP,
    min_p: request.minP,
    repeat_penalty: request.repeatPenalty,
    repeat_last_n: request.repeatLastTokens,
    presence_penalty: request.presencePenalty,
    frequency_penalty: request.frequencyPenalty,
  };
  const body = {
    model,
    ...(raw ? { prompt: messages.map(({ content }) => content).join(""), raw } : { messages }),
    stream: true,
    // Hidden thoughts cost most of a small model's time, and nobody here reads them.
    think: false,
    keep_alive: keepAlive,
    // A prompt that is too long is an error and not cut in silence (ollama#3839); an answer ends with the window.
    truncate: false,
    shift: false,
    // JSON leaves out what is undefined.
    format,
    ...(told === undefined ? {} : { logprobs: true, top_logprobs: told }),
    options,
  };
  return { path: raw ? "/api/generate" : "/api/chat", body };
}

/** A line of either path and its words; undefined for anything else. */
function lineOf(json: unknown): { text: string; line: OllamaChatChunk | OllamaGenerateChunk } | undefined {
  const chat = OllamaChatChunk.safeParse(json);
  if (chat.success) return { text: chat.data.message.content, line: chat.data };
  const plain = OllamaGenerateChunk.safeParse(json);
  return plain.success ? { text: plain.data.response, line: plain.data } : undefined;
}

/** The answer's parts. @throws Fault model_failed, model_bad_answer */
export async function* piecesOf(
  server: UpstreamServer,
  lines: AsyncIterable<string>,
  choices: readonly string[] | undefined,
): AsyncIterable<GeneratePiece> {
  const began = performance.now();
  let firstMs: number | undefined;
  let opening: readonly TokenLogprob[] | undefined;
  for await (const line of lines) {
    const json = jsonOf(line);
    const chunk = lineOf(json);
    if (chunk === undefined) {
      const error = OllamaError.safeParse(json);
      throw error.success ? server.brokeOff(error.data.error) : server.bad("a line that is not of the Ollama API");
    }
    const { text } = chunk;
    const { done, done_reason, logprobs } = chunk.line;
    firstMs ??= performance.now() - began;
    const written = writtenOf(Logprobs.safeParse(logprobs).data ?? []);
    opening ??= written[0]?.top;
    if (choices === undefined) {
      if (!done && text === "" && written.length === 0) continue;
      yield {
        text,
        ...(written.length === 0 ? {} : { logprobs: written }),
        ...(done ? { done: totals(chunk.line, done_reason, firstMs, performance.now() - began) } : {}),
      };
    } else if (done) {
      const labels = labelsIn(choices, opening ?? []);
      if (labels === undefined) throw server.bad(nothingOf(choices, opening));
      const sums = totals(chunk.line, "stop", firstMs, performance.now() - began);
      yield { text: likeliest(labels), done: { ...sums, choices: labels } };
    }
    if (done) return;
  }
  throw server.brokeOff("the stream ended before the answer");
}

/** Words for an answer that does not begin with any label. */
export function nothingOf(choices: readonly string[], tokens: readonly TokenLogprob[] | undefined): string {
  const wanted = choices.map((one) => JSON.stringify(one)).join(", ");
  return tokens === undefined
    ? "no probabilities of tokens; labels need a server that tells them (Ollama 0.12.11 or newer)"
    : `none of the labels ${wanted} among the ${tokens.length} likeliest tokens`;
}

/** Counts and times of the last line; what a server leaves out is taken from the clock here. */
function totals(
  line: OllamaChatChunk | OllamaGenerateChunk,
  reason: string | undefined,
  firstMs: number,
  wholeMs: number,
): NonNullable<GeneratePiece["done"]> {
  const ms = (nanoseconds: number | undefined): number | undefined =>
    nanoseconds === undefined ? undefined : nanoseconds / NANOSECONDS_A_MS;
  return {
    reason: reason === "length" ? "length" : "stop",
    promptTokens: line.prompt_eval_count ?? 0,
    answerTokens: line.eval_count ?? 0,
    promptMs: ms(line.prompt_eval_duration) ?? firstMs,
    answerMs: ms(line.eval_duration) ?? wholeMs - firstMs,
  };
}
