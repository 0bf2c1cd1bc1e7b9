import { figure, percentile, table } from "../machine.ts";
import { type Cell, describeCell } from "./cells.ts";
import type { Measured } from "./load.ts";
import { DIRECT, type Seen } from "./run.ts";

/** The middle of several figures; NaN of none. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** A figure of each round less the direct way's in the same round, and the middle of them. */
export function added(of: readonly Measured[], direct: readonly Measured[], read: (one: Measured) => number): number {
  const pairs = of.flatMap((one, round) => {
    const base = direct[round];
    return base === undefined ? [] : [read(one) - read(base)];
  });
  return median(pairs);
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
  const rounds = (one: Seen, index: number): Measured[] => one.cells[index] ?? [];
  const over = (read: (one: Measured) => number) =>
    figures(cells, gateways, (one, index) => figure(added(rounds(one, index), rounds(direct, index), read), 2));
  const middle = (read: (one: Measured) => number, digits: number) =>
    figures(cells, seen, (one, index) => figure(median(rounds(one, index).map(read)), digits));
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
    "Errors, and answers in all:",
    errors,
    "Start and memory:",
    table(
      ["who", "ready ms, middle of its starts", "starts", "RSS after the start, MiB", "most RSS under load, MiB"],
      gateways.map(({ name, readyMs, idleRssMib, rssMib }) => [
        name,
        figure(median(readyMs), 0),
        `${readyMs.length}`,
        figure(idleRssMib),
        figure(rssMib),
      ]),
    ),
  ].join("\n\n");
}
