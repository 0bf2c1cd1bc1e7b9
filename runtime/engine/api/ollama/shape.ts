import type { Context } from "hono";
import { z } from "zod";
import type { OllamaChatRequest, OllamaGenerateChunk, OllamaGenerateRequest } from "../../../contracts/ollama.ts";
import type { OpenAiLogprob } from "../../../contracts/openai.ts";
import { Fault } from "../../../core/fault.ts";
import { monotonicMs } from "../../../support/clock.ts";
import { ndjson, OLLAMA_DIALECT, streamResponse } from "../../../support/http.ts";
import type { EngineMessage, GeneratePiece, GenerateRequest } from "../../backend.ts";
import type { Engine } from "../../engine.ts";
import { keepAliveMs } from "../../residency/keep-alive.ts";
import { type Asked, given, openAiLogprob, optionsOf, topLogprobsOf } from "../inference.ts";
import { resolveModel } from "../known-models.ts";

const NANOSECONDS = 1_000_000;

/** A span as Ollama writes it. */
export function nanoseconds(ms: number): number {
  return Math.max(0, Math.round(ms * NANOSECONDS));
}

/** What every line of an answer begins with. */
export function head(model: string): { model: string; created_at: string } {
  return { model, created_at: new Date().toISOString() };
}

/** What the last line of an answer adds. */
export type Totals =
  | { done: false }
  | (Required<
      Pick<
        OllamaGenerateChunk,
        | "done_reason"
        | "total_duration"
        | "load_duration"
        | "prompt_eval_count"
        | "prompt_eval_duration"
        | "eval_count"
        | "eval_duration"
      >
    > & { done: true });

/** An answer's parts with what Ollama counts. What passed before the backend began, as waiting for a load, is `load_duration`. */
export async function* withTotals(
  pieces: AsyncIterable<GeneratePiece>,
): AsyncIterable<{ text: string; totals: Totals; logprobs: { logprobs?: OpenAiLogprob[] } }> {
  const began = monotonicMs();
  for await (const piece of pieces) {
    const { text, done } = piece;
    const logprobs = piece.logprobs === undefined ? {} : { logprobs: piece.logprobs.map(openAiLogprob) };
    if (done === undefined) {
      yield { text, totals: { done: false }, logprobs };
      continue;
    }
    const totalMs = monotonicMs() - began;
    yield {
      text,
      logprobs,
      totals: {
        done: true,
        done_reason: done.reason,
        total_duration: nanoseconds(totalMs),
        load_duration: nanoseconds(totalMs - done.promptMs - done.answerMs),
        prompt_eval_count: done.promptTokens,
        prompt_eval_duration: nanoseconds(done.promptMs),
        eval_count: done.answerTokens,
        eval_duration: nanoseconds(done.answerMs),
      },
    };
  }
}

/** Answers with lines as they come, which is Ollama's default, or with one document joined of them. */
export async function answerLines<T extends { done: boolean }>(
  c: Context,
  stream: boolean,
  lines: AsyncIterable<T>,
  join: (all: readonly T[], last: T) => unknown,
): Promise<Response> {
  if (stream)
    return streamResponse(
      lines,
      ndjson<T>((fault) => OLLAMA_DIALECT.body(fault)),
    );
  const all: T[] = [];
  for await (const line of lines) {
    all.push(line);
    if (line.done) return c.json(z.looseObject({}).parse(join(all, line)));
  }
  throw new Fault("model_failed", "the model ended without a last word");
}

/** What an empty prompt does in Ollama: load the model, or with `keep_alive` 0 let it go. @returns what the answer adds */
export async function loadOnly(
  engine: Engine,
  given: string,
  keepAliveMs: number | undefined,
): Promise<{ done: true; done_reason: "load" | "unload" }> {
  const model = await resolveModel(engine, given);
  if (keepAliveMs === 0) {
    engine.residency.keep(model, 0);
    return { done: true, done_reason: "unload" };
  }
  await engine.residency.load(model);
  if (keepAliveMs !== undefined) engine.residency.keep(model, keepAliveMs);
  return { done: true, done_reason: "load" };
}

/** The probabilities of all lines in one. */
export function joinedLogprobs(all: readonly { logprobs?: OpenAiLogprob[] }[]): { logprobs?: OpenAiLogprob[] } {
  const joined = all.flatMap(({ logprobs }) => logprobs ?? []);
  return joined.length === 0 ? {} : { logprobs: joined };
}

const Schema = z.record(z.string(), z.unknown());

/** What `/api/chat` and `/api/generate` are asked for alike, about messages. @throws Fault invalid_request */
export function askedAbout(
  messages: readonly EngineMessage[],
  request: OllamaChatRequest | OllamaGenerateRequest,
): Asked {
  return {
    model: request.model,
    request: {
      messages,
      ...formatOf(request.format),
      ...optionsOf(request.options),
      ...given({ topLogprobs: topLogprobsOf(request) }),
    },
    lease: given({ keepAliveMs: keepAliveMs(request.keep_alive) }),
  };
}

/** `format` as a generation has it; an empty one is none. */
function formatOf(format: unknown): Pick<GenerateRequest, "format"> {
  if (format === "json") return { format: "json" };
  const schema = Schema.safeParse(format);
  return schema.success ? { format: schema.data } : {};
}
