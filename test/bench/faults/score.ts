import type { Outcome } from "../../support/faults/outcome.ts";
import { table } from "../machine.ts";

/** How a cell ended for the client, best first. */
export const SCORES = ["answer", "error", "broken", "hang", "crash"] as const;
/**
 * How a cell ended: a whole `answer`; one typed `error`; `broken`: half an answer without a word of why, or something that no client of the API
 * reads; a `hang`: nothing within the deadline; a `crash` of the gateway.
 */
export type Score = (typeof SCORES)[number];

/** One cell of one gateway. */
export interface Cell {
  fault: string;
  phase: string;
  stream: boolean;
  score: Score;
  /** Connections to the struck server that stayed open after the client had its end. */
  leaked: number;
  ms: number;
}

/** Scores what a client saw. @param whole every text that is a whole answer, blanks at its ends aside @param alive whether the gateway's process still is */
export function scoreOf(outcome: Outcome, whole: readonly string[], alive: boolean): Score {
  if (!alive) return "crash";
  switch (outcome.kind) {
    case "answer":
      return whole.includes(outcome.text.trim()) ? "answer" : "broken";
    case "error":
      return "error";
    case "hang":
      return "hang";
    case "cut":
    case "malformed":
      return "broken";
  }
}

/** How often each gateway ended how. */
export function scoreTable(runs: readonly { name: string; cells: readonly Cell[] }[]): string {
  return table(
    ["who", "cells", ...SCORES, "answer or error", "leaked connections", "slowest, ms"],
    runs.map(({ name, cells }) => {
      const count = (score: Score): number => cells.filter((cell) => cell.score === score).length;
      return [
        name,
        `${cells.length}`,
        ...SCORES.map((score) => `${count(score)}`),
        `${(((count("answer") + count("error")) * 100) / Math.max(1, cells.length)).toFixed(0)} %`,
        `${cells.reduce((sum, { leaked }) => sum + leaked, 0)}`,
        Math.max(0, ...cells.map(({ ms }) => ms)).toFixed(0),
      ];
    }),
  );
}

/** Every cell that did not end in an answer or an error, or left something, beside what the others made of it. */
export function cellTable(runs: readonly { name: string; cells: readonly Cell[] }[]): string {
  const first = runs[0]?.cells ?? [];
  const rows = first.map(({ fault, phase, stream }, index) => [
    `${fault}, ${phase}, ${stream ? "streamed" : "whole"}`,
    ...runs.map(({ cells }) => {
      const cell = cells[index];
      if (cell === undefined) return "-";
      return cell.leaked > 0 ? `${cell.score}, leak` : cell.score;
    }),
  ]);
  const notable = rows.filter((row) => row.slice(1).some((cell) => cell !== "answer" && cell !== "error"));
  return table(["cell", ...runs.map(({ name }) => name)], notable);
}
