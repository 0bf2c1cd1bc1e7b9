import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EnsembleConfigSchema } from "../../../../../runtime/contracts/ensemble-config.ts";
import { VerdictRecord } from "../../../../../runtime/contracts/verdict-record.ts";
import { planOf } from "../../../../../runtime/core/plan.ts";
import { recreate, suppose } from "../../../../../runtime/core/routing/replay.ts";
import { Router } from "../../../../../runtime/core/routing/router.ts";
import { seeded } from "../fake-ports.ts";
import { verdict } from "./records.ts";

const QUESTIONS = [
  "What is the capital of France?",
  "Write a Python function.",
  "How many legs do 3 dogs have?",
  "Write a haiku.",
];

/** What a router recorded while answers ended in another order than they began, read back as from a file. */
function recorded(seed: number, count: number, settings: object = {}): VerdictRecord[] {
  const config = EnsembleConfigSchema.parse({
    members: [
      ...["llama", "qwen", "small"].map((name) => ({ name, role: "candidate", url: "http://x:1", model: name })),
      { name: "judge", role: "judge", url: "http://x:1", model: "j" },
    ],
    routing: { awarenessThreshold: 0.6, explorationRatio: 0.2, window: 40, ...settings },
  });
  const random = seeded(seed);
  const router = new Router({ plan: planOf(config), config, random });
  const waiting: ReturnType<Router["route"]>[] = [];
  const lines: string[] = [];
  const end = (): void => {
    const [routed] = waiting.splice(Math.floor(random() * waiting.length), 1);
    if (routed === undefined) return;
    const { asked } = routed.routing;
    const favourite = routed.decided.profile.code > 0.5 ? "qwen" : "llama";
    const winner =
      random() < 0.9 && asked.includes(favourite) ? favourite : (asked[Math.floor(random() * asked.length)] ?? "llama");
    const stages = verdict(1, winner).stages.map((stage) =>
      stage.stage === "candidate" && !asked.includes(stage.member) ? { ...stage, status: "skipped" as const } : stage,
    );
    const by = random() < 0.1 ? "agreement" : "judge";
    const outcome = { decision: { by, winner, model: "m", why: "" } as const, ms: 1_000, stages: stages as never };
    lines.push(JSON.stringify(router.learn(routed, outcome)));
  };
  for (let at = 0; at < count; at++) {
    const text = QUESTIONS[Math.floor(random() * QUESTIONS.length)] ?? "";
    waiting.push(router.route({ text, turns: 0, whole: random() < 0.05 }, random() < 0.1 ? ["llama"] : []));
    while (waiting.length > 3 || (waiting.length > 0 && random() < 0.5)) end();
  }
  while (waiting.length > 0) end();
  return lines.map((line) => VerdictRecord.parse(JSON.parse(line)));
}

describe("a replay", () => {
  test("decides every recorded route again, byte for byte, whatever was learned meanwhile", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const records = recorded(seed, 120);
        expect(recreate(records)).toEqual({ same: 120, different: [], unchecked: 0 });
      }),
      { numRuns: 15 },
    );
    const reasons = new Set(recorded(3, 200).map(({ routing }) => routing.reason));
    for (const reason of ["sure", "explore", "unlearned", "asked-for"] as const) expect(reasons).toContain(reason);
  });

  test("tells which route came out otherwise", () => {
    const records = recorded(5, 60);
    const at = records.findIndex(({ routing }) => routing.reason === "sure");
    const changed = records.map((record, index) =>
      index === at ? { ...record, settings: { ...record.settings, awarenessThreshold: 0.99 } } : record,
    );
    const { same, different } = recreate(changed);
    expect(same).toBe(59);
    expect(different).toMatchObject([{ seq: at + 1, recorded: { reason: "sure" }, again: { reason: "unsure" } }]);
  });

  test("checks no route whose verdicts are gone, and still all others", () => {
    const records = recorded(5, 60);
    const rest = records.slice(10);
    const { same, different, unchecked } = recreate(rest);
    expect(different).toEqual([]);
    expect(unchecked).toBe(rest.filter(({ learned }) => learned !== undefined && learned[0] <= 10).length);
    expect(same + unchecked).toBe(50);
    expect(unchecked).toBeGreaterThan(0);
  });
});

describe("another threshold", () => {
  const eight = (winner: string, changes: Parameters<typeof verdict>[3] = {}): VerdictRecord[] =>
    Array.from({ length: 8 }, (_, at) => verdict(at + 1, winner, { recall: 0.8 }, changes));

  test("saves the calls of those held back, of the rewrite and of the judge where one is asked", () => {
    const records = [...eight("llama"), verdict(9, "llama", { recall: 0.8 })];
    expect(suppose(records, 0.74, 2_000)).toEqual({
      threshold: 0.74,
      questions: 9,
      unknown: 0,
      routed: 1,
      escalated: 0,
      lost: 0,
      calls: 45,
      callsSaved: 4,
      modelMs: 9 * 1_900,
      modelMsSaved: 1_500,
      waitMs: 9_000,
      // llama's 400 ms instead of 1000.
      waitMsSaved: 600,
    });
  });

  test("counts as lost where the panel's winner would not have been asked, but not where all said the same", () => {
    const lost = suppose([...eight("llama"), verdict(9, "qwen", { recall: 0.8 })], 0.7, 2_000);
    expect(lost).toMatchObject({ routed: 2, lost: 1 });
    const agreed = verdict(9, "qwen", { recall: 0.8 }, { decision: { by: "agreement", winner: "qwen" } });
    expect(suppose([...eight("llama"), agreed], 0.7, 2_000)).toMatchObject({ routed: 2, lost: 0 });
  });

  test("keeps the judge and the rewrite where two are asked that need them", () => {
    const both = [...eight("llama"), ...eight("small").map((record) => ({ ...record, seq: record.seq + 8 }))];
    const found = suppose([...both, verdict(17, "small", { recall: 0.8 })], 0.8, 2_000);
    // qwen's call alone is spared; the judge's 300 ms stay: 500 (small) + 300 instead of 1000.
    expect(found).toMatchObject({ routed: 6, callsSaved: 6, modelMsSaved: 4_200, waitMsSaved: 1_200 });
  });

  test("saves nothing where those asked had no answer", () => {
    const failed = verdict(9, "qwen", { recall: 0.8 }, { statuses: { llama: "timeout" } });
    expect(suppose([...eight("llama"), failed], 0.74, 2_000)).toMatchObject({
      routed: 1,
      escalated: 1,
      callsSaved: 0,
      lost: 0,
    });
  });

  test("leaves out what nobody knows, and routes nothing at 1", () => {
    const held = eight("llama", { statuses: { qwen: "skipped" } });
    expect(suppose(held, 0, 2_000)).toMatchObject({ questions: 0, unknown: 8, routed: 0 });
    expect(suppose(eight("llama"), 1, 2_000)).toMatchObject({ questions: 8, routed: 0, callsSaved: 0 });
  });

  test("routes more the lower it is, and never saves more than there was", () => {
    const records = recorded(11, 300, { awarenessThreshold: 1 });
    const found = [0, 0.3, 0.6, 0.8, 0.95].map((threshold) => suppose(records, threshold, 2_000));
    for (const [index, one] of found.entries()) {
      expect(one.callsSaved).toBeLessThanOrEqual(one.calls);
      expect(one.waitMsSaved).toBeLessThanOrEqual(one.waitMs);
      if (index > 0) expect(one.routed).toBeLessThanOrEqual(found[index - 1]?.routed ?? 0);
    }
    expect(found[0]?.routed).toBeGreaterThan(100);
  });
});
