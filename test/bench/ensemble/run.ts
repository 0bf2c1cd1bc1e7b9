import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { execa } from "execa";
import { z } from "zod";
import { renderEnsembleConfig, type EnsembleConfigInput } from "../../../runtime/contracts/ensemble-config.ts";
import { askEvents } from "../../../runtime/orchestrator/chat.ts";
import { percentile } from "../machine.ts";
import { startLiteLlmEnsemble } from "./litellm.ts";
import { type Contestant, startSeed } from "./seed.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const Log = z.array(z.object({ model: z.string(), tokens: z.number(), startedMs: z.number(), endedMs: z.number() }));

/** After how long LiteLLM gives a call up, ms at the real models' speed: twice what the slowest call takes. */
const FALLBACK_MS = 40_000;

/** What is measured of one contestant, ms. */
export interface Row {
  name: string;
  p50: number;
  p99: number;
  /** Time above the slowest way through the models' own times. Absent where it was not measured. */
  overP50?: number;
  overP99?: number;
  /** To the first word that a user sees: of the draft where there is one. */
  firstP50: number;
  /** Calls that models got, for each question. */
  calls: number;
  /** Whether candidates are shown the conversation before the question. */
  showsTurns: boolean;
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

/** A contestant with timed models of its own: what a model has read of one contestant's prompts must not help another. */
interface Entrant extends Contestant {
  /** Base address of any of its models. */
  models: string;
  showsTurns: boolean;
}

/** Runs all contestants in turn: A B C, A B C, question by question. */
export async function benchEnsemble(options: Options): Promise<Row[]> {
  const work = await mkdtemp(join(tmpdir(), "gorkheavy-bench-"));
  const entrants: Entrant[] = [];
  const enter = async (
    showsTurns: boolean,
    start: (addresses: Record<string, string>) => Promise<Contestant>,
  ): Promise<void> => {
    const models = await startModels(options);
    const contestant = await start(models.addresses);
    entrants.push({
      name: contestant.name,
      showsTurns,
      ask: (question) => contestant.ask(question),
      models: models.addresses["judge"] ?? "",
      close: async () => {
        await contestant.close();
        await models.close();
      },
    });
  };
  const ours = (name: string, settings: Omit<EnsembleConfigInput, "members">) =>
    enter(settings.memory?.turns !== 0, (addresses) => startOurs(name, work, addresses, settings));
  try {
    if (options.seed) await enter(false, (addresses) => startSeed(addresses, 0));
    if (options.stallRatio > 0) {
      const timeoutMs = Math.ceil(FALLBACK_MS / options.speed);
      await enter(false, (addresses) => startLiteLlmEnsemble(addresses, 0, timeoutMs));
    }
    await ours("gorkheavy, scores, no overlap", { judging: { scores: true, overlap: false } });
    await ours("gorkheavy, as it comes", {});
    await ours("gorkheavy, verdict of one label", { judging: { scores: false } });
    await ours("gorkheavy, one label, no memory", { judging: { scores: false }, memory: { turns: 0 } });
    return await measure(entrants, options);
  } finally {
    await Promise.all(entrants.map((one) => one.close()));
    await rm(work, { recursive: true, force: true });
  }
}

async function startModels({
  speed,
  stallRatio,
}: Options): Promise<{ addresses: Record<string, string>; close(): Promise<void> }> {
  const script = join(import.meta.dirname, "timed-models.ts");
  const child = execa("taskset", ["-c", "1", process.execPath, script, `${speed}`, `${stallRatio}`], {
    buffer: false,
    reject: false,
    stderr: "inherit",
  });
  const first = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  return {
    addresses: z.record(z.string(), z.string()).parse(JSON.parse(z.string().parse(first.value))),
    close: async () => {
      child.kill();
      await child;
    },
  };
}

async function measure(entrants: readonly Entrant[], options: Options): Promise<Row[]> {
  const readLog = async (models: string) => Log.parse(await (await fetch(`${models}/log`)).json());
  const seen = entrants.map(() => ({ times: [] as number[], first: [] as number[], over: [] as number[], calls: 0 }));
  // Question 0 opens connections and, in the service, the store; it is not counted for anybody.
  for (let question = 0; question <= options.questions; question++) {
    for (const [index, entrant] of entrants.entries()) {
      const into = seen[index];
      if (into === undefined) continue;
      await readLog(entrant.models);
      const {
        ms,
        firstMs,
        wholeMs = ms,
      } = await entrant.ask(`Question ${question}: what is the way from here to there, and why that one?`);
      const log = await readLog(entrant.models);
      if (question === 0) continue;
      into.times.push(ms);
      into.first.push(firstMs);
      into.calls += log.length;
      const path = criticalPath(log, entrant.name.startsWith("seed"));
      if (path !== undefined) into.over.push(wholeMs - path);
    }
  }
  return entrants.map(({ name, showsTurns }, index) => {
    const { times, first, over, calls } = seen[index] ?? { times: [], first: [], over: [], calls: 0 };
    return {
      name,
      showsTurns,
      p50: percentile(times, 50),
      p99: percentile(times, 99),
      firstP50: percentile(first, 50),
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
        let firstMs: number | undefined;
        let replyMs: number | undefined;
        for await (const event of askEvents({ url, question, conversation: "bench", draft: true })) {
          if (event.event === "draft" || event.event === "text") firstMs ??= performance.now() - began;
          // The user has the whole reply with its last word; the judge's scores come after it.
          if (event.event === "text") replyMs = performance.now() - began;
          if (event.event === "error") throw new Error(event.error.message);
        }
        const wholeMs = performance.now() - began;
        const ms = replyMs ?? wholeMs;
        return { ms, firstMs: firstMs ?? ms, wholeMs };
      },
      close: async () => {
        child.kill();
        await child;
      },
    };
  }
  throw new Error(`${name} did not start`);
}
