import { createHash } from "node:crypto";
import { CATALOGUE } from "../../contracts/catalogue.ts";
import { monotonicMs, sleep } from "../../support/clock.ts";
import type { Backend, GeneratePiece, GenerateRequest, LoadedModel, ModelFacts, PullStep } from "../backend.ts";
import { play } from "./roles.ts";

/** Timing of the scripted backend. */
export interface ScriptedOptions {
  /** How long a load takes, ms. @default 0 */
  loadMs?: number;
  /** Pause between two words, ms. @default 0 */
  tokenMs?: number;
}

/** Share of a word's letters that a token is taken to have; only the counts in answers come from it. */
const CHARS_A_TOKEN = 4;

/** A backend without weights for tests and the lab: its answers follow from the prompt and the model's role, and say that they are scripted. */
export function scriptedBackend(options: ScriptedOptions = {}): Backend {
  const { loadMs = 0, tokenMs = 0 } = options;
  return {
    name: "scripted",
    facts: (model) => Promise.resolve(factsOf(model)),
    pull: (model, signal) => pull(model, signal),
    load: async (model, progress, signal) => {
      for (let done = 0; done < 10; done++) {
        progress(done / 10);
        await sleep(loadMs / 10, signal);
      }
      progress(1);
      return loaded(model, tokenMs);
    },
  };
}

function factsOf(model: string): ModelFacts {
  const known = CATALOGUE.find((entry) => entry.model === model);
  const millions = known?.parametersMillions ?? 0;
  return {
    digest: createHash("sha256").update(`scripted ${model}`).digest("hex"),
    sizeBytes: (known?.downloadMb ?? 0) * 1_000_000,
    format: "scripted",
    family: /^[a-z]+/i.exec(model)?.[0] ?? "scripted",
    parameterSize: millions >= 1000 ? `${millions / 1000}B` : `${millions}M`,
    quantization: "none",
    contextTokens: 32_768,
  };
}

async function* pull(model: string, signal: AbortSignal): AsyncIterable<PullStep> {
  const { digest } = factsOf(model);
  const totalBytes = 1_048_576;
  yield { status: "pulling manifest" };
  for (let part = 0; part <= 4; part++) {
    await sleep(1, signal);
    yield {
      status: `pulling ${digest.slice(0, 12)}`,
      digest: `sha256:${digest}`,
      totalBytes,
      completedBytes: (totalBytes * part) / 4,
    };
  }
  yield { status: "verifying sha256 digest" };
  yield { status: "writing manifest" };
}

function loaded(model: string, tokenMs: number): LoadedModel {
  return {
    memoryBytes: factsOf(model).sizeBytes,
    generate: (request, signal) => generate(model, request, tokenMs, signal),
    unload: () => Promise.resolve(),
  };
}

async function* generate(
  model: string,
  request: GenerateRequest,
  tokenMs: number,
  signal: AbortSignal,
): AsyncIterable<GeneratePiece> {
  const began = monotonicMs();
  const promptTokens = request.messages.reduce(
    (sum, { content }) => sum + Math.ceil(content.length / CHARS_A_TOKEN),
    0,
  );
  const text = cutAtStop(
    request.format === "json" ? asJson(model, request) : play(model, request.messages),
    request.stop ?? [],
  );
  const words = text.match(/\s*\S+\s*$|\s*\S+/g) ?? [];
  const most = request.maxTokens ?? Number.POSITIVE_INFINITY;
  const promptMs = monotonicMs() - began;
  let answerTokens = 0;
  for (const word of words) {
    signal.throwIfAborted();
    if (answerTokens >= most) break;
    if (tokenMs > 0) await sleep(tokenMs, signal);
    answerTokens++;
    yield { text: word };
  }
  const reason = answerTokens < words.length ? "length" : "stop";
  yield {
    text: "",
    done: { reason, promptTokens, answerTokens, promptMs, answerMs: monotonicMs() - began - promptMs },
  };
}

function asJson(model: string, request: GenerateRequest): string {
  const said = play(model, request.messages);
  return said.startsWith("{") ? said : JSON.stringify({ answer: said });
}

function cutAtStop(text: string, stop: readonly string[]): string {
  const ends = stop.map((mark) => text.indexOf(mark)).filter((at) => at !== -1);
  return ends.length === 0 ? text : text.slice(0, Math.min(...ends));
}
