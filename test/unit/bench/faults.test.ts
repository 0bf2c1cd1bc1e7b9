import { describe, expect, test } from "vitest";
import { strikesOf } from "../../bench/faults/run.ts";
import { type Cell, cellTable, scoreOf, scoreTable } from "../../bench/faults/score.ts";
import { FAULTS } from "../../support/faults/matrix.ts";

const whole = ["whole"];

describe("a cell's score", () => {
  test.each([
    ["a whole answer", { kind: "answer", text: "whole ", status: 200 }, "answer"],
    ["half of one that is said to be whole", { kind: "answer", text: "wh", status: 200 }, "broken"],
    ["one that stops", { kind: "cut", text: "wh", status: 200 }, "broken"],
    ["something else", { kind: "malformed", text: "", status: 502, body: "<html>" }, "broken"],
    ["a typed error", { kind: "error", text: "", status: 503, message: "m", code: "c" }, "error"],
    ["no end", { kind: "hang", text: "" }, "hang"],
  ] as const)("of %s", (_, outcome, score) => {
    expect(scoreOf(outcome, whole, true)).toBe(score);
  });

  test("of anything is a crash when the gateway has ended", () => {
    expect(scoreOf({ kind: "answer", text: "whole", status: 200 }, whole, false)).toBe("crash");
  });
});

test("tables count the scores and name the cells that are not well", () => {
  const cell = (over: Partial<Cell>): Cell => ({
    fault: "timeout",
    phase: "before",
    stream: true,
    score: "answer",
    leaked: 0,
    ms: 12,
    ...over,
  });
  const runs = [
    { name: "ours", cells: [cell({}), cell({ fault: "endless", score: "error" })] },
    { name: "peer", cells: [cell({ score: "hang", leaked: 2, ms: 9000 }), cell({ fault: "endless" })] },
  ];
  expect(scoreTable(runs).split("\n").slice(2)).toEqual([
    "| ours | 2 | 1 | 1 | 0 | 0 | 0 | 100 % | 0 | 12 |",
    "| peer | 2 | 1 | 0 | 0 | 1 | 0 | 50 % | 2 | 9000 |",
  ]);
  expect(cellTable(runs).split("\n").slice(2)).toEqual(["| timeout, before, streamed | answer | hang, leak |"]);
});

test("a quick run still has every fault", () => {
  expect(new Set(strikesOf(true).map(({ fault }) => fault))).toEqual(new Set(FAULTS));
  expect(strikesOf(true).length).toBeLessThan(strikesOf(false).length);
});
