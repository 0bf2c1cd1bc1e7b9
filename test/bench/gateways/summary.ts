import { figure, percentile, table } from "../machine.ts";
import { type Cell, describeCell } from "./cells.ts";
import { DIRECT, type Round, type Seen } from "./run.ts";

/** The middle of several figures; NaN of none. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** A figure of each round less the direct way's in the same round, and the middle of them. */
export function added(of: readonly Round[], direct: readonly Round[], read: (one: Round) => number): number {
  const pairs = of.flatMap((one, round) => {
    const base = direct[round];
    return base === undefined ? [] : [read(one) - read(base)];
  });
  return median(pairs);
}

/** Most memory that a gateway took while bodies of that size went through it, MiB; memory is rarely given back, so later cells include earlier ones. */
export function mostRss(of: Seen, cells: readonly Cell[], bodyKb: number): number {
  const those = of.cells.filter((_, index) => cells[index]?.bodyKb === bodyKb).flat();
  return those.length === 0 ? Number.NaN : Math.max(...those.map(({ rssMib }) => rssMib));
}

/** One figure of all contestants, a row a cell. */
function figures(
  cells: readonly Cell[],
  columns: readonly Seen[],
  value: (seen: Seen, index: number) => string,
): string {
  return table(
    ["cell", ...columns.map(({ name }) => name)],
    cells.map((cell, index) => [describeCell(cell), ...columns.map((one) => value(one, index))]),
  );
}

/** All tables of a run, in Markdown. */
export function tables(seen: readonly Seen[], cells: readonly Cell[]): string {
  const direct = seen.find(({ name }) => name === DIRECT);
  if (direct === undefined) throw new Error("a run without the direct way has nothing to compare with");
  const gateways = seen.filter((one) => one !== direct);
  const rounds = (one: Seen, index: number): Round[] => one.cells[index] ?? [];
  const over = (read: (one: Round) => number) =>
    figures(cells, gateways, (one, index) => figure(added(rounds(one, index), rounds(direct, index), read), 2));
  const middle = (read: (one: Round) => number, digits: number) =>
    figures(cells, seen, (one, index) => figure(median(rounds(one, index).map(read)), digits));
  const bodies = [...new Set(cells.map(({ bodyKb }) => bodyKb))];
  const rssTitle = (bodyKb: number): string => `most RSS under load of ${bodyKb} KB, MiB`;
  const errors = figures(cells, seen, (one, index) => {
    const all = rounds(one, index);
    const wrong = all.reduce((sum, { errors: some }) => sum + some, 0);
    return `${wrong} of ${all.reduce((sum, { requests }) => sum + requests, 0)}`;
  });
  return [
    "Added to the direct way, p50, ms (middle of the rounds):",
    over(({ p50Ms }) => p50Ms),
    "Added to the direct way, p99, ms:",
    over(({ p99Ms }) => p99Ms),
    "p99 of whole answers, ms:",
    middle(({ p99Ms }) => p99Ms, 2),
    "Answers a second:",
    middle(({ rate }) => rate, 0),
    "CPU time of the gateway for each answer, µs:",
    figures(cells, gateways, (one, index) => figure(median(rounds(one, index).map(({ cpuUs }) => cpuUs)), 0)),
    "Errors, and answers in all:",
    errors,
    "Start and memory:",
    table(
      ["who", "ready ms, middle of its starts", "starts", "RSS after the start, MiB", ...bodies.map(rssTitle)],
      gateways.map((one) => [
        one.name,
        figure(median(one.readyMs), 0),
        `${one.readyMs.length}`,
        figure(one.idleRssMib),
        ...bodies.map((bodyKb) => figure(mostRss(one, cells, bodyKb))),
      ]),
    ),
  ].join("\n\n");
}
