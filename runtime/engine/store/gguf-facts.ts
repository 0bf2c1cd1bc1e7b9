import type { FileHandle } from "node:fs/promises";
import type { ModelFacts } from "../library.ts";
import { readGguf } from "./gguf.ts";

/** Facts of a GGUF file, without its digest: only the header is read. @throws GgufError, or the error of the file system */
export async function ggufFacts(file: FileHandle): Promise<ModelFacts> {
  const { architecture, parameters, quantization, contextTokens } = await readGguf(file);
  const { size } = await file.stat();
  return {
    sizeBytes: size,
    format: "gguf",
    family: architecture,
    parameterSize: parameterSize(parameters),
    quantization,
    contextTokens,
  };
}

/** Numbers of a model as people write them, such as `1.2B` or `350.4M`. */
export function parameterSize(parameters: number): string {
  return parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)}B` : `${(parameters / 1e6).toFixed(1)}M`;
}
