import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { Fault } from "../../core/fault.ts";
import type { Backend, LoadedModel, ModelFacts } from "../backend.ts";
import { readGguf } from "../store/gguf.ts";
import { type ChildOptions, LlamaChild } from "./child.ts";

/** How models are loaded. */
export interface LlamaOptions {
  /** Files by model name. */
  files: ReadonlyMap<string, string>;
  /** Threads of one model's inference; absent: llama.cpp's own choice, which counts the host's cores. */
  threads?: number;
  /** Longest window, tokens; a model that was trained for less gets less. @default 4096 */
  contextTokens?: number;
  /** Answers that one model writes at the same time; each has a window of its own. @default 2 */
  slots?: number;
}

/** Inference by llama.cpp, each model in a process of its own. */
export function llamaBackend({ files, threads, contextTokens = 4096, slots = 2 }: LlamaOptions): Backend {
  const facts = new Map<string, Promise<ModelFacts>>();
  const factsOf = async (model: string): Promise<ModelFacts | undefined> => {
    const path = files.get(model);
    if (path === undefined) return undefined;
    let known = facts.get(model);
    if (known === undefined) {
      known = readFacts(path);
      facts.set(model, known);
      known.catch(() => facts.delete(model));
    }
    return known;
  };
  return {
    name: "llama",
    facts: factsOf,
    async *pull(model) {
      throw new Fault(
        "unknown_model",
        `model '${model}' is not among the files of this engine; start it with --model ${model}=FILE.gguf`,
      );
    },
    load: async (model, progress, signal) => {
      const path = files.get(model);
      if (path === undefined) throw new Fault("unknown_model", `model '${model}' has no file`);
      // A file that lies about itself is never given to llama.cpp.
      await factsOf(model);
      return load({ path, contextTokens, slots, ...(threads === undefined ? {} : { threads }) }, progress, signal);
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
    embed: (texts, stop) => child.embed(texts, stop),
    unload: () => child.close(),
  };
}

/** Facts of a model's file; its digest is that of all its bytes. @throws GgufError, or the error of the file system */
async function readFacts(path: string): Promise<ModelFacts> {
  const file = await open(path, "r");
  try {
    const { architecture, parameters, quantization, contextTokens } = await readGguf(file);
    const { size } = await stat(path);
    return {
      digest: await sha256Of(path),
      sizeBytes: size,
      format: "gguf",
      family: architecture,
      parameterSize: parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)}B` : `${(parameters / 1e6).toFixed(1)}M`,
      quantization,
      contextTokens,
    };
  } finally {
    await file.close();
  }
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(path, { highWaterMark: 1_048_576 })) hash.update(part as Buffer);
  return hash.digest("hex");
}
