import { setTimeout as delay } from "node:timers/promises";
import { Command } from "commander";
import { integer } from "../../../runtime/support/options.ts";
import { figure, percentile, table } from "../machine.ts";
import { writeResults } from "../results.ts";
import { ask } from "./asked.ts";
import { type Contestant, copyModel, createModel, gorkheavyEngine, ollamaContestant } from "./servers.ts";
import { SHAPES, SMALL, type Shape } from "./shapes.ts";
import { randomWeights } from "./weights.ts";

/** The name that is asked, and the two that it stands for in turns. */
const SERVED = "served:1";
const VERSIONS = ["blue:1", "green:1"] as const;
const WINDOW = 512;
const TOKENS = 2;
/** What a request may wait for its first word before it counts as one that met no ready model, ms: many times what a small model takes. */
const NOT_READY_MS = 1_000;

interface Flags {
  quick?: boolean;
  swaps: number;
  requests: number;
  rate: number;
  shape: string;
  write?: boolean;
}

/** What was seen of one contestant. */
interface Seen {
  who: string;
  swaps: number;
  asked: number;
  /** Refused, broken or without an answer, with the words of the first. */
  lost: number;
  firstLoss?: string;
  /** Answered with fewer tokens than asked for. */
  cut: number;
  firstMs: number[];
  /** Longest time without any first word, ms. */
  longestGapMs: number;
}

/** `swap`: a model is replaced again and again under load, beside Ollama. */
export function swapBench(): Command {
  return new Command("swap")
    .description(
      "a name's weights are swapped under load: requests lost or cut, and moments without a ready model, beside Ollama",
    )
    .option("--quick", "five swaps under 200 requests")
    .option("--swaps <number>", "swaps", integer("swaps", 1, 10_000), 100)
    .option("--requests <number>", "requests", integer("requests", 1, 1_000_000), 10_000)
    .option("--rate <number>", "requests a second", integer("rate", 1, 1_000), 50)
    .option("--shape <name>", `of small, ${SHAPES.map(({ name }) => name).join(", ")}`, SMALL.name)
    .option("--write", "put the table into test/bench/RESULTS.md")
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const { swaps, requests } = flags.quick === true ? { swaps: 5, requests: 200 } : flags;
  const shape = [SMALL, ...SHAPES].find(({ name }) => name === flags.shape);
  if (shape === undefined)
    throw new Error(`--shape: got "${flags.shape}", want small or ${SHAPES.map(({ name }) => name).join(", ")}`);
  const files = [await randomWeights(shape, 1, say), await randomWeights(shape, 2, say)];
  const seen: Seen[] = [];
  for (const contestant of [gorkheavyEngine, await ollamaContestant(say)]) {
    say(`${contestant.name}: ${swaps} swaps under ${requests} requests, ${flags.rate} a second`);
    seen.push(await measure(contestant, files, { swaps, requests, rate: flags.rate }));
  }
  const body = report(seen, shape, flags.rate);
  process.stdout.write(`\n${body}\n`);
  const command = `npm run bench -- swap --swaps ${swaps} --requests ${requests} --rate ${flags.rate} --shape ${shape.name}`;
  if (flags.write === true) await writeResults("Hot swaps under load", command, body);
}

async function measure(
  contestant: Contestant,
  files: readonly string[],
  { swaps, requests, rate }: { swaps: number; requests: number; rate: number },
): Promise<Seen> {
  const server = await contestant.start({ contextTokens: WINDOW, slots: 4, threads: 1 });
  const seen: Seen = { who: server.name, swaps: 0, asked: 0, lost: 0, cut: 0, firstMs: [], longestGapMs: 0 };
  try {
    for (const [index, file] of files.entries()) await createModel(server, VERSIONS[index] ?? "", file);
    await copyModel(server, VERSIONS[0], SERVED);
    const question = (number: number): Promise<unknown> =>
      ask(server.url, SERVED, `question ${number}`, { num_predict: TOKENS, num_ctx: WINDOW, num_thread: 1 });
    await question(-1);
    const everyMs = 1_000 / rate;
    const began = performance.now();
    let heardMs = began;
    const one = async (number: number): Promise<void> => {
      seen.asked++;
      try {
        const { firstMs, whole } = await ask(server.url, SERVED, `question ${number}`, {
          ...{ num_predict: TOKENS, num_ctx: WINDOW, num_thread: 1 },
        });
        const now = performance.now();
        seen.longestGapMs = Math.max(seen.longestGapMs, now - heardMs);
        heardMs = now;
        seen.firstMs.push(firstMs);
        if (!whole) seen.cut++;
      } catch (error) {
        seen.lost++;
        seen.firstLoss ??= error instanceof Error ? error.message : String(error);
      }
    };
    const swapping = (async () => {
      for (let swap = 1; swap <= swaps; swap++) {
        // Spread over the whole run, the last one early enough to be seen.
        await until(began + (swap * requests * everyMs) / (swaps + 1));
        await copyModel(server, VERSIONS[swap % 2] ?? VERSIONS[0], SERVED);
        seen.swaps++;
      }
    })();
    const running: Promise<void>[] = [];
    for (let number = 0; number < requests; number++) {
      // An open load: a slow answer does not hold back the next question.
      await until(began + number * everyMs);
      running.push(one(number));
    }
    await Promise.all([...running, swapping]);
    return seen;
  } finally {
    await server.stop();
  }
}

async function until(atMs: number): Promise<void> {
  const ms = atMs - performance.now();
  if (ms > 0) await delay(ms);
}

function report(seen: readonly Seen[], shape: Shape, rate: number): string {
  const head = [
    "who",
    "swaps",
    "requests",
    "lost",
    "cut",
    `first word later than ${NOT_READY_MS} ms`,
    "first word p50 ms",
    "p99 ms",
    "longest ms",
    "longest time without a first word ms",
  ];
  const rows = seen.map((one) => [
    ...[one.who, `${one.swaps}`, `${one.asked}`, `${one.lost}`, `${one.cut}`],
    `${one.firstMs.filter((ms) => ms > NOT_READY_MS).length}`,
    ...[figure(percentile(one.firstMs, 50)), figure(percentile(one.firstMs, 99)), figure(Math.max(...one.firstMs))],
    figure(one.longestGapMs),
  ]);
  const losses = seen.flatMap(({ who, firstLoss }) =>
    firstLoss === undefined ? [] : [`The first loss of ${who}: ${firstLoss}`],
  );
  return [
    table(head, rows),
    `${rate} requests a second for ${TOKENS} tokens each, whatever the answers take, of one name; \`/api/copy\` has it stand for one and the other of two models in turns (shape ${shape.name}, random weights). One thread, four answers at a time.`,
    ...losses,
    "Aims: 0 of 10,000 requests lost or cut in 100 swaps, no moment without a ready model.",
  ].join("\n\n");
}
