// `npm run bench`: side-by-side runs against peers on this machine. Prints medians and ratios; test/bench/RESULTS.md keeps them with their command.
import { availableParallelism, cpus } from "node:os";
import { Command } from "commander";
import { integer } from "../../runtime/support/options.ts";
import { benchEnsemble, type Row } from "./ensemble/run.ts";

const show = (ms: number | undefined): string => (ms === undefined || Number.isNaN(ms) ? "-" : ms.toFixed(1));

function print(title: string, rows: readonly Row[], baseline: string | undefined): void {
  const base = rows.find(({ name }) => name === baseline)?.p50;
  const lines = rows.map(({ name, p50, p99, firstP50, overP50, overP99, calls }) => {
    const ratio = base === undefined ? "-" : (base / p50).toFixed(2);
    return `| ${name} | ${show(p50)} | ${show(p99)} | ${(p99 / p50).toFixed(2)} | ${show(firstP50)} | ${show(overP50)} | ${show(overP99)} | ${calls.toFixed(2)} | ${ratio} |`;
  });
  process.stdout.write(
    `\n${title}\n\n| who | p50 ms | p99 ms | p99/p50 | first word p50 | over the models p50 | p99 | calls a question | times faster |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n${lines.join("\n")}\n`,
  );
}

await new Command("bench")
  .description("benchmarks side by side with peers")
  .option("--questions <number>", "questions of each run", integer("questions", 1, 100_000), 30)
  .option(
    "--speed <number>",
    "how many times faster than real models the timed ones are",
    integer("speed", 1, 1000),
    20,
  )
  .action(async ({ questions, speed }: { questions: number; speed: number }) => {
    process.stdout.write(
      `${availableParallelism()} cores of ${cpus()[0]?.model ?? "unknown"}, Node ${process.versions.node}, models ${speed} times faster than one 4-core host each\n`,
    );
    const whole = await benchEnsemble({ questions, speed, stallRatio: 0, seed: true });
    print("The whole ensemble", whole, whole[0]?.name);
    const stalls = await benchEnsemble({
      questions: Math.max(120, questions * 4),
      speed: speed * 5,
      stallRatio: 0.05,
      seed: false,
    });
    print("One of three candidates stalls in 5 % of its calls", stalls, undefined);
  })
  .parseAsync();
