import type {
  EngineAnswer,
  EngineChatRequest,
  EngineError,
  EngineEvent,
  EngineGenerateRequest,
} from "../../contracts/engine-api.ts";
import { type Fault, toFault } from "../../core/fault.ts";
import { sleep } from "../../support/clock.ts";
import type { Dialect } from "../../support/http.ts";
import type { EngineMessage, GeneratePiece, GenerateRequest } from "../backend.ts";
import type { Engine } from "../engine.ts";
import { type Asked, generate, given } from "./inference.ts";
import { resolveModel } from "./known-models.ts";

/** Error object of a fault on the main API. */
export function errorOf({ code, message, retryable, param }: Fault): EngineError["error"] {
  return { code, message, retryable, ...(param === undefined ? {} : { param }) };
}

/** Error object of the main API. */
export const MAIN_DIALECT: Dialect = { body: (fault) => ({ error: errorOf(fault) }) };

/** How often a load's progress is looked at, ms. */
const PROGRESS_MS = 100;

/** A chat as the engine is asked. */
export function askedOfChat(request: Omit<EngineChatRequest, "stream">): Asked {
  return { model: request.model, request: { messages: request.messages, ...tuning(request) }, lease: leaseOf(request) };
}

/** A single prompt as the engine is asked. */
export function askedOfGenerate(request: Omit<EngineGenerateRequest, "stream">): Asked {
  const { prompt, system, raw } = request;
  const messages: EngineMessage[] = [
    ...(system === undefined ? [] : [{ role: "system" as const, content: system }]),
    { role: "user", content: prompt },
  ];
  return {
    model: request.model,
    request: { messages, ...tuning(request), ...(raw === true ? { raw } : {}) },
    lease: leaseOf(request),
  };
}

/** How long a model is kept, from seconds; negative is for ever. */
export function leaseOf({ keepAliveSeconds }: { keepAliveSeconds?: number | undefined }): Asked["lease"] {
  if (keepAliveSeconds === undefined) return {};
  return { keepAliveMs: keepAliveSeconds < 0 ? Number.POSITIVE_INFINITY : keepAliveSeconds * 1000 };
}

function tuning(request: Omit<EngineChatRequest, "stream" | "messages">): Partial<GenerateRequest> {
  return given({
    format: request.format,
    maxTokens: request.maxTokens,
    numCtx: request.contextTokens,
    temperature: request.temperature,
    topK: request.topK,
    topP: request.topP,
    minP: request.minP,
    repeatPenalty: request.repeatPenalty,
    presencePenalty: request.presencePenalty,
    frequencyPenalty: request.frequencyPenalty,
    seed: request.seed,
    stop: request.stop,
    choices: request.choices,
    topLogprobs: request.topLogprobs,
  });
}

/**
 * Events of one generation: the load's progress where the model is not in memory yet, then its words. Whoever takes a stream waits for the load.
 * @throws Fault as `Engine.generate`
 */
export async function* eventsOf(engine: Engine, asked: Asked, signal: AbortSignal): AsyncIterable<EngineEvent> {
  yield* progressOf(engine, asked.model, signal);
  for await (const { text, done, logprobs } of generate(engine, asked, signal)) {
    if (text !== "" || (logprobs ?? []).length > 0) yield { event: "piece", text, ...toldOf(logprobs) };
    if (done !== undefined) yield { event: "done", model: asked.model, ...endOf(done) };
  }
}

/** How an answer ended, on the main API. */
export function endOf(done: NonNullable<GeneratePiece["done"]>): Omit<EngineAnswer, "model" | "text"> {
  const { choices, ...rest } = done;
  return { ...rest, ...(choices === undefined ? {} : { choices: choices.map((one) => ({ ...one })) }) };
}

/** Probabilities of tokens, on the main API. */
export function toldOf(logprobs: GeneratePiece["logprobs"]): Pick<EngineAnswer, "logprobs"> {
  if (logprobs === undefined) return {};
  return { logprobs: logprobs.map(({ top, ...one }) => ({ ...one, top: top.map((other) => ({ ...other })) })) };
}

/** The same, with a failure as the last event. */
export async function* eventsOrError(engine: Engine, asked: Asked, signal: AbortSignal): AsyncIterable<EngineEvent> {
  try {
    yield* eventsOf(engine, asked, signal);
  } catch (error) {
    yield { event: "error", error: errorOf(toFault(error)) };
  }
}

/** The progress of a model's load, until it is over however it ends; nothing for one in memory, and for one that has failed. */
async function* progressOf(engine: Engine, model: string, signal: AbortSignal): AsyncIterable<EngineEvent> {
  const name = await resolveModel(engine, model);
  const first = engine.residency.status(name).status.state;
  if (first === "ready" || first === "failed") return;
  let over = false;
  const ended = engine.residency.load(name).then(
    () => (over = true),
    () => (over = true),
  );
  let told = -1;
  while (!over) {
    const { status } = engine.residency.status(name);
    const ratio = status.state === "loading" ? status.progress : 0;
    if (ratio !== told) yield { event: "progress", model, ratio };
    told = ratio;
    await Promise.race([ended, sleep(PROGRESS_MS, signal)]);
  }
}
