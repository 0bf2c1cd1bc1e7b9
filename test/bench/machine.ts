import { availableParallelism, cpus, loadavg } from "node:os";

/** The machine in one line, and how busy it was: a figure from a busy machine says so. */
export function describeMachine(): string {
  const load = loadavg().map((one) => one.toFixed(1));
  return `${availableParallelism()} cores of ${cpus()[0]?.model ?? "unknown"}, Node ${process.versions.node}, load ${load.join(" ")}`;
}

/** The p-th percentile by nearest rank; NaN of nothing. @param p from 0 to 100 */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.min(sorted.length - 1, Math.ceil((sorted.length * p) / 100) - 1))] ?? Number.NaN;
}

/** A table in Markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** A figure with one digit behind the point; `-` for none. */
export function figure(value: number | undefined, digits = 1): string {
  return value === undefined || Number.isNaN(value) ? "-" : value.toFixed(digits);
}
