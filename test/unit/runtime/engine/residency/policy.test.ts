import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Copy, planFor, type Rules } from "../../../../../runtime/engine/residency/policy.ts";

const NEVER = Number.POSITIVE_INFINITY;
const RULES: Rules = { budgetBytes: 10, dwellMs: 1_000, fairnessMs: 5_000, replaceWithoutRoom: true };

let ids = 0;
function copy(name: string, given: Partial<Copy> = {}): Copy {
  return {
    id: ++ids,
    name,
    phase: "absent",
    bytes: 6,
    inFlight: 0,
    wanted: false,
    notBeforeMs: 0,
    readySinceMs: 0,
    lastTokenMs: 0,
    keepAliveMs: NEVER,
    heldUntilMs: 0,
    retired: false,
    ...given,
  };
}

describe("who is let go", () => {
  test("is idle since its last token for as long as it is kept, and nothing runs on it", () => {
    const model = copy("a", { phase: "ready", lastTokenMs: 100, keepAliveMs: 50 });
    expect(planFor([model], RULES, 149)).toMatchObject({ unload: [], lookAgainMs: 150 });
    expect(planFor([model], RULES, 150).unload).toEqual([{ id: model.id, why: "idle" }]);
    expect(planFor([{ ...model, inFlight: 1 }], RULES, 9_999).unload).toEqual([]);
    expect(planFor([{ ...model, heldUntilMs: 500 }], RULES, 200)).toMatchObject({ unload: [], lookAgainMs: 500 });
    expect(planFor([{ ...model, keepAliveMs: NEVER }], RULES, 1e12)).toMatchObject({ unload: [], lookAgainMs: NEVER });
  });

  test("is the least recently used that is idle and has had its minimum, and no more of them than are needed", () => {
    const [old, later, busy, young] = [
      copy("old", { phase: "ready", bytes: 2, lastTokenMs: 1 }),
      copy("later", { phase: "ready", bytes: 2, lastTokenMs: 2 }),
      copy("busy", { phase: "ready", bytes: 2, inFlight: 1 }),
      copy("young", { phase: "ready", bytes: 2, readySinceMs: 9_500 }),
    ];
    const asked = copy("asked", { bytes: 4, askedSinceMs: 9_900 });
    expect(planFor([old, later, busy, young, asked], RULES, 10_000).unload).toEqual([{ id: old.id, why: "room" }]);
    const larger = { ...asked, bytes: 5 };
    expect(planFor([old, later, busy, young, larger], RULES, 10_000).unload.map(({ id }) => id)).toEqual([
      old.id,
      later.id,
    ]);
    // Two idle ones are not enough: nobody goes for nothing, and it is looked at again when one more may go.
    expect(planFor([old, later, busy, young, { ...asked, bytes: 8 }], RULES, 10_000)).toMatchObject({
      unload: [],
      lookAgainMs: 10_500,
    });
  });

  test("a large one spares the small ones before it", () => {
    const small = copy("small", { phase: "ready", bytes: 3, lastTokenMs: 1 });
    const large = copy("large", { phase: "ready", bytes: 6, lastTokenMs: 2 });
    const asked = copy("asked", { bytes: 6, askedSinceMs: 9_000 });
    expect(planFor([small, large, asked], RULES, 9_000).unload).toEqual([{ id: large.id, why: "room" }]);
  });

  test("loads that took more than was foreseen cost the idle", () => {
    const idle = copy("idle", { phase: "ready", bytes: 6, lastTokenMs: 1 });
    const busy = copy("busy", { phase: "ready", bytes: 6, inFlight: 1 });
    expect(planFor([idle, busy], RULES, 10).unload).toEqual([{ id: idle.id, why: "over budget" }]);
  });
});

