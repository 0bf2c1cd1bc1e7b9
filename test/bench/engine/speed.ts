import { availableParallelism } from "node:os";
import { Command } from "commander";
import { integer } from "../../../runtime/support/options.ts";
import { figure, percentile, table } from "../machine.ts";
import { writeResults } from "../results.ts";
import { ask } from "./asked.ts";
import { type CpuGroup, cpuGroup } from "./cpu-group.ts";
import { type Contestant, createModel, gorkheavyEngine, type ModelServer, ollamaContestant } from "./servers.ts";
import { SHAPES, type Shape } from "./shapes.ts";
import { randomWeights } from "./weights.ts";

/** CPU limit of the second part: a container of a small machine. */
const LIMIT_CPUS = 0.9;
const MODEL = "random:1";
const WINDOW = 2_048;
const SEED = 1;

/** Random weights soon say one token again and again, and Ollama cuts an answer off after thirty of the same. Source: `tokenRepeat` in llm/server.go of ollama 0.17. */
const MOST_TOKENS = 28;

interface Flags {
  quick?: boolean;
  only?: string;
  rounds: number;
  prompt: number;
  tokens: number;
  threads: number;
  limited: boolean;
  write?: boolean;
}

/** What one contestant did with one shape. */
interface Seen {
  who: string;
  firstMs: number[];
  promptPerSecond: number[];
  tokensPerSecond: number[];
}

/** `speed`: tokens a second of random weights beside Ollama. */
export function speedBench(): Command {
  return new Command("speed")
    .description("tokens a second, prompt tokens a second and first token of the same random weights, beside Ollama")
    .option("--quick", "the smallest shape alone, two rounds, short prompt and answer")
    .option("--only <names>", `of ${SHAPES.map(({ name }) => name).join(", ")}, comma-separated`)
    .option("--rounds <number>", "times that each is measured; medians count", integer("rounds", 1, 100), 5)
    .option("--prompt <number>", "tokens of the prompt", integer("prompt", 8, 1_500), 256)
    .option("--tokens <number>", "tokens of the answer", integer("tokens", 2, MOST_TOKENS), MOST_TOKENS)
    .option(
      "--threads <number>",
      "threads of each (default: the cores)",
      integer("threads", 1, 1_024),
      availableParallelism(),
    )
    .option("--no-limited", `leaves out the run under a CPU limit of ${LIMIT_CPUS}`)
    .option("--write", "put the tables into test/bench/RESULTS.md")
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const quick = flags.quick === true;
  const settled = quick ? { rounds: 2, prompt: 64, tokens: 16 } : flags;
  const wanted = flags.only?.split(",") ?? (quick ? ["granite4:350m"] : SHAPES.map(({ name }) => name));
  const shapes = SHAPES.filter(({ name }) => wanted.includes(name));
  if (shapes.length === 0)
    throw new Error(`--only: got "${flags.only ?? ""}", want some of ${SHAPES.map(({ name }) => name).join(", ")}`);
  const contestants = [gorkheavyEngine, await ollamaContestant(say)];
  const { threads } = flags;
  const parts: string[] = [];
  const rows: string[][] = [];
  for (const shape of shapes) {
    say(`${shape.name}, ${threads} threads each`);
    rows.push(...rowsOf(shape, await measure(contestants, shape, settled, say, threads)));
  }
  parts.push(`The same threads, ${threads} each, on ${availableParallelism()} cores:`, table(HEAD, rows));
  if (flags.limited) {
    const [smallest] = shapes;
    if (smallest !== undefined) {
      say(`${smallest.name}, both under a CPU limit of ${LIMIT_CPUS}`);
      const seen = await measureLimited(
        contestants,
        smallest,
        { ...settled, rounds: Math.min(3, settled.rounds) },
        say,
      );
      parts.push(
        `Each in a control group with a limit of ${LIMIT_CPUS} CPUs, threads as each chooses by itself (the engine: 1; Ollama: the cores of the host, ${availableParallelism()} here):`,
        table(HEAD, rowsOf(smallest, seen)),
      );
    }
  }
  parts.push(
    `A prompt of ${settled.prompt} tokens that was never read before, an answer of ${settled.tokens}, greedy, one after the other in turns; medians of ${settled.rounds} rounds, times as a client on the same machine sees them over the Ollama API. Weights are random in the true shapes with Q4_0 matrices and a Q8_0 embedding; every byte of a prompt is a token.`,
    "Aims: at least 1.0 of Ollama's speed at the same threads; 10 times under the limit, where many host cores meet a small limit.",
  );
  const body = parts.join("\n\n");
  process.stdout.write(`\n${body}\n`);
  const command = `npm run bench -- speed${quick ? " --quick" : ` --rounds ${flags.rounds} --prompt ${flags.prompt} --tokens ${flags.tokens}`} --threads ${threads}${flags.only === undefined ? "" : ` --only ${flags.only}`}`;
  if (flags.write === true) await writeResults("Random weights beside Ollama", command, body);
}

