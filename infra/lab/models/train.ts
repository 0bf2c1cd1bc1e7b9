// `npm run models`: makes the lab's five models again, from the little world to GGUF files.
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { finished } from "node:stream/promises";
import { Command } from "commander";
import { execa } from "execa";
import type { z } from "zod";
import type { Report } from "../tools/cache.ts";
import { venvPython } from "../tools/venv.ts";
import { cardOf, TrainingResult } from "./card.ts";
import { Lessons, type Mind, vocabularyTexts } from "./lessons.ts";
import { MEASURED_LESSONS, measure, withModel } from "./measure.ts";
import { fileOf, LAB_MODELS, type LabModel, VOCABULARY } from "./minds.ts";
import { listWeights, WEIGHTS_DIR, weightsOf } from "./weights.ts";

const HERE = import.meta.dirname;
/** Seeds of the lessons that are learned and of those that only check; of the training. */
const SEEDS = { lessons: 11, heldOut: 12, training: 1 } as const;
/** Lessons that only check. */
const HELD_OUT_LESSONS = 1_500;

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
  const texts = join(work, "texts.json");
  await writeFile(texts, JSON.stringify(vocabularyTexts()));
  await execa(python, [join(HERE, "train/tokenizer.py"), String(VOCABULARY), tokenizer, texts]);
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
  const result = { parameters: 0, heldOutRight: 0, seconds: 0 };
  let [begin, firstRow]: [string | undefined, number] = [undefined, 0];
  for (const [index, round] of model.rounds.entries()) {
    const into = join(work, `round-${index}.gguf`);
    const said = await trainRound(model, round, { lessons, heldOut, tokenizer, begin, firstRow, out: into });
    Object.assign(result, said, { seconds: result.seconds + said.seconds });
    [begin, firstRow] = [into, firstRow + round.steps * model.batch];
  }
  if (begin === undefined) throw new Error(`${model.name}: has no round of training`);
  await copyFile(begin, `${target}.partial`);
  await rename(`${target}.partial`, target);
  const bytes = await readFile(target);
  const listed = weightsOf(model, bytes);
  const measured = await withModel(target, (loaded) => measure(loaded, model.mind, MEASURED_LESSONS));
  await writeFile(target.replace(/\.gguf$/, ".md"), cardOf(model, result, listed, measured));
  await listWeights(resolve(out), listed);
  report(`${model.name}: ${target} in ${((Date.now() - began) / 1000).toFixed(0)} s, sha256 ${listed.sha256}`);
}

/** What a round begins with and where it writes. */
interface RoundFiles {
  lessons: string;
  heldOut: string;
  tokenizer: string;
  /** The model that the round before has written. Absent: numbers at random. */
  begin: string | undefined;
  firstRow: number;
  out: string;
}

/** One round of training. */
async function trainRound(
  { name, shape, batch, rowTokens, promptWeight, evenness }: LabModel,
  { steps, rate }: LabModel["rounds"][number],
  { begin, firstRow, ...files }: RoundFiles,
): Promise<z.output<typeof TrainingResult>> {
  const options = {
    ...{ lessons: files.lessons, "held-out": files.heldOut, tokenizer: files.tokenizer, out: files.out },
    ...(begin === undefined ? {} : { begin, "first-row": firstRow }),
    ...{ name, shape: shape.join(","), steps, rate, batch, length: rowTokens, seed: SEEDS.training },
    ...{ "prompt-weight": promptWeight, evenness },
  };
  const { stdout } = await execa(
    python,
    [
      join(HERE, "train/train.py"),
      ...Object.entries(options).flatMap(([option, value]) => [`--${option}`, `${value}`]),
    ],
    {
      stdio: ["ignore", "pipe", "inherit"],
      // A step's memory is taken once and kept, in large pages: to take it anew and clear it for each was a quarter of the time.
      env: {
        GLIBC_TUNABLES: "glibc.malloc.hugetlb=1",
        MALLOC_MMAP_MAX_: "0",
        MALLOC_ARENA_MAX: "1",
        MALLOC_TOP_PAD_: "67108864",
        MALLOC_TRIM_THRESHOLD_: "17179869184",
      },
    },
  );
  return TrainingResult.parse(JSON.parse(stdout.trim().split("\n").at(-1) ?? ""));
}

async function lessonsFile(folder: string, mind: Mind, count: number, seed: number, held: boolean): Promise<string> {
  const path = join(folder, `${mind}${held ? ".held-out" : ""}.jsonl`);
  const file = createWriteStream(path);
  const lessons = new Lessons(mind, seed, held);
  for (let i = 0; i < count; i++) {
    const { messages, reply, ballot } = lessons.next();
    // What each answer of a ballot is worth, from 1, by its label.
    const worths = ballot?.dealt.entries.map((entry) => [entry.label, 1 + (ballot.ranks[entry.member] ?? 0)] as const);
    const weighed = worths === undefined ? {} : { worths: Object.fromEntries(worths), right: ballot?.right };
    const lesson = { messages, reply, ...weighed };
    if (!file.write(`${JSON.stringify(lesson)}\n`)) await once(file, "drain");
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
