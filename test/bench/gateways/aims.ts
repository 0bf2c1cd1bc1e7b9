import { figure, table } from "../machine.ts";
import type { Cell } from "./cells.ts";
import type { Seen } from "./run.ts";
import { DIRECT } from "./run.ts";
import { added, median, mostRss } from "./summary.ts";

/** One aim beside what was reached. */
export interface Aim {
  what: string;
  aim: string;
  /** NaN when it was not measured. */
  value: number;
  digits: number;
  reached: boolean;
}

/** Names by which the contestants are found; absent where one took no part. */
export interface Who {
  ours: string;
  portkey: string;
  litellm: string;
}

/** The aims of a pass-through and what a run says of them. */
export function aimsOf(seen: readonly Seen[], cells: readonly Cell[], who: Who): Aim[] {
  const of = (name: string): Seen | undefined => seen.find((one) => one.name === name);
  const ours = of(who.ours);
  const direct = of(DIRECT);
  const plain = (connections: number): number =>
    cells.findIndex(
      (cell) => cell.delayMs === 0 && cell.bodyKb === 1 && !cell.stream && cell.connections === connections,
    );
  const rounds = (one: Seen | undefined, index: number) => one?.cells[index] ?? [];
  // A gateway is saturated where it answers most: the best of the plain cells.
  const saturated = (one: Seen | undefined): number => {
    const rates = [16, 64, 256].map((c) => median(rounds(one, plain(c)).map(({ rate }) => rate)));
    return Math.max(...rates.filter((rate) => !Number.isNaN(rate)), 0) || Number.NaN;
  };
  const p99 = (one: Seen | undefined): number => median(rounds(one, plain(64)).map(({ p99Ms }) => p99Ms));
  const atMost = (what: string, most: number, value: number, unit: string, digits: number): Aim => ({
    what,
    aim: `at most ${most}${unit}`,
    value,
    digits,
    reached: value <= most,
  });
  const atLeast = (what: string, least: number, value: number): Aim => ({
    what,
    aim: `at least ${least} times`,
    value,
    digits: 2,
    reached: value >= least,
  });
  const rate = saturated(ours);
  return [
    atMost(
      "added p50 at c=1, 1 KB, no delay",
      0.35,
      added(rounds(ours, plain(1)), rounds(direct, plain(1)), ({ p50Ms }) => p50Ms),
      " ms",
      3,
    ),
    atLeast("saturated answers a second over Portkey's", 3, rate / saturated(of(who.portkey))),
    atLeast("saturated answers a second over LiteLLM's", 40, rate / saturated(of(who.litellm))),
    atLeast("LiteLLM's p99 over ours at c=64", 20, p99(of(who.litellm)) / p99(ours)),
    ...[...new Set(cells.map(({ bodyKb }) => bodyKb))].map((bodyKb) =>
      atMost(
        `RSS under load of ${bodyKb} KB`,
        96,
        ours === undefined ? Number.NaN : mostRss(ours, cells, bodyKb),
        " MiB",
        1,
      ),
    ),
    atMost("ready", 250, median(ours?.readyMs ?? []), " ms", 0),
    atLeast("direct answers a second over ours (headroom of load and model server)", 3, saturated(direct) / rate),
  ];
}

/** The aims as a table. What was not measured has no verdict. */
export function aimsTable(aims: readonly Aim[]): string {
  return table(
    ["what", "aim", "measured", ""],
    aims.map(({ what, aim, value, digits, reached }) => [
      what,
      aim,
      figure(value, digits),
      Number.isNaN(value) ? "not measured" : reached ? "reached" : "**not reached**",
    ]),
  );
}