type Sizes = Pick<Flags, "rounds" | "prompt" | "tokens">;

async function measure(
  contestants: readonly Contestant[],
  shape: Shape,
  sizes: Sizes,
  say: (line: string) => void,
  threads: number | undefined,
  prefixes: readonly (readonly string[])[] = [],
): Promise<Seen[]> {
  const file = await randomWeights(shape, SEED, say);
  const servers: ModelServer[] = [];
  try {
    for (const [index, contestant] of contestants.entries()) {
      const options = { contextTokens: WINDOW, slots: 1, ...(threads === undefined ? {} : { threads }) };
      servers.push(await contestant.start({ ...options, prefix: prefixes[index] ?? [] }));
    }
    for (const server of servers) {
      await createModel(server, MODEL, file);
      say(`${server.name} loads`);
      await once(server, sizes, threads, "warm");
    }
    const seen = servers.map(
      ({ name }): Seen => ({ who: name, firstMs: [], promptPerSecond: [], tokensPerSecond: [] }),
    );
    for (let round = 0; round < sizes.rounds; round++) {
      for (const [index, server] of servers.entries()) {
        const { firstMs, restMs, promptTokens, answerTokens } = await once(server, sizes, threads, `round ${round}`);
        seen[index]?.firstMs.push(firstMs);
        seen[index]?.promptPerSecond.push((promptTokens * 1_000) / firstMs);
        seen[index]?.tokensPerSecond.push(((answerTokens - 1) * 1_000) / restMs);
      }
      say(
        `round ${round + 1}: ${seen.map((one) => `${one.who} ${figure(one.tokensPerSecond.at(-1))} tokens/s`).join(", ")}`,
      );
    }
    return seen;
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

async function measureLimited(
  contestants: readonly Contestant[],
  shape: Shape,
  sizes: Sizes,
  say: (line: string) => void,
): Promise<Seen[]> {
  const groups: CpuGroup[] = [];
  try {
    for (const index of contestants.keys()) groups.push(await cpuGroup(`${index}`, LIMIT_CPUS));
    const prefixes = groups.map(({ prefix }) => prefix);
    return await measure(contestants, shape, sizes, say, undefined, prefixes);
  } finally {
    for (const group of groups) await group.remove();
  }
}

/** One question whose words begin otherwise than all before, so that nothing of it was read already. */
function once(server: ModelServer, sizes: Sizes, threads: number | undefined, mark: string): ReturnType<typeof ask> {
  const prompt = `${mark} ${performance.now()} `.padEnd(sizes.prompt, "the quick brown fox ").slice(0, sizes.prompt);
  const options = {
    num_predict: sizes.tokens,
    num_ctx: WINDOW,
    ...(threads === undefined ? {} : { num_thread: threads }),
  };
  return ask(server.url, MODEL, prompt, options);
}

const HEAD = [
  "shape",
  "who",
  "tokens/s",
  "prompt tokens/s",
  "first token ms",
  "tokens/s, of Ollama's",
  "prompt, of Ollama's",
  "first token sooner",
];

function rowsOf(shape: Shape, seen: readonly Seen[]): string[][] {
  const median = (values: readonly number[]): number => percentile(values, 50);
  const peer = seen.at(-1);
  return seen.map((one) => {
    const ratio = (of: (seen: Seen) => number[]): number =>
      peer === undefined ? Number.NaN : median(of(one)) / median(of(peer));
    return [
      ...[shape.name, one.who, figure(median(one.tokensPerSecond), 2), figure(median(one.promptPerSecond), 1)],
      ...[
        figure(median(one.firstMs), 0),
        figure(
          ratio((s) => s.tokensPerSecond),
          2,
        ),
        figure(
          ratio((s) => s.promptPerSecond),
          2,
        ),
      ],
      figure(1 / ratio((s) => s.firstMs), 2),
    ];
  });
}
