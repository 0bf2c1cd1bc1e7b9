import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { llamaBackend } from "../../../runtime/engine/llama/backend.ts";
import { type RunningEngine, startEngine } from "../../../runtime/engine/serve.ts";
import { FileLibrary } from "../../../runtime/engine/store/file-library.ts";
import { createLogger } from "../../../runtime/support/log.ts";
import { integer } from "../../../runtime/support/options.ts";
import { writeTinyGguf } from "../../support/tiny-gguf.ts";
import { figure, percentile, table } from "../machine.ts";
import { writeResults } from "../results.ts";

const NAME = "cold:1";

/** Aim of research row C8: what a caller waits above the start of the model's process and its load, ms. */
const AIM_MS = 150;

interface Options {
  callers: number;
  rounds: number;
  model?: string;
  write?: boolean;
}

/** One round: what the load itself took, and what each caller waited for its first token. */
interface Round {
  floorMs: number;
  waitsMs: number[];
  loads: number;
  failed: number;
}

/** `cold`: many callers at once of a model that is not in memory. */
export function coldBench(): Command {
  return new Command("cold")
    .description("callers at once of a model that is not in memory: one load, and what they wait above it")
    .option("--callers <number>", "callers at once", integer("callers", 1, 10_000), 100)
    .option("--rounds <number>", "times that it is measured", integer("rounds", 1, 100), 10)
    .option("--model <file>", "GGUF file (default: one of 0.1 MB with random weights)")
    .option("--write", "put the figures into RESULTS.md")
    .action(run);
}

async function run({ callers, rounds, model, write }: Options): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "cold-"));
  const path = model ?? join(folder, "tiny.gguf");
  try {
    if (model === undefined) await writeTinyGguf(path);
    const all: Round[] = [];
    // The first one reads the file from the disk, for both.
    for (let at = 0; at <= rounds; at++) all.push(await round(path, callers));
    const told = report(all.slice(1), callers);
    process.stdout.write(`${told}\n`);
    const command = `npm run bench -- cold --callers ${callers} --rounds ${rounds}${model === undefined ? "" : ` --model ${model}`}`;
    if (write === true) await writeResults("Cold callers at once", command, told);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function round(path: string, callers: number): Promise<Round> {
  const library = new FileLibrary(new Map([[NAME, path]]));
  const backend = llamaBackend({ library, contextTokens: 256, slots: 2, threads: 1 });
  const options = { backend, models: [], onDemand: [NAME], log: createLogger("bench", "silent") };
  const running = await startEngine(options, { host: "127.0.0.1", port: 0, ollamaPort: 0 });
  try {
    const answers = await Promise.allSettled(Array.from({ length: callers }, () => firstToken(running)));
    const { loads, status } = running.engine.residency.status(NAME);
    // The floor is the very load that they waited for: the process, its load and its first token. Another one would take another time here.
    const floorMs = status.state === "ready" ? status.loadMs : Number.NaN;
    const waitsMs = answers.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    return { floorMs, waitsMs, loads, failed: callers - waitsMs.length };
  } finally {
    await running.stop(5_000);
  }
}

/** Asks for one token over HTTP. @returns ms until it was there @throws Error for anything but an answer */
async function firstToken({ ollama }: RunningEngine): Promise<number> {
  const began = performance.now();
  const response = await fetch(`${ollama.url}/api/generate`, {
    method: "POST",
    body: JSON.stringify({ model: NAME, prompt: "Hi", stream: false, options: { num_predict: 1 } }),
  });
  const body = (await response.json()) as { done?: boolean };
  if (response.status !== 200 || body.done !== true) throw new Error(`status ${response.status}`);
  return performance.now() - began;
}

function report(rounds: readonly Round[], callers: number): string {
  const above = (p: number): number[] => rounds.map(({ waitsMs, floorMs }) => percentile(waitsMs, p) - floorMs);
  const median = (values: readonly number[]): string => figure(percentile(values, 50));
  const loads = rounds.map((one) => one.loads);
  const failed = rounds.reduce((sum, one) => sum + one.failed, 0);
  const firsts = rounds.map(({ waitsMs, floorMs }) => Math.min(...waitsMs) - floorMs);
  const rows = [
    ["process start, load and its first token", median(rounds.map(({ floorMs }) => floorMs))],
    ["first caller's token, above it", median(firsts)],
    ["half of the callers, above it", median(above(50))],
    ["last caller, above it", median(above(100))],
  ];
  const reached = percentile(firsts, 50) <= AIM_MS ? "reached" : "**not reached**";
  return [
    table([`median of ${rounds.length} rounds, ${callers} callers at once`, "ms"], rows),
    "",
    `- One load for all: ${loads.every((one) => one === 1) ? "reached" : "**not reached**"}, ${Math.max(...loads)} at most in a round; ${failed} callers without an answer.`,
    `- At most ${AIM_MS} ms above process start and load until the model answers: ${reached}. Two answers are written at a time, so the others wait for those before them.`,
  ].join("\n");
}
