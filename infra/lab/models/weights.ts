import { createHash } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { fileOf, LAB_MODELS, type LabModel } from "./minds.ts";

/** Folder of the committed weights, each with its model card. */
export const WEIGHTS_DIR: string = join(import.meta.dirname, "weights");
const MANIFEST = "weights.json";

/** One committed model, as `weights/weights.json` lists it. */
export const LabWeightsSchema = z.strictObject({
  /** Name under which engines serve it, such as `lab-judge:1.8m`. */
  name: z.string(),
  /** File beside the manifest. */
  file: z.string(),
  /** What it does in the ensemble. */
  role: z.enum(["rewriter", "candidate", "judge"]),
  /** Whose place it takes, a name of the catalogue. */
  place: z.enum(["promptimizer", "llama", "qwen", "qwen-small", "judge"]),
  /** 64 hex digits. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  sizeBytes: z.int().positive(),
});
export type LabWeights = z.output<typeof LabWeightsSchema>;

/** The models that a folder holds, in the order of the ensemble; none where there is no manifest. */
export async function labWeights(dir: string = WEIGHTS_DIR): Promise<LabWeights[]> {
  const text = await readFile(join(dir, MANIFEST), "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "[]";
    throw error;
  });
  return z.array(LabWeightsSchema).parse(JSON.parse(text));
}

/** What the manifest says of a model's file. */
export function weightsOf(model: LabModel, bytes: Uint8Array): LabWeights {
  return {
    name: model.name,
    file: fileOf(model),
    role: model.mind === "rewriter" || model.mind === "judge" ? model.mind : "candidate",
    place: model.place,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    sizeBytes: bytes.length,
  };
}

/** Writes a model into a folder's manifest, in place of what it said of it before. */
export async function listWeights(dir: string, made: LabWeights): Promise<void> {
  const all = [...(await labWeights(dir)).filter(({ name }) => name !== made.name), made];
  const order = LAB_MODELS.map(({ name }) => name);
  const sorted = all.toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const path = join(dir, MANIFEST);
  await writeFile(`${path}.partial`, `${JSON.stringify(sorted, undefined, 2)}\n`);
  await rename(`${path}.partial`, path);
}
