import { writeFile } from "node:fs/promises";
import { Command } from "commander";
import type { EnsembleConfig } from "../../contracts/ensemble-config.ts";
import type { EvalResult } from "../../contracts/eval.ts";
import { type Variant, variantsOf, WHOLE } from "../../core/eval/variants.ts";
import { monotonicMs, timer } from "../../support/clock.ts";
import { integer, share } from "../../support/options.ts";
import { discoverLocal, loadConfig } from "../config.ts";
import { Upstream } from "../upstream.ts";
import { ownQuestions, readQuestions } from "./questions.ts";
import { renderReport, reportOf } from "./report.ts";
import { ResultsFolder } from "./results.ts";
import { runEval } from "./run.ts";

/** Exit status where the ensemble gave no answer to any question: nothing was measured. */
const NOTHING_MEASURED = 2;
/** Exit status after Ctrl-C, as shells have it. */
const INTERRUPTED = 130;

interface EvalFlags {
  config?: string;
  questions?: string;
  only?: string[];
  limit?: number;
  threshold: number[];
  bothOrders: boolean;
  out?: string;
  verdicts?: string;
  json: boolean;
}

const HELP = `measure whether the ensemble answers better than its members do alone, and what it costs

Asks 60 questions whose answers can be checked (general knowledge, code, troubleshooting, follow-ups, reasoning, short answers, and
questions that nobody can know) in several ways, one after the other:
  ensemble        as the service answers: rewrite, candidates, judge
  no-rewrite      everybody is asked the question's own words
  no-judge        the answer that resembles the others most wins
  synthesis       the judge's model writes one answer from all
  both-orders     judged twice, in opposite orders (with --both-orders)
  routed@0.7      only those models are asked that won like questions, with that routing.awarenessThreshold
  alone:NAME      one model by itself
and prints how many answers were right, with a 95 % interval, the seconds, and who won. The questions are in the repository, in
runtime/orchestrator/eval/questions.json. On a laptop with five small models it takes an hour or more: try --limit 10 first, and give
--out DIR, so that a run that was stopped (Ctrl-C) goes on where it stopped when the same command is given again.

Exit status: 0 done, 1 bad input, 2 the ensemble answered nothing at all, 130 stopped by Ctrl-C.`;

/** `eval`: is the ensemble better than its best member, and what does it cost? */
export function evalCommand(): Command {
  return new Command("eval")
    .description(HELP)
    .option("--config <file>", "ensemble configuration, YAML or JSON; without it the Ollama on this machine is used")
    .option("--questions <file>", "your own questions, one JSON object a line: id, class, question, turns, check")
    .option("--only <name...>", "only these ways of asking, such as --only ensemble alone:llama")
    .option("--limit <number>", "only so many questions, taken evenly from all classes", integer("limit", 1, 100_000))
    .option(
      "--threshold <share...>",
      "thresholds of the routed ways, each from 0 to 1 (default: 0.7 and 0.9)",
      (text: string, before: number[] = []) => [...before, share("threshold")(text)],
    )
    .option(
      "--both-orders",
      "also have the judge judge twice, in opposite orders, and count how often it changes its mind",
      false,
    )
    .option("--out <dir>", "folder that keeps each answer, and from which a stopped run goes on")
    .option(
      "--verdicts <file>",
      "write the ensemble's verdicts as a verdicts file, for routing.verdictsFile and routing replay",
    )
    .option("--json", "print all figures as JSON", false)
    .action(async (flags: Omit<EvalFlags, "threshold"> & { threshold?: number[] }) => {
      const stop = new AbortController();
      const interrupt = (): void => stop.abort();
      process.once("SIGINT", interrupt);
      try {
        await evaluate({ ...flags, threshold: flags.threshold ?? [0.7, 0.9] }, stop.signal);
      } finally {
        process.off("SIGINT", interrupt);
      }
    });
}

