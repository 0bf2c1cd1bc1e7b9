import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Report } from "../../../infra/lab/tools/cache.ts";
import type { PreparedGateway, RunningGateway } from "../peers/gateway.ts";
import { treeUse, untilIdle } from "../peers/process-tree.ts";
import { bodyOf, type Cell, describeCell } from "./cells.ts";
import { LOAD_CORE, startGateway, startUpstream } from "./contestant.ts";
import { load, type Measured } from "./load.ts";

/** What takes part: a gateway, and how many rounds of how many seconds are worth its time. */
export interface Entry {
  gateway: PreparedGateway;
  rounds: number;
  seconds: number;
  /** Starts that are timed. */
  starts: number;
}

/** One run of one contestant on one cell. */
export interface Round extends Measured {
  /** CPU time of the gateway for each answer, µs: what a busy machine disturbs least. NaN of the direct way, which shares the load's core. */
  cpuUs: number;
  /** Most resident memory of the gateway meanwhile, MiB. NaN of the direct way. */
  rssMib: number;
}

/** What was seen of one contestant. */
export interface Seen {
  name: string;
  /** Each timed start: from the process to the first answer, ms. */
  readyMs: number[];
  /** Resident memory of the process tree after its start, MiB. NaN of the direct way. */
  idleRssMib: number;
  /** By cell, in the order of the cells; each with its rounds. */
  cells: Round[][];
}

/** Name of the way without any gateway. */
export const DIRECT = "direct";
/** How often memory is looked at under load, ms. */
const LOOK_EVERY_MS = 200;
/** Longest wait for a gateway to finish what nobody waits for any more, ms. */
const REST_MS = 10_000;
/** A warm-up of so many seconds before the first cell of each delay: compilers settle, connections open. */
const WARM_SECONDS = 1;

/** Measures all cells: within a cell the contestants take turns, direct first, and the rounds follow each other. */
export async function benchGateways(
  entries: readonly Entry[],
  cells: readonly Cell[],
  rounds: number,
  report: Report,
): Promise<Seen[]> {
  const seen: Seen[] = [DIRECT, ...entries.map(({ gateway }) => gateway.name)].map((name) => ({
    name,
    readyMs: [],
    idleRssMib: Number.NaN,
    cells: cells.map(() => []),
  }));
  const work = await mkdtemp(join(tmpdir(), "gorkheavy-bench-"));
  try {
    for (const delayMs of new Set(cells.map((cell) => cell.delayMs))) {
      const upstream = await startUpstream(delayMs);
      const running: RunningGateway[] = [];
      try {
        for (const [index, entry] of entries.entries()) {
          const into = at(seen, index + 1);
          running.push(await timedStarts(entry, upstream.url, into, report));
        }
        const direct = { url: upstream.url, headers: {} };
        for (const [index, cell] of cells.entries()) {
          if (cell.delayMs !== delayMs) continue;
          report(describeCell(cell));
          const file = join(work, `body-${index}.json`);
          await writeFile(file, bodyOf(cell));
          const once = (target: Pick<RunningGateway, "url" | "headers">, seconds: number): Promise<Measured> =>
            load({ ...target, file, connections: cell.connections, seconds, core: LOAD_CORE });
          for (let round = 0; round < rounds; round++) {
            at(seen, 0).cells[index]?.push({ ...(await once(direct, 1)), cpuUs: Number.NaN, rssMib: Number.NaN });
            for (const [which, entry] of entries.entries()) {
              if (round >= entry.rounds) continue;
              const gateway = at(running, which);
              const into = at(seen, which + 1);
              if (round === 0 && index === 0) await once(gateway, WARM_SECONDS);
              into.cells[index]?.push(await watched(gateway, () => once(gateway, entry.seconds)));
              if (!gateway.alive()) throw new Error(`${into.name} ended under load: ${describeCell(cell)}`);
            }
          }
        }
      } finally {
        await Promise.all(running.map((one) => one.stop()));
        await upstream.stop();
      }
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return seen;
}

async function timedStarts(entry: Entry, upstream: string, into: Seen, report: Report): Promise<RunningGateway> {
  // With the second delay it is started once more, and that start counts as well.
  const wanted = into.readyMs.length === 0 ? entry.starts : 1;
  for (let start = 1; ; start++) {
    report(`starting ${entry.gateway.name}`);
    const running = await startGateway(entry.gateway, [upstream]);
    into.readyMs.push(running.readyMs);
    if (start < wanted) {
      await running.stop();
      continue;
    }
    const { rssMib: rss } = await treeUse(running.pid);
    into.idleRssMib = Number.isNaN(into.idleRssMib) ? rss : Math.max(rss, into.idleRssMib);
    return running;
  }
}

/** One measurement with the gateway's memory and CPU time, after which it has come to rest. */
async function watched(gateway: RunningGateway, measure: () => Promise<Measured>): Promise<Round> {
  const before = await treeUse(gateway.pid);
  let rssMib = before.rssMib;
  const over = new AbortController();
  const watch = (async () => {
    while (!over.signal.aborted) {
      rssMib = Math.max(rssMib, (await treeUse(gateway.pid)).rssMib);
      await delay(LOOK_EVERY_MS);
    }
  })();
  try {
    const measured = await measure();
    const after = await treeUse(gateway.pid);
    const cpuUs = measured.requests === 0 ? Number.NaN : ((after.cpuMs - before.cpuMs) * 1000) / measured.requests;
    return { ...measured, cpuUs, rssMib: Math.max(rssMib, after.rssMib) };
  } finally {
    over.abort();
    await watch;
    await untilIdle(gateway.pid, REST_MS);
  }
}

function at<T>(list: readonly T[], index: number): T {
  const one = list[index];
  if (one === undefined) throw new RangeError(`nothing at ${index}`);
  return one;
}
