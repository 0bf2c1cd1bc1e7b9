import { OllamaOptions } from "../../contracts/ollama.ts";
import type { OpenAiLogprob } from "../../contracts/openai.ts";
import { Fault } from "../../core/fault.ts";
import type { OpenAiPiece } from "../../support/openai-chat.ts";
import type { GeneratePiece, GenerateRequest, WrittenLogprob } from "../backend.ts";
import type { Engine } from "../engine.ts";
import { resolveModel } from "./known-models.ts";
import type { LeaseOptions } from "../residency/residency.ts";

/** One generation as an API was asked for it. */
export interface Asked {
  model: string;
  request: GenerateRequest;
  lease: LeaseOptions;
}

/** Ollama's options as a generation has them; those that nothing here reads are left out, as Ollama does. */
export function optionsOf(options: OllamaOptions | null | undefined): Partial<GenerateRequest> {
  if (options === null || options === undefined) return {};
  const { stop, num_predict: most } = options;
  return given({
    // Ollama writes without end for 0 and less.
    maxTokens: most === undefined || most <= 0 ? undefined : most,
    numCtx: options.num_ctx,
    numThread: options.num_thread,
    temperature: options.temperature,
    topK: options.top_k,
    topP: options.top_p,
    minP: options.min_p,
    repeatPenalty: options.repeat_penalty,
    repeatLastTokens: options.repeat_last_n,
    presencePenalty: options.presence_penalty,
    frequencyPenalty: options.frequency_penalty,
    seed: options.seed,
    stop: stopsOf(stop),
  });
}

/** Stop texts as a list; undefined where there are none. */
export function stopsOf(stop: string | readonly string[] | null | undefined): readonly string[] | undefined {
  const all = stop === null || stop === undefined ? [] : typeof stop === "string" ? [stop] : stop;
  const texts = all.filter((text) => text !== "");
  return texts.length === 0 ? undefined : texts;
}

/** The fields that are there: neither undefined nor null. */
export function given<T extends Record<string, unknown>>(
  fields: T,
): { [K in keyof T]?: Exclude<T[K], null | undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)) as {
    [K in keyof T]?: Exclude<T[K], null | undefined>;
  };
}

/** Writes an answer; what the model was given by its maker lies under what is asked. @throws Fault as `Engine.generate` */
export async function* generate(engine: Engine, asked: Asked, signal: AbortSignal): AsyncIterable<GeneratePiece> {
  const name = await resolveModel(engine, asked.model);
  yield* engine.generate(name, underSettings(engine, name, asked.request), signal, asked.lease);
}

function underSettings(engine: Engine, name: string, request: GenerateRequest): GenerateRequest {
  const settings = engine.residency.list().find((one) => one.name === name)?.facts?.settings;
  if (settings === undefined) return request;
  const options = OllamaOptions.safeParse(settings.parameters ?? {});
  const { system } = settings;
  const silent = request.raw === true || request.messages.some(({ role }) => role === "system");
  return {
    ...optionsOf(options.data),
    ...request,
    messages:
      system === undefined || silent ? request.messages : [{ role: "system", content: system }, ...request.messages],
  };
}

/** An answer as OpenAI's writers want it. */
export async function* openAiPieces(pieces: AsyncIterable<GeneratePiece>): AsyncIterable<OpenAiPiece> {
  for await (const { text, done, logprobs } of pieces) {
    const told = logprobs === undefined ? {} : { logprobs: logprobs.map(openAiLogprob) };
    if (done === undefined) yield { text, ...told };
    else {
      const { reason, promptTokens, answerTokens } = done;
      yield { text, ...told, done: { reason, promptTokens, answerTokens } };
    }
  }
}

/** How likely a token was, as OpenAI and Ollama write it. */
export function openAiLogprob({ token, logprob, top }: WrittenLogprob): OpenAiLogprob {
  const one = (text: string, value: number): OpenAiLogprob["top_logprobs"][number] => ({
    token: text,
    logprob: value,
    // A part of a character has no text of its own, and its bytes are not known here.
    bytes: text.includes("\uFFFD") ? null : [...Buffer.from(text)],
  });
  return { ...one(token, logprob), top_logprobs: top.map((other) => one(other.token, other.logprob)) };
}

/** How many other tokens are told of; undefined where none was asked for. @throws Fault invalid_request for a number without the switch */
export function topLogprobsOf(request: {
  logprobs?: boolean | null | undefined;
  top_logprobs?: number | null | undefined;
}): number | undefined {
  const { logprobs, top_logprobs: top } = request;
  if (logprobs === true) return top ?? 0;
  if ((top ?? 0) > 0)
    throw new Fault("invalid_request", "top_logprobs: want logprobs: true with it", { param: "top_logprobs" });
  return undefined;
}

/** The same parts after the first has come: what fails at once fails here, before anything was sent. */
export async function begun<T>(parts: AsyncIterable<T>): Promise<AsyncIterable<T>> {
  const iterator = parts[Symbol.asyncIterator]();
  const first = await iterator.next();
  return (async function* () {
    try {
      if (first.done === true) return;
      yield first.value;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  })();
}