async function evaluate(flags: EvalFlags, signal: AbortSignal): Promise<void> {
  const config = flags.config === undefined ? await discoverLocal() : await loadConfig(flags.config);
  const all = flags.questions === undefined ? ownQuestions() : await readQuestions(flags.questions);
  const questions = flags.limit === undefined ? all : evenly(all, flags.limit);
  const variants = chosen(
    variantsOf(config, { thresholds: flags.threshold, bothOrders: flags.bothOrders }),
    flags.only,
  );
  const folder = flags.out === undefined ? undefined : await ResultsFolder.open(flags.out, config);
  const upstream = new Upstream({ connectMs: config.deadlines.connectMs, env: process.env });
  const progress = progressOf(process.stderr);
  let results: EvalResult[];
  try {
    results = await runEval({
      config,
      variants,
      questions,
      ports: { call: (call, stop) => upstream.call(call, stop), now: monotonicMs, random: Math.random, timer },
      before: folder?.before ?? [],
      told: async (result, done, of) => {
        await folder?.add(result);
        progress.told(result, done, of);
      },
      signal,
    });
  } finally {
    progress.end();
    await upstream.close();
  }
  if (flags.verdicts !== undefined) await writeVerdicts(flags.verdicts, results);
  const asked = variants.length * questions.length;
  if (signal.aborted && results.length < asked) {
    const how =
      flags.out === undefined ? "with --out DIR a run can be gone on with" : "the same command goes on from here";
    process.stderr.write(`stopped after ${results.length} of ${asked} questions; ${how}\n`);
    process.exitCode = INTERRUPTED;
  } else if (nothingMeasured(results, config)) {
    process.exitCode = NOTHING_MEASURED;
  }
  const report = reportOf(results);
  process.stdout.write(flags.json ? `${JSON.stringify({ ...report, results }, null, 2)}\n` : renderReport(report));
}

/** Tells on stderr why nothing was measured. */
function nothingMeasured(results: readonly EvalResult[], config: EnsembleConfig): boolean {
  if (results.some(({ fault }) => fault === undefined)) return false;
  const urls = [...new Set(config.members.map(({ url }) => url))].join(", ");
  process.stderr.write(
    `no question was answered; see that the models at ${urls} run. The first said: ${results[0]?.fault ?? "nothing"}\n`,
  );
  return true;
}

/** Ways of asking by name; the whole ensemble is asked too where a routed way has to learn from it. @throws Error naming those that there are */
function chosen(variants: readonly Variant[], only: readonly string[] | undefined): readonly Variant[] {
  if (only === undefined) return variants;
  const unknown = only.filter((name) => !variants.some((one) => one.name === name));
  if (unknown.length > 0)
    throw new Error(`--only: got ${unknown.join(", ")}; want some of ${variants.map(({ name }) => name).join(", ")}`);
  const learns = variants.some(({ name, threshold }) => threshold !== undefined && only.includes(name));
  return variants.filter(({ name }) => only.includes(name) || (learns && name === WHOLE));
}

/** So many, taken in turn from each class, in their own order. */
function evenly<T extends { class: string }>(questions: readonly T[], limit: number): T[] {
  const turn = new Map<string, number>();
  const ranked = questions.map((question, index) => {
    const place = turn.get(question.class) ?? 0;
    turn.set(question.class, place + 1);
    return { question, index, place };
  });
  const kept = ranked.toSorted((a, b) => a.place - b.place || a.index - b.index).slice(0, limit);
  return kept.toSorted((a, b) => a.index - b.index).map(({ question }) => question);
}

async function writeVerdicts(file: string, results: readonly EvalResult[]): Promise<void> {
  const lines = results.flatMap(({ verdict }) => (verdict === undefined ? [] : [`${JSON.stringify(verdict)}\n`]));
  try {
    await writeFile(file, lines.join(""), { mode: 0o600, flag: "wx" });
  } catch (cause) {
    throw new Error(`--verdicts ${file}: cannot be written anew; name a file that is not there yet`, { cause });
  }
}

/** What is told while it runs: on a terminal one line that changes, else a line a way of asking. */
function progressOf(output: NodeJS.WriteStream): {
  told(result: EvalResult, done: number, of: number): void;
  end(): void;
} {
  let variant: string | undefined;
  const terminal = output.isTTY;
  return {
    told: (result, done, of) => {
      if (terminal) {
        const line = `${done} of ${of}  ${result.variant}  ${result.id}: ${result.right ? "right" : "wrong"}, ${(result.ms / 1000).toFixed(1)} s`;
        output.write(`\r\u001b[K${line.slice(0, Math.max(20, output.columns - 1))}`);
      } else if (result.variant !== variant) {
        output.write(`${done} of ${of}: ${result.variant}\n`);
      }
      variant = result.variant;
    },
    end: () => {
      if (terminal && variant !== undefined) output.write("\n");
    },
  };
}
