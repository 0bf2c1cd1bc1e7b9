import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { VerdictRecord } from "../../../../../runtime/contracts/verdict-record.ts";
import { type Lesson, lessonOf, weigh } from "../../../../../runtime/core/routing/evidence.ts";
import { decideRoute } from "../../../../../runtime/core/routing/route.ts";
import { leastShareOf, shareOf } from "../../../../../runtime/core/wilson.ts";
import { PANEL, profile, SETTINGS, verdict } from "./records.ts";

const lessons = (records: readonly VerdictRecord[]): Lesson[] => records.flatMap((record) => lessonOf(record) ?? []);
const many = (count: number, winner: string, degrees = {}, changes = {}): VerdictRecord[] =>
  Array.from({ length: count }, (_, at) => verdict(at + 1, winner, degrees, changes));
const never = (): number => {
  throw new Error("no chance may be drawn here");
};
const ask = (
  records: readonly VerdictRecord[],
  settings: Partial<typeof SETTINGS> = {},
  question: Partial<Parameters<typeof decideRoute>[0]> = {},
  random: () => number = never,
) =>
  decideRoute(
    { profile: profile({ recall: 0.8 }), panel: PANEL, down: [], wholeAskedFor: false, ...question },
    { ...SETTINGS, ...settings },
    lessons(records),
    random,
  );

const always = many(30, "llama", { recall: 0.8 });
const mixed = [
  ...many(20, "llama", { recall: 0.8 }),
  ...many(18, "qwen", { recall: 0.8 }),
  ...many(2, "small", { recall: 0.8 }),
];

