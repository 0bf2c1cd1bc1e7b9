// `npm run models`: makes the lab's five models again, from the little world to GGUF files.
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { finished } from "node:stream/promises";
import { Command } from "commander";
import { execa } from "execa";
import type { Report } from "../tools/cache.ts";
import { venvPython } from "../tools/venv.ts";
import { cardOf, TrainingResult } from "./card.ts";
import { Lessons, type Mind } from "./lessons.ts";
import { fileOf, LAB_MODELS, type LabModel } from "./minds.ts";
import { listWeights, WEIGHTS_DIR, weightsOf } from "./weights.ts";

const HERE = import.meta.dirname;
/** Seeds of the lessons that are learned and of those that only check; of the training. */
const SEEDS = { lessons: 11, heldOut: 12, training: 1 } as const;
/** Lessons that only check. */
const HELD_OUT_LESSONS = 1_500;
/** Lessons of each kind from which the vocabulary is learned. */
const VOCABULARY_LESSONS = 4_000;

const { only, out } = new Command("models")
  .description(
    "Trains the lab's five small models. Needs Python 3.11 or newer with venv; some minutes a model on two cores.",
  )
  .option("--only <names>", "only these, comma-separated: " + LAB_MODELS.map(({ place }) => place).join(", "))
  .option("--out <dir>", "folder for the files", WEIGHTS_DIR)
  .parse()
  .opts<{ only?: string; out: string }>();

const wanted = only?.split(",");
const unknown = wanted?.find((name) => LAB_MODELS.every(({ place }) => place !== name));
if (unknown !== undefined) {
  throw new Error(`--only: got ${unknown}, want any of ${LAB_MODELS.map(({ place }) => place).join(", ")}`);
}
const report: Report = (line) => console.log(line);
const python = await pythonOf(report);
const work = await mkdtemp(join(tmpdir(), "gorkheavy-models-"));
try {
  const tokenizer = join(work, "tokenizer.json");
  report("vocabulary: learning from all lessons …");
  await execa(python, [join(HERE, "train/tokenizer.py"), tokenizer, ...(await vocabularyLessons(work))]);
  await mkdir(out, { recursive: true });
  for (const model of LAB_MODELS) {
    if (wanted === undefined || wanted.includes(model.place)) await train(model, tokenizer);
  }
} finally {
  await rm(work, { recursive: true, force: true });
}

/** One model, from its lessons to its file, which appears whole or not at all. */
async function train(model: LabModel, tokenizer: string): Promise<void> {
  const began = Date.now();
  const lessons = await lessonsFile(work, model.mind, model.lessons, SEEDS.lessons, false);
  const heldOut = await lessonsFile(work, model.mind, HELD_OUT_LESSONS, SEEDS.heldOut, true);
  const target = join(resolve(out), fileOf(model));
  const made = join(work, "model.gguf");
  const numbers = { steps: model.steps, batch: model.batch, length: model.rowTokens, seed: SEEDS.training };
  const { stdout } = await execa(
    python,
    [
      join(HERE, "train/train.py"),
      ...["--lessons", lessons, "--held-out", heldOut, "--tokenizer", tokenizer, "--name", model.name],
      ...["--shape", model.shape.join(","), "--out", made],
      ...Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)]),
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const result = TrainingResult.parse(JSON.parse(stdout.trim().split("\n").at(-1) ?? ""));
  await copyFile(made, `${target}.partial`);
  await rename(`${target}.partial`, target);
  const bytes = await readFile(target);
  const listed = weightsOf(model, bytes);
  await writeFile(target.replace(/\.gguf$/, ".md"), cardOf(model, result, listed));
  await listWeights(resolve(out), listed);
  report(`${model.name}: ${target} in ${((Date.now() - began) / 1000).toFixed(0)} s, sha256 ${listed.sha256}`);
}

async function vocabularyLessons(folder: string): Promise<string[]> {
  const files: string[] = [];
  for (const { mind } of LAB_MODELS) {
    files.push(await lessonsFile(folder, mind, VOCABULARY_LESSONS, SEEDS.lessons, false, `${mind}.vocabulary`));
  }
  return files;
}

async function lessonsFile(
  folder: string,
  mind: Mind,
  count: number,
  seed: number,
  held: boolean,
  name = `${mind}${held ? ".held-out" : ""}`,
): Promise<string> {
  const path = join(folder, `${name}.jsonl`);
  const file = createWriteStream(path);
  const lessons = new Lessons(mind, seed, held);
  for (let i = 0; i < count; i++) {
    if (!file.write(`${JSON.stringify(lessons.next())}\n`)) await once(file, "drain");
  }
  file.end();
  await finished(file);
  return path;
}

/** Python with what the trainer needs, kept in the cache by the versions. */
async function pythonOf(say: Report): Promise<string> {
  const requirements = await readFile(join(HERE, "train/requirements.txt"), "utf8");
  return venvPython("trainer", requirements.trim().split("\n"), say);
}
