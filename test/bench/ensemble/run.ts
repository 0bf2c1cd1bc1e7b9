import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { execa } from "execa";
import { z } from "zod";
import { renderEnsembleConfig, type EnsembleConfigInput } from "../../../runtime/contracts/ensemble-config.ts";
import { ask } from "../../../runtime/orchestrator/chat.ts";
import { type Contestant, startSeed } from "./seed.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const Log = z.array(z.object({ model: z.string(), tokens: z.number(), startedMs: z.number(), endedMs: z.number() }));

/** What is measured of one contestant, ms. */
export interface Row {
  name: string;
  p50: number;
  p99: number;
  /** Time above the slowest way through the models' own times. Absent where it was not measured. */
  overP50?: number;
  overP99?: number;
  /** Calls that models got, for each question. */
  calls: number;
}

/** One run of the ensemble's benchmark. */
export interface Options {
  /** How many times faster than real models the timed ones are. */
  speed: number;
  questions: number;
  /** Share of the calls of one candidate that never answer. */
  stallRatio: number;
  /** With the seed's script beside it; not where calls stall, as it would wait for ever. */
  seed: boolean;
}

/** Runs all contestants in turn on the same timed models: A B C, A B C, question by question. */
export async function benchEnsemble(options: Options): Promise<Row[]> {
  const work = await mkdtemp(join(tmpdir(), "gorkheavy-bench-"));
  const models = execa(
    "taskset",
    [
      "-c",
      "1",
      process.execPath,
      join(import.meta.dirname, "timed-models.ts"),
      `${options.speed}`,
      `${options.stallRatio}`,
    ],
    { buffer: false, reject: false, stderr: "inherit" },
  );
  const contestants: Contestant[] = [];
  try {
    const first = await createInterface({ input: models.stdout })[Symbol.asyncIterator]().next();
    const addresses = z.record(z.string(), z.string()).parse(JSON.parse(z.string().parse(first.value)));
    if (options.seed) contestants.push(await startSeed(addresses, 0));
    contestants.push(
      await startOurs("gorkheavy, scores, no overlap", work, addresses, { judging: { scores: true, overlap: false } }),
    );
    contestants.push(await startOurs("gorkheavy, as it comes", work, addresses, {}));
    contestants.push(
      await startOurs("gorkheavy, verdict of one label", work, addresses, { judging: { scores: false } }),
    );
    return await measure(contestants, addresses, options);
  } finally {
    await Promise.all(contestants.map((one) => one.close()));
    models.kill();
    await models;
    await rm(work, { recursive: true, force: true });
  }
}

async function measure(
  contestants: readonly Contestant[],
  addresses: Record<string, string>,
  options: Options,
): Promise<Row[]> {
  const readLog = async () => Log.parse(await (await fetch(`${addresses["judge"]}/log`)).json());
  const seen = contestants.map(() => ({ times: [] as number[], over: [] as number[], calls: 0 }));
  for (let question = 0; question < options.questions; question++) {
    for (const [index, contestant] of contestants.entries()) {
      const into = seen[index];
      if (into === undefined) continue;
      await readLog();
      const ms = await contestant.ask(`Question ${question}: what is the way from here to there, and why that one?`);
      const log = await readLog();
      into.times.push(ms);
      into.calls += log.length;
      const path = criticalPath(log, contestant.name.startsWith("seed"));
      if (path !== undefined) into.over.push(ms - path);
    }
  }
  return contestants.map(({ name }, index) => {
    const { times, over, calls } = seen[index] ?? { times: [], over: [], calls: 0 };
    return {
      name,
      p50: percentile(times, 50),
      p99: percentile(times, 99),
      overP50: percentile(over, 50),
      overP99: percentile(over, 99),
      calls: calls / options.questions,
    };
  });
}

/** The slowest way through the calls as the models timed them: the judge after all answers, qwen-small after the rewrite (in the seed all answers). */
function criticalPath(log: z.output<typeof Log>, seed: boolean): number | undefined {
  const took = (model: string): number => {
    const last = log.findLast((entry) => entry.model === model);
    return last === undefined ? Number.NaN : last.endedMs - last.startedMs;
  };
  const answers = seed
    ? took("promptimizer") + Math.max(took("qwen-small"), took("qwen"), took("llama"))
    : Math.max(took("promptimizer") + took("qwen-small"), took("qwen"), took("llama"));
  const path = answers + took("judge");
  return Number.isNaN(path) ? undefined : path;
}

/** The p-th percentile by nearest rank. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil((sorted.length * p) / 100) - 1)] ?? Number.NaN;
}

async function startOurs(
  name: string,
  work: string,
  addresses: Record<string, string>,
  settings: Omit<EnsembleConfigInput, "members">,
): Promise<Contestant> {
  const roles = {
    promptimizer: "rewriter",
    llama: "candidate",
    qwen: "candidate",
    "qwen-small": "candidate",
    judge: "judge",
  } as const;
  const members = Object.entries(roles).map(([member, role]) => ({
    name: member,
    role,
    url: addresses[member] ?? "",
    model: member,
    prompt: member === "qwen-small" ? ("rewritten" as const) : ("raw" as const),
  }));
  const file = join(work, `${name.replaceAll(/\W+/g, "-")}.yaml`);
  await writeFile(file, renderEnsembleConfig({ ...settings, members }));
  const child = execa(
    "taskset",
    ["-c", "0", process.execPath, join(ROOT, "runtime/orchestrator/main.ts"), "--config", file, "--port", "0"],
    { buffer: false, reject: false },
  );
  for await (const line of createInterface({ input: child.stderr })) {
    const listening = z.looseObject({ msg: z.literal("listening"), url: z.string() }).safeParse(JSON.parse(line));
    if (!listening.success) continue;
    child.stderr.resume();
    const { url } = listening.data;
    return {
      name,
      ask: async (question) => {
        const began = performance.now();
        await ask({ url, question, conversation: "bench" });
        return performance.now() - began;
      },
      close: async () => {
        child.kill();
        await child;
      },
    };
  }
  throw new Error(`${name} did not start`);
}