describe("who is loaded", () => {
  test("who waits longest first, then what the engine wants; nobody is evicted for a wish", () => {
    const first = copy("first", { bytes: 4, askedSinceMs: 5 });
    const second = copy("second", { bytes: 4, askedSinceMs: 7 });
    const wish = copy("wish", { bytes: 2, wanted: true });
    const large = copy("large", { bytes: 6, wanted: true });
    expect(planFor([large, wish, second, first], RULES, 10)).toMatchObject({ load: [first.id, second.id, wish.id] });
    const idle = copy("idle", { phase: "ready", bytes: 6 });
    expect(planFor([idle, large], RULES, 10_000)).toMatchObject({ load: [], unload: [], noRoom: [large.id] });
  });

  test("a small one passes one that waits for room only where it does not take that room", () => {
    const busy = copy("busy", { phase: "ready", bytes: 6, inFlight: 1, readySinceMs: 0 });
    const asked = copy("asked", { bytes: 8, askedSinceMs: 1 });
    const small = copy("small", { bytes: 2, askedSinceMs: 2 });
    const tiny = copy("tiny", { bytes: 3, askedSinceMs: 3 });
    // It is not known yet who goes.
    expect(planFor([busy, asked, small], RULES, 2_000).load).toEqual([]);
    // It is: 2 are left beside the 8.
    expect(planFor([busy, asked, small, tiny], RULES, 6_000)).toMatchObject({ load: [small.id] });
  });

  test("never before its pause is over, and never when it is larger than all memory", () => {
    const failed = copy("failed", { askedSinceMs: 1, notBeforeMs: 700 });
    expect(planFor([failed], RULES, 699)).toMatchObject({ load: [], lookAgainMs: 700 });
    expect(planFor([failed], RULES, 700).load).toEqual([failed.id]);
    const huge = copy("huge", { bytes: 11, askedSinceMs: 1 });
    expect(planFor([huge], RULES, 1)).toMatchObject({ load: [], refused: [huge.id] });
  });

  test("busy models give way to who has waited too long: they are closed, and unloaded when they are done", () => {
    const busy = copy("busy", { phase: "ready", inFlight: 2 });
    const asked = copy("asked", { askedSinceMs: 2_000 });
    expect(planFor([busy, asked], RULES, 6_999)).toMatchObject({ unload: [], lookAgainMs: 7_000 });
    expect(planFor([busy, asked], RULES, 6_999).closed.size).toBe(0);
    const plan = planFor([busy, asked], RULES, 7_000);
    expect([...plan.closed]).toEqual([busy.id]);
    expect(plan.unload).toEqual([]);
    expect(planFor([{ ...busy, inFlight: 0 }, asked], RULES, 7_001).unload).toEqual([{ id: busy.id, why: "room" }]);
    // Who waited has left: it is open again.
    expect(planFor([busy, { ...asked, askedSinceMs: undefined }], RULES, 7_001).closed.size).toBe(0);
  });
});

describe("a new version", () => {
  const old = copy("m", { phase: "ready", bytes: 6, inFlight: 1 });
  const next = copy("m", { bytes: 6, wanted: true, replaces: old.id });

  test("is loaded beside the old one, others that are idle make room", () => {
    const small = { ...next, bytes: 4 };
    expect(planFor([old, small], RULES, 10).load).toEqual([small.id]);
    const idle = copy("idle", { phase: "ready", bytes: 4 });
    expect(planFor([old, idle, small], RULES, 10_000)).toMatchObject({
      unload: [{ id: idle.id, why: "room" }],
      replaceFirst: [],
    });
  });

  test("comes after the old one where both do not fit, or not at all where that is not wanted", () => {
    expect(planFor([old, next], RULES, 10)).toMatchObject({ load: [], replaceFirst: [next.id], refused: [] });
    expect(planFor([old, next], { ...RULES, replaceWithoutRoom: false }, 10)).toMatchObject({
      replaceFirst: [],
      refused: [next.id],
    });
  });

  test("the old one goes when what runs on it has ended", () => {
    const retired = { ...old, retired: true };
    expect(planFor([retired], RULES, 10).unload).toEqual([]);
    expect(planFor([{ ...retired, inFlight: 0 }], RULES, 10).unload).toEqual([{ id: old.id, why: "replaced" }]);
  });
});

test("whatever the copies: no busy one is unloaded, loads fit, and the same state gives the same plan", () => {
  const anyCopy = fc.record({
    phase: fc.constantFrom("absent", "loading", "ready", "unloading" as const),
    bytes: fc.integer({ min: 0, max: 12 }),
    inFlight: fc.nat(2),
    askedSinceMs: fc.option(fc.nat(20_000), { nil: undefined }),
    wanted: fc.boolean(),
    readySinceMs: fc.nat(20_000),
    lastTokenMs: fc.nat(20_000),
    keepAliveMs: fc.constantFrom(0, 5_000, NEVER),
    retired: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(anyCopy, { maxLength: 8 }), fc.nat(20_000), (given, nowMs) => {
      const copies = given.map((one, at) =>
        copy(`m${at}`, { ...one, inFlight: one.phase === "ready" ? one.inFlight : 0 }),
      );
      const plan = planFor(copies, RULES, nowMs);
      expect(planFor(structuredClone(copies), RULES, nowMs)).toEqual(plan);
      const of = (id: number): Copy => copies.find((one) => one.id === id) ?? copy("none");
      for (const { id } of plan.unload) expect(of(id)).toMatchObject({ phase: "ready", inFlight: 0 });
      expect(new Set(plan.unload.map(({ id }) => id)).size).toBe(plan.unload.length);
      for (const id of plan.load) expect(of(id)).toMatchObject({ phase: "absent" });
      const held = copies.filter(({ phase }) => phase !== "absent").reduce((sum, { bytes }) => sum + bytes, 0);
      const loads = plan.load.reduce((sum, id) => sum + of(id).bytes, 0);
      if (loads > 0) expect(held + loads).toBeLessThanOrEqual(RULES.budgetBytes);
      for (const id of plan.closed) expect(of(id).inFlight).toBeGreaterThan(0);
      expect(plan.lookAgainMs).toBeGreaterThan(nowMs);
    }),
    { numRuns: 2_000 },
  );
});