describe("a route", () => {
  test("asks the one model that wins such questions, and says so", () => {
    const { routing } = ask(always);
    expect(routing).toMatchObject({
      asked: ["llama"],
      heldBack: ["qwen", "small"],
      reason: "sure",
      threshold: 0.7,
      like: 30,
    });
    expect(routing.sureness).toBe(0.917);
    expect(routing.why).toBe("llama won 30 of 30 like questions, at least a share of 0.917; want 0.7");
  });

  test("asks two where no one alone wins often enough, in the order of the plan", () => {
    expect(ask(mixed.toReversed()).routing).toMatchObject({
      asked: ["llama", "qwen"],
      heldBack: ["small"],
      reason: "sure",
    });
  });

  test("asks no more than `most`", () => {
    expect(ask(mixed, { most: 1 }).routing).toMatchObject({ reason: "unsure", heldBack: [] });
  });

  test("needs seven like questions without a loss for 0.7 and twenty-five for 0.9", () => {
    for (const [threshold, needs] of [
      [0.7, 7],
      [0.9, 25],
    ] as const) {
      expect(ask(always.slice(0, needs), { awarenessThreshold: threshold }).routing.reason).toBe("sure");
      expect(ask(always.slice(0, needs - 1), { awarenessThreshold: threshold }).routing.reason).toBe("unsure");
    }
  });

  test.each<[string, Parameters<typeof ask>[1], Parameters<typeof ask>[2], readonly VerdictRecord[]]>([
    ["off", { awarenessThreshold: 1 }, {}, always],
    ["asked-for", {}, { wholeAskedFor: true }, always],
    ["panel-small", {}, { panel: PANEL.slice(0, 1) }, always],
    ["panel-small", { quorum: 3 }, {}, always],
    ["panel-small", { quorum: 2, most: 1 }, {}, always],
    ["risk", {}, { profile: profile({ recall: 0.8, risk: 0.5 }) }, always],
    ["unlearned", {}, {}, []],
    ["unlearned", {}, { profile: profile({ code: 0.9 }) }, always],
    ["unsure", { awarenessThreshold: 0.99 }, {}, always],
    ["breaker", {}, { down: ["llama"] }, always],
  ])("goes to the whole panel: %s", (reason, settings, question, records) => {
    const { routing } = ask(records, settings, question);
    expect(routing).toMatchObject({ reason, heldBack: [] });
    expect(routing.asked).toEqual((question?.panel ?? PANEL).map(({ member }) => member));
    expect(routing.why).not.toBe("");
  });

  test("respects the quorum: as many are asked as must answer", () => {
    expect(ask(always, { quorum: 2 }).routing.asked).toHaveLength(2);
  });

  test("goes to all with the share that is set, by chance that is told", () => {
    const explored = ask(always, { explorationRatio: 0.1 }, {}, () => 0.09);
    expect(explored).toMatchObject({ draw: 0.09, routing: { reason: "explore", heldBack: [] } });
    expect(ask(always, { explorationRatio: 0.1 }, {}, () => 0.1)).toMatchObject({
      draw: 0.1,
      routing: { reason: "sure" },
    });
  });

  test("never asks those alone that are left alone after failures, and never fewer than the quorum, whatever was learned", () => {
    const member: fc.Arbitrary<string> = fc.constantFrom("llama", "qwen", "small");
    const degree = fc.integer({ min: 0, max: 10 }).map((tenths) => tenths / 10);
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(member, degree, fc.constantFrom<"judge" | "agreement" | "scores">("judge", "agreement", "scores")),
          { maxLength: 60 },
        ),
        fc.uniqueArray(member, { maxLength: 3 }),
        fc.record({
          awarenessThreshold: degree,
          most: fc.constantFrom(1, 2),
          explorationRatio: degree,
          riskLimit: degree,
          quorum: fc.integer({ min: 1, max: 3 }),
        }),
        degree,
        degree,
        (wins, down, settings, recall, risk) => {
          const records = wins.map(([winner, at, by], index) =>
            verdict(index + 1, winner, { recall: at }, { decision: { by, winner } }),
          );
          const question = { profile: profile({ recall, risk }), down };
          const decided = ask(records, settings, question, () => 0.5);
          const { asked, heldBack, reason } = decided.routing;
          expect([...asked, ...heldBack].toSorted()).toEqual(["llama", "qwen", "small"]);
          expect(asked.length).toBeGreaterThanOrEqual(Math.min(3, settings.quorum));
          if (heldBack.length > 0) {
            expect(reason).toBe("sure");
            expect(asked.filter((one) => down.includes(one))).toEqual([]);
            expect(asked.length).toBeLessThanOrEqual(settings.most);
            expect(risk).toBeLessThan(settings.riskLimit);
            expect(settings.awarenessThreshold).toBeLessThan(1);
          }
          expect(JSON.stringify(ask(records, settings, question, () => 0.5))).toBe(JSON.stringify(decided));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("what verdicts teach", () => {
  test("counts less the less like they are, and nothing beyond the radius", () => {
    const like = (recall: number): number => weigh(lessons(many(1, "llama", { recall })), profile(), PANEL).like;
    expect(like(0)).toBe(1);
    expect(like(0.3)).toBeCloseTo(0.5625);
    expect(like(0.6)).toBe(0);
    expect(like(1)).toBe(0);
  });

  test("counts for everybody where all said the same", () => {
    const agreed = many(30, "llama", { recall: 0.8 }, { decision: { by: "agreement", winner: "llama" } });
    expect(ask(agreed).routing).toMatchObject({ asked: ["llama"], reason: "sure" });
    expect(ask(agreed, {}, { down: ["llama"] }).routing).toMatchObject({ asked: ["qwen"], reason: "sure" });
  });

  test.each<[string, Parameters<typeof verdict>[3]]>([
    ["nobody of the panel won", { decision: { by: "synthesis", winner: "judge" } }],
    ["a candidate was held back", { statuses: { qwen: "skipped" } }],
    ["a candidate's server failed", { statuses: { qwen: "failed" } }],
    ["it was of other models", { panel: PANEL.map((one) => ({ ...one, model: `${one.model}-old` })) }],
    ["a candidate is newer than it", { panel: PANEL.slice(0, 2) }],
  ])("is nothing where %s", (_why, changes) => {
    expect(ask(many(30, "llama", { recall: 0.8 }, changes)).routing).toMatchObject({ reason: "unlearned", like: 0 });
  });

  test("is a loss where a candidate was too slow or had nothing fit to judge", () => {
    const records = many(30, "llama", { recall: 0.8 }, { statuses: { qwen: "timeout", small: "dropped" } });
    expect(ask(records).routing).toMatchObject({ asked: ["llama"], reason: "sure" });
  });
});

describe("shares", () => {
  // Figures from Wilson's formula as published, recomputed by hand.
  test("have Wilson's bounds", () => {
    expect(shareOf(0, 0)).toEqual({ share: 0, least: 0, most: 1 });
    expect(shareOf(10, 10).least).toBeCloseTo(0.7225, 4);
    expect(shareOf(5, 10)).toMatchObject({ share: 0.5 });
    expect(shareOf(5, 10).least).toBeCloseTo(0.2366, 4);
    expect(shareOf(5, 10).most).toBeCloseTo(0.7634, 4);
    expect(leastShareOf(10, 10)).toBeCloseTo(10 / (10 + 1.644854 ** 2), 10);
    expect(leastShareOf(0, 0)).toBe(0);
  });

  test("lie between their bounds, which narrow with more trials", () => {
    fc.assert(
      fc.property(fc.nat(500), fc.integer({ min: 1, max: 500 }), (a, trials) => {
        const hits = Math.min(a, trials);
        const { share, least, most } = shareOf(hits, trials);
        expect(least <= share + 1e-12 && share <= most + 1e-12).toBe(true);
        const more = shareOf(hits * 4, trials * 4);
        expect(more.most - more.least).toBeLessThan(most - least);
        expect(leastShareOf(hits, trials)).toBeGreaterThanOrEqual(least - 1e-12);
      }),
    );
  });
});
