import { Command } from "commander";
import { integer } from "../../../runtime/support/options.ts";
import { figure, table } from "../machine.ts";
import { benchEnsemble, type Row } from "./run.ts";

const HEAD = [
  "who",
  "p50 ms",
  "p99 ms",
  "p99/p50",
  "first word p50",
  "over the models p50",
  "p99",
  "calls a question",
  "times faster",
];

function print(title: string, rows: readonly Row[], baseline: string | undefined): void {
  const base = rows.find(({ name }) => name === baseline)?.p50;
  const cells = rows.map(({ name, p50, p99, firstP50, overP50, overP99, calls }) => [
    name,
    figure(p50),
    figure(p99),
    figure(p99 / p50, 2),
    figure(firstP50),
    figure(overP50),
    figure(overP99),
    figure(calls, 2),
    base === undefined ? "-" : figure(base / p50, 2),
  ]);
  process.stdout.write(`\n${title}\n\n${table(HEAD, cells)}\n`);
}

/** Which of the contestants do the same work, and where the others do more. */
export function equalWork(rows: readonly Row[]): string {
  const names = (shown: boolean): string =>
    rows
      .filter(({ showsTurns }) => showsTurns === shown)
      .map(({ name }) => `"${name}"`)
      .join(", ");
  return [
    `Equal work for the candidates, which are shown the question alone: ${names(false) || "none"}.`,
    `More work, as candidates read the conversation too: ${names(true) || "none"}.`,
    "The judge's work differs: the seed's reads its last five replies and writes the best answer again; gorkheavy's names the best and scores all, or only names it (one label).",
  ].join("\n");
}

/** `ensemble`: whole questions on timed models, beside the seed's script. */
export function ensembleBench(): Command {
  return new Command("ensemble")
    .description("whole questions on timed models, beside the seed's script")
    .option("--questions <number>", "questions of each run", integer("questions", 1, 100_000), 20)
    .option(
      "--stall-questions <number>",
      "questions of the run in which calls stall; the first 40 calls do not",
      integer("stall-questions", 1, 100_000),
      100,
    )
    .option(
      "--speed <number>",
      "how many times faster than real models the timed ones are",
      integer("speed", 1, 1000),
      20,
    )
    .action(
      async ({ questions, stallQuestions, speed }: { questions: number; stallQuestions: number; speed: number }) => {
        process.stdout.write(
          `models ${speed} times faster than one 4-core host each; the first question to each contestant is not counted\n`,
        );
        const whole = await benchEnsemble({ questions, speed, stallRatio: 0, seed: true });
        print("The whole ensemble", whole, whole[0]?.name);
        process.stdout.write(`\n${equalWork(whole)}\n`);
        const stalls = await benchEnsemble({
          questions: stallQuestions,
          speed: speed * 5,
          stallRatio: 0.05,
          seed: false,
        });
        print("One of three candidates stalls in 5 % of its calls", stalls, undefined);
      },
    );
}
