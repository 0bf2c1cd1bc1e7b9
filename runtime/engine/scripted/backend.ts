import { monotonicMs, sleep } from "../../support/clock.ts";
import type { Backend, GeneratePiece, GenerateRequest, LabelProbability, LoadedModel } from "../backend.ts";
import { scriptedFacts, ScriptedLibrary } from "./library.ts";
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
  const library = new ScriptedLibrary();
  return {
    name: "scripted",
    library,
    load: async (model, progress, signal) => {
      for (let done = 0; done < 10; done++) {
        progress(done / 10);
        await sleep(loadMs / 10, signal);
      }
      progress(1);
      return loaded(library.played(model), tokenMs);
    },
  };
}

function loaded(model: string, tokenMs: number): LoadedModel {
  return {
    memoryBytes: scriptedFacts(model).sizeBytes,
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
  if (request.choices !== undefined) {
    const choices = chosen(text, request.choices);
    const best = choices.toSorted((a, b) => b.probability - a.probability)[0]?.label ?? "";
    yield { text: best, done: { reason: "stop", promptTokens, answerTokens: 1, promptMs, answerMs: 0, choices } };
    return;
  }
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

/** Nearly all for the label that the text has first, a share of the rest for each other; the same for all where it has none. */
function chosen(text: string, labels: readonly string[]): LabelProbability[] {
  const at = labels.map((label) => text.indexOf(label));
  const first = Math.min(...at.filter((one) => one !== -1));
  if (!Number.isFinite(first)) return labels.map((label) => ({ label, probability: 1 / labels.length }));
  const winner = at.indexOf(first);
  const rest = 0.1 / Math.max(1, labels.length - 1);
  return labels.map((label, index) => ({ label, probability: index === winner ? 0.9 : rest }));
}

function asJson(model: string, request: GenerateRequest): string {
  const said = play(model, request.messages);
  return said.startsWith("{") ? said : JSON.stringify({ answer: said });
}

function cutAtStop(text: string, stop: readonly string[]): string {
  const ends = stop.map((mark) => text.indexOf(mark)).filter((at) => at !== -1);
  return ends.length === 0 ? text : text.slice(0, Math.min(...ends));
}
