import { describe, expect, test } from "vitest";
import { EnsembleConfigSchema } from "../../../../../runtime/contracts/ensemble-config.ts";
import { variantsOf } from "../../../../../runtime/core/eval/variants.ts";
import { assertPlan } from "../../../../../runtime/core/plan.ts";

const member = (name: string, role: string, more: object = {}) => ({
  name,
  role,
  url: "http://x:1",
  model: name,
  ...more,
});
const ways = (members: object[], bothOrders = false) =>
  variantsOf(EnsembleConfigSchema.parse({ members }), { thresholds: [0.7], bothOrders });
const five = [
  member("promptimizer", "rewriter"),
  member("llama", "candidate"),
  member("qwen", "candidate"),
  member("small", "candidate", { prompt: "rewritten" }),
  member("judge", "judge"),
];

describe("the ways of asking", () => {
  test("are plans that can be run, each without what it leaves out", () => {
    const all = ways(five, true);
    for (const { plan } of all) expect(() => assertPlan(plan)).not.toThrow();
    const stages = (name: string) => all.find((one) => one.name === name)?.plan.stages ?? [];
    expect(stages("no-rewrite").map(({ kind, words }) => `${kind} ${words}`)).toEqual([
      "candidate raw",
      "candidate raw",
      "candidate raw",
      "judge ballot",
    ]);
    expect(stages("no-judge").map(({ id }) => id)).toEqual(["promptimizer", "llama", "qwen", "small"]);
    expect(stages("alone:small")).toMatchObject([{ id: "small", kind: "candidate", words: "raw", needs: [] }]);
  });

  test("are those alone that the members allow", () => {
    expect(ways([member("only", "candidate")]).map(({ name }) => name)).toEqual(["ensemble", "alone:only"]);
    expect(ways([member("a", "candidate"), member("b", "candidate")]).map(({ name }) => name)).toEqual([
      "ensemble",
      "routed@0.7",
      "alone:a",
      "alone:b",
    ]);
  });

  test("ask a model that has two parts once", () => {
    const twice = [member("a", "candidate"), member("b", "candidate"), member("judge", "judge", { model: "a" })];
    expect(ways(twice).map(({ name }) => name)).not.toContain("alone:judge");
  });
});
