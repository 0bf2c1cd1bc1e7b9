import type { Backend, LoadedModel } from "../backend.ts";

/** Longest wait of a warming token, ms; a model that has not produced one by then is not ready. */
const WARM_MS = 120_000;

/** First pause after a failure or a second loss, and the longest, ms; each is twice the one before it. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;

/** Pause before the next load after so many failures one after the other, ms. The first loss of a model that served costs none. */
export function pauseMs(failures: number): number {
  return failures <= 0 ? 0 : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
}

/** Loads a model and lets it speak: ready is not said before it has produced one token. A model that does not is unloaded again. */
export async function loadAndWarm(
  backend: Backend,
  name: string,
  progress: (ratio: number) => void,
  signal: AbortSignal,
): Promise<LoadedModel> {
  const loaded = await backend.load(name, progress, signal);
  try {
    await warm(loaded, AbortSignal.any([signal, AbortSignal.timeout(WARM_MS)]));
    return loaded;
  } catch (error) {
    await loaded.unload();
    throw error;
  }
}

async function warm(loaded: LoadedModel, signal: AbortSignal): Promise<void> {
  for await (const piece of loaded.generate({ messages: [{ role: "user", content: "Hello" }], maxTokens: 1 }, signal)) {
    // A token may be a part of a letter and show no text yet, so the count decides where there is one.
    if (piece.text !== "" || (piece.done?.answerTokens ?? 0) > 0) return;
  }
  throw new Error("it produced no token");
}

/** Why a model does not fit, with both figures. */
export function tooLarge(name: string, needBytes: number, budgetBytes: number, limitBytes: number): string {
  const limit = budgetBytes < limitBytes ? `its memory budget of ${gib(budgetBytes)}` : `the ${gib(limitBytes)}`;
  const what =
    budgetBytes < limitBytes ? "raise residency.memoryBytes" : "raise the memory limit of this container (or machine)";
  return `${name} needs ${gib(needBytes)} of memory, this engine may use ${limit}${budgetBytes < limitBytes ? "" : " that it has"}; ${what}, or serve a smaller model`;
}

/** Bytes for people: `1.50 GiB`, `12.3 MiB`. */
export function gib(bytes: number): string {
  return bytes >= 1024 ** 3 ? `${(bytes / 1024 ** 3).toFixed(2)} GiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
