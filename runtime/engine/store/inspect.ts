import { open, readFile } from "node:fs/promises";
import { z } from "zod";
import { Fault } from "../../core/fault.ts";
import type { ModelFacts } from "../library.ts";
import { GgufError } from "./gguf.ts";
import { ggufFacts, parameterSize } from "./gguf-facts.ts";
import type { Layer } from "./manifest.ts";
import { readSafetensors } from "./safetensors.ts";

/** A file to look at. */
export interface Inspected {
  path: string;
  layer: Pick<Layer, "mediaType" | "title">;
  what: string;
}

/** Whether a layer is a safetensors file. */
export function isSafetensors({ mediaType, title = "" }: Pick<Layer, "mediaType" | "title">): boolean {
  return /safetensors/i.test(mediaType) || /\.safetensors$/i.test(title);
}

/** Facts of a file with weights, from its header, which is checked. @throws Fault bad_model naming what is wrong */
export async function inspectWeights({ path, layer, what }: Inspected): Promise<ModelFacts> {
  const file = await open(path, "r");
  try {
    if (!isSafetensors(layer)) return await ggufFacts(file);
    const { parameters, type } = await readSafetensors(file, what);
    const { size } = await file.stat();
    return {
      sizeBytes: size,
      format: "safetensors",
      family: "unknown",
      parameterSize: parameterSize(parameters),
      quantization: type,
      contextTokens: 0,
    };
  } catch (error) {
    if (error instanceof GgufError)
      throw new Fault("bad_model", `${what}: no usable GGUF file: ${error.message}`, { cause: error });
    throw error;
  } finally {
    await file.close();
  }
}

const HubConfig = z.looseObject({
  model_type: z.string().max(64).optional(),
  max_position_embeddings: z.int().min(0).optional(),
});

/** What a `config.json` beside safetensors says; nothing where it cannot be read. */
export async function inspectConfig(path: string): Promise<Partial<Pick<ModelFacts, "family" | "contextTokens">>> {
  try {
    const { model_type: family, max_position_embeddings: contextTokens } = HubConfig.parse(
      JSON.parse(await readFile(path, "utf8")),
    );
    return { ...(family === undefined ? {} : { family }), ...(contextTokens === undefined ? {} : { contextTokens }) };
  } catch {
    return {};
  }
}
