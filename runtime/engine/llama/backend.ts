import type { Backend, LoadedModel } from "../backend.ts";
import type { WeightsLibrary } from "../library.ts";
import { type ChildOptions, LlamaChild } from "./child.ts";

/** How models are loaded. */
export interface LlamaOptions {
  /** Where the models' files are. */
  library: WeightsLibrary;
  /** Threads of one model's inference; absent: llama.cpp's own choice, which counts the host's cores. */
  threads?: number;
  /** Longest window, tokens; a model that was trained for less gets less. @default 4096 */
  contextTokens?: number;
  /** Answers that one model writes at the same time; each has a window of its own. @default 2 */
  slots?: number;
}

/** Inference by llama.cpp, each model in a process of its own. */
export function llamaBackend({ library, threads, contextTokens = 4096, slots = 2 }: LlamaOptions): Backend {
  return {
    name: "llama",
    library,
    needsBytes: ({ sizeBytes }) => sizeBytes,
    load: async (model, progress, signal) => {
      // A file that lies about itself is never given to llama.cpp.
      const weights = await library.weights(model, signal);
      const options = { path: weights.path, contextTokens, slots, ...(threads === undefined ? {} : { threads }) };
      try {
        const loaded = await load(options, progress, signal);
        const release = (): void => weights.release();
        void loaded.gone?.then(release);
        return { ...loaded, digest: weights.facts.digest, unload: () => loaded.unload().finally(release) };
      } catch (error) {
        weights.release();
        throw error;
      }
    },
  };
}

async function load(
  options: ChildOptions,
  progress: (ratio: number) => void,
  signal: AbortSignal,
): Promise<LoadedModel> {
  let lost: (reason: string) => void = () => undefined;
  const gone = new Promise<string>((resolve) => {
    lost = resolve;
  });
  const child = new LlamaChild((reason) => lost(reason));
  const { memoryBytes } = await child.load(options, progress, signal);
  return {
    memoryBytes,
    gone,
    generate: (request, stop) => child.generate(request, stop),
    embed: (texts, stop, truncate) => child.embed(texts, stop, truncate),
    unload: () => child.close(),
  };
}
