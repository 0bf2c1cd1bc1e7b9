import { Fault } from "../../core/fault.ts";
import { monotonicMs } from "../../support/clock.ts";
import type { Engine } from "../engine.ts";
import type { LeaseOptions } from "../residency/residency.ts";
import { resolveModel } from "./known-models.ts";

/** Vectors of some texts. */
export interface Embedded {
  /** One a text, in their order, as the model gave them. */
  vectors: number[][];
  /** Tokens of all texts together. */
  tokens: number;
  /** Wait for the model, and for the vectors, ms. */
  loadMs: number;
  embedMs: number;
}

/** Has texts turned into vectors. @param truncate cuts what is longer than the window, instead of refusing it @throws Fault unknown_model, model_loading, model_failed, not_supported */
export async function embed(
  engine: Engine,
  name: string,
  texts: readonly string[],
  signal: AbortSignal,
  { truncate = false, ...lease }: LeaseOptions & { truncate?: boolean } = {},
): Promise<Embedded> {
  const began = monotonicMs();
  const { model, release } = await engine.residency.lease(await resolveModel(engine, name), { signal, ...lease });
  const leased = monotonicMs();
  try {
    if (model.embed === undefined)
      throw new Fault("not_supported", `the ${engine.backend.name} backend makes no embeddings`);
    const none = { vectors: [], promptTokens: 0 };
    const { vectors, promptTokens } = texts.length === 0 ? none : await model.embed(texts, signal, truncate);
    return { vectors, tokens: promptTokens, loadMs: leased - began, embedMs: monotonicMs() - leased };
  } catch (error) {
    if (signal.aborted) throw new Fault("cancelled", "the client went away", { cause: error });
    if (error instanceof Fault) throw error;
    throw new Fault("model_failed", `${name}: ${error instanceof Error ? error.message : "failed"}`, { cause: error });
  } finally {
    release();
  }
}

/**
 * Vectors of length 1, so that their scalar product is the cosine, as Ollama and OpenAI give them.
 * @param dimensions takes so many numbers from the front of each. Absent: all. @throws Fault invalid_request for more than there are
 */
export function normalized(vectors: readonly (readonly number[])[], dimensions?: number | null): number[][] {
  return vectors.map((vector) => {
    const wanted = dimensions ?? vector.length;
    if (wanted > vector.length)
      throw new Fault("invalid_request", `dimensions: got ${wanted}, want at most ${vector.length}, the model's own`, {
        param: "dimensions",
      });
    const cut = vector.slice(0, wanted);
    const length = Math.hypot(...cut);
    return length === 0 ? [...cut] : cut.map((value) => value / length);
  });
}
