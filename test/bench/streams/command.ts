import { setTimeout as delay } from "node:timers/promises";
import { Command } from "commander";
import { execa } from "execa";
import { integer } from "../../../runtime/support/options.ts";
import { figure, percentile, table } from "../machine.ts";
import { writeResults } from "../results.ts";
import { Crowd, DIALECTS, type Dialect, type DialectName, tokensDue } from "./clients.ts";
import { type Contestant, contestants, SERVER_CORE } from "./contestants.ts";
import { type Source, startSource, TOKENS_A_SECOND } from "./source.ts";

/** Core of this process: load and source. */
const LOAD_CORE = 1;
/** Before anything is measured: compilers warm up, and opening is over, s. */
const WARM_SECONDS = 3;
/** Parts of the time between two tokens that echoed ones are spread over. */
const ECHO_PARTS = 50;

interface Flags {
  streams: number;
  seconds: number;
  rounds: number;
  only?: string;
  write: boolean;
}

/** What one kind of connection was seen to do. */
interface Seen {
  who: string;
  kind: DialectName;
  p50: number[];
  p99: number[];
  /** Tokens seen of those that were due, %. */
  arrived: number[];
  lost: number;
  /** CPU time of the server for one token, µs. */
  cpuMicros: number[];
  idleKib: number[];
}

const WHAT: Readonly<Record<DialectName, string>> = {
  echo: "WebSocket, the client's own tokens",
  ws: "WebSocket",
  socketio: "socket.io on WebSocket",
  horn: "horn, the ensemble's draft",
  sse: "SSE, one member passed through",
  draft: "SSE, the ensemble's draft",
};

/** `streams`: a thousand streams of tokens at once. */
export function streamsBench(): Command {
  return new Command("streams")
    .description("a thousand streams of 20 tokens a second on one core, beside ws and socket.io")
    .option("--streams <number>", "streams at once", integer("streams", 1, 2_000), 1_000)
    .option("--seconds <number>", "measured seconds of each run", integer("seconds", 1, 600), 8)
    .option("--rounds <number>", "runs of each; the medians count", integer("rounds", 1, 100), 3)
    .option("--only <kinds>", `of ${Object.keys(DIALECTS).join(", ")}, comma-separated`)
    .option("--write", "put the table into test/bench/RESULTS.md", false)
    .action(async ({ streams, seconds, rounds, only, write }: Flags) => {
      await execa("taskset", ["-acp", `${LOAD_CORE}`, `${process.pid}`]);
      const wanted = only?.split(",") ?? Object.keys(DIALECTS);
      const seen = new Map<DialectName, Seen>();
      const source = await startSource();
      for (let round = 0; round < rounds; round++)
        for (const contestant of contestants())
          for (const kind of contestant.dialects.filter((one) => wanted.includes(one))) {
            process.stderr.write(`round ${round + 1}: ${contestant.name}, ${WHAT[kind]}\n`);
            const one = seen.get(kind) ?? {
              ...{ who: contestant.name, kind, p50: [], p99: [], arrived: [], lost: 0, cpuMicros: [], idleKib: [] },
            };
            seen.set(kind, one);
            await measure(one, contestant, source, streams, seconds);
          }
      await source.close();
      const body = report([...seen.values()], streams, seconds);
      process.stdout.write(`\n${body}\n`);
      const command = `npm run bench -- streams --streams ${streams} --seconds ${seconds} --rounds ${rounds}`;
      if (write) await writeResults("A thousand streams on one core", command, body);
    });
}

async function measure(
  seen: Seen,
  contestant: Contestant,
  source: Source,
  streams: number,
  seconds: number,
): Promise<void> {
  const dialect: Dialect = DIALECTS[seen.kind];
  const server = await contestant.start(source.url);
  try {
    // A few that come and go, so that what a process takes once is not counted as a connection's.
    await settled(server.url, dialect);
    const before = await server.restingKib();
    const idle = new Crowd();
    await idle.open(server.url, dialect, streams, true);
    await delay(500);
    seen.idleKib.push(((await server.restingKib()) - before) / streams);
    idle.close();
    await delay(500);
    source.speak(true);
    const crowd = new Crowd();
    await crowd.open(server.url, dialect, streams, false);
    const stopEcho = dialect.echoes === true ? echoing(crowd) : (): void => undefined;
    await delay(WARM_SECONDS * 1_000);
    crowd.take();
    const cpuMs = await server.cpuMs();
    const from = performance.now();
    await delay(seconds * 1_000);
    const took = (performance.now() - from) / 1_000;
    const delays = crowd.take();
    seen.cpuMicros.push((1_000 * ((await server.cpuMs()) - cpuMs)) / delays.length);
    stopEcho();
    seen.p50.push(percentile(delays, 50));
    seen.p99.push(percentile(delays, 99));
    seen.arrived.push((100 * delays.length) / tokensDue(streams, took));
    seen.lost += crowd.lost;
    crowd.close();
    source.speak(true);
  } finally {
    await server.stop();
  }
}

async function settled(url: string, dialect: Dialect): Promise<void> {
  const crowd = new Crowd();
  await crowd.open(url, dialect, 20, true);
  await delay(300);
  crowd.close();
  await delay(500);
}

function echoing(crowd: Crowd): () => void {
  const partMs = 1_000 / TOKENS_A_SECOND / ECHO_PARTS;
  const begun = performance.now();
  let next = 0;
  const tick = setInterval(() => {
    for (; begun + next * partMs <= performance.now(); next++) crowd.echo(next % ECHO_PARTS, ECHO_PARTS);
  }, partMs);
  return () => clearInterval(tick);
}

const median = (values: readonly number[]): number => percentile(values, 50);

function report(seen: readonly Seen[], streams: number, seconds: number): string {
  const bare = seen.find(({ kind }) => kind === "ws");
  const rows = seen.map(({ who, kind, p50, p99, arrived, lost, cpuMicros, idleKib }) => {
    const added = bare === undefined ? Number.NaN : median(p99) - median(bare.p99);
    const ratio = bare === undefined ? Number.NaN : median(p99) / median(bare.p99);
    return [
      ...[who, WHAT[kind], figure(median(p50), 2), figure(median(p99), 2)],
      ...[
        figure(added, 2),
        figure(ratio, 2),
        figure(median(arrived), 1),
        `${lost}`,
        figure(median(cpuMicros)),
        figure(median(idleKib)),
      ],
    ];
  });
  const head = [
    ...["who", "what", "p50 ms", "p99 ms", "p99 over bare ws relay, ms", "times its p99"],
    ...["tokens in time, %", "streams lost", "CPU µs a token", "KiB an idle connection"],
  ];
  return [
    `${streams} streams of ${TOKENS_A_SECOND} tokens a second for ${seconds} s after ${WARM_SECONDS} s; server on core ${SERVER_CORE}, load and token source in one process on core ${LOAD_CORE}. ` +
      "A delay is from the moment that the source writes a token to the moment that the client reads it. All but the echo ask the same source for " +
      "each stream over HTTP and read its JSON; the echo has no source and gets its tokens from the client.",
    table(head, rows),
    "Aims: p99 at most 5 ms over the bare relay, at most 40 KB an idle connection.",
  ].join("\n\n");
}
