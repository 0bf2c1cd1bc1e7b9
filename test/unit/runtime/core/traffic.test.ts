import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EnsembleConfigSchema, MemberSchema } from "../../../../runtime/contracts/ensemble-config.ts";
import { Breaker } from "../../../../runtime/core/breaker.ts";
import { Fault } from "../../../../runtime/core/fault.ts";
import { runPipeline } from "../../../../runtime/core/pipeline.ts";
import { planOf } from "../../../../runtime/core/plan.ts";
import { choosePod } from "../../../../runtime/core/balance.ts";
import { type Passage, Traffic } from "../../../../runtime/core/traffic.ts";
import { type Act, fakeWorld } from "./fake-ports.ts";

const limits = { failures: 3, openMs: 100, longestMs: 800 };

describe("a breaker", () => {
  test("opens after failures in a row only, and stays open twice as long each time", () => {
    const breaker = new Breaker(limits);
    breaker.failed(0);
    breaker.failed(0);
    breaker.succeeded();
    breaker.failed(0);
    breaker.failed(0);
    expect(breaker.state).toBe("closed");
    breaker.failed(0);
    const stays: number[] = [];
    let now = 0;
    for (let i = 0; i < 5; i++) {
      stays.push(breaker.waitMs(now));
      now += breaker.waitMs(now);
      expect(breaker.admit(now - 1)).toBe(false);
      expect(breaker.admit(now)).toBe(true);
      breaker.failed(now);
    }
    expect(stays).toEqual([100, 200, 400, 800, 800]);
  });

  test("lets exactly one probe through, gives it back when abandoned, and takes a hint", () => {
    const breaker = new Breaker(limits);
    for (let i = 0; i < 3; i++) breaker.failed(0);
    expect([breaker.admit(100), breaker.admit(100), breaker.admit(10_000)]).toEqual([true, false, false]);
    breaker.abandoned(150);
    expect([breaker.admit(150), breaker.admit(150)]).toEqual([true, false]);
    breaker.failed(160);
    expect(breaker.admit(170)).toBe(false);
    breaker.hint(170);
    expect(breaker.admit(170)).toBe(true);
    breaker.succeeded();
    expect([breaker.admit(170), breaker.admit(170)]).toEqual([true, true]);
  });

  test("never has two probes, and is never open for longer than its longest, in any order of events", () => {
    const event = fc.constantFrom("admit", "ok", "fail", "leave", "wait");
    fc.assert(
      fc.property(fc.array(event, { maxLength: 400 }), (events) => {
        const breaker = new Breaker(limits);
        let now = 0;
        let running = 0;
        for (const one of events) {
          if (one === "wait") now += 37;
          else if (one === "admit") {
            const before = breaker.state;
            if (breaker.admit(now)) running = before === "closed" ? running + 1 : 1;
            else expect(before).not.toBe("closed");
          } else if (running > 0) {
            running--;
            if (one === "ok") breaker.succeeded();
            else if (one === "fail") breaker.failed(now);
            else breaker.abandoned(now);
          }
          expect(breaker.waitMs(now)).toBeLessThanOrEqual(limits.longestMs);
          if (breaker.state === "half-open") expect(breaker.admit(now)).toBe(false);
        }
      }),
      { numRuns: 300 },
    );
  });
});

const config = EnsembleConfigSchema.parse({
  members: [{ name: "llama", role: "candidate", url: "http://l:1", model: "l" }],
  deadlines: { candidatesMs: 10_000, totalMs: 10_000, rewriteMs: 1_000, judgeMs: 1_000 },
  hedge: { samples: 20, budgetRatio: 0.05, percentile: 95 },
  breaker: { failures: 3, openMs: 1_000 },
});

/** Asks so many questions one after the other in one world. */
async function asked(count: number, act: (number: number) => Act) {
  const world = fakeWorld((_, number) => act(number));
  world.ports.traffic = new Traffic(config, () => world.now());
  const ended: { ms: number; hedged: boolean; attempts: number; code?: string }[] = [];
  for (let i = 0; i < count; i++) {
    const began = world.now();
    const result = await runPipeline(
      planOf(config),
      { text: "Why?", turns: [] },
      world.ports,
      new AbortController().signal,
    ).then(
      ({ stages }) => stages[0],
      (error: unknown) => (error instanceof Fault ? error.stages?.[0] : undefined),
    );
    ended.push({
      ms: world.now() - began,
      hedged: result?.hedged === true,
      attempts: result?.attempts ?? 0,
      code: result?.code,
    });
  }
  return { ended, calls: world.calls };
}

describe("hedging", () => {
  test("makes a second call beside one that stalls, and takes whichever speaks first", async () => {
    const { ended, calls } = await asked(200, (number) =>
      number >= 30 && number % 20 === 10 ? { hang: true } : { after: 100, say: "An answer here." },
    );
    const slow = ended.filter(({ ms }) => ms > 100);
    expect(slow.length).toBeGreaterThan(5);
    expect(slow.every(({ hedged, attempts, ms }) => hedged && attempts === 2 && ms < 250)).toBe(true);
    expect(calls.length).toBeLessThanOrEqual(200 * 1.05 + 1);
    expect(calls.every(({ aborted }) => aborted)).toBe(true);
  });

  test("is not done before enough is known, nor beyond its budget", async () => {
    const few = await asked(10, () => ({ after: 100, say: "An answer here." }));
    expect(few.calls).toHaveLength(10);
    const { calls, ended } = await asked(120, (number) =>
      number < 30 ? { after: 100, say: "An answer here." } : { hang: true },
    );
    expect(ended.filter(({ hedged }) => hedged).length).toBeLessThanOrEqual(3);
    expect(calls.length).toBeLessThan(130);
  });
});

describe("a call whose connection breaks", () => {
  test("is tried once more, also when a second one was made beside it", async () => {
    const broken = new Fault("model_unreachable", "the answer ended before it was done");
    const { ended } = await asked(61, (number) => {
      if (number === 60) return { after: 300, fail: broken };
      return number === 61 ? { after: 20, fail: broken } : { after: 100, say: "An answer here." };
    });
    expect(ended.at(-1)).toMatchObject({ hedged: true, attempts: 3, code: undefined });
  });
});

describe("a member that fails", () => {
  test("is left alone after failures in a row, and tried again later", async () => {
    const { ended, calls } = await asked(8, () => ({ after: 1, fail: new Fault("model_failed", "out of memory") }));
    expect(calls).toHaveLength(3);
    expect(ended.slice(3).every(({ attempts, code }) => attempts === 0 && code === "model_unreachable")).toBe(true);
  });
});

describe("the choice of a pod", () => {
  const keys = Array.from({ length: 3_000 }, (_, index) => `conversation ${index}`);
  const idle = (names: readonly string[]) => names.map((pod) => ({ pod, load: 0 }));
  const three = ["http://10.0.0.1:11434", "http://10.0.0.2:11434", "http://10.0.0.3:11434"];

  test("is the same for the same key, shares keys out evenly, and moves only those of a pod that is gone", () => {
    const before = keys.map((key) => choosePod(idle(three), key));
    for (const pod of three) {
      const share = before.filter((one) => one === pod).length / keys.length;
      expect(share).toBeGreaterThan(0.28);
      expect(share).toBeLessThan(0.39);
    }
    const after = keys.map((key) => choosePod(idle(three.slice(1)), key));
    keys.forEach((_, index) => {
      if (before[index] !== three[0]) expect(after[index]).toBe(before[index]);
    });
  });

  test("never takes a pod that is loaded more than a quarter above the mean where a less loaded one is", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 8 }), fc.string(), (loads, key) => {
        const pods = loads.map((load, index) => ({ pod: `p${index}`, load }));
        const chosen = pods.find(({ pod }) => pod === choosePod(pods, key));
        const mean = loads.reduce((sum, load) => sum + load, 0) / loads.length;
        expect(chosen?.load).toBeLessThanOrEqual(Math.max(Math.min(...loads), 1.25 * mean));
      }),
    );
    expect(
      keys.map((key) =>
        choosePod(
          [
            { pod: "a", load: 1 },
            { pod: "b", load: 0 },
          ],
          key,
        ),
      ),
    ).not.toContain("a");
  });
});

describe("a member with pods", () => {
  const member = MemberSchema.parse({ name: "llama", role: "candidate", url: "http://l:1", model: "l" });
  const pods = ["http://10.0.0.1:1", "http://10.0.0.2:1"];
  const granted = (found: Passage | Fault): Passage => {
    if (found instanceof Fault) throw found;
    return found;
  };

  /** Traffic on a clock of its own, whose pods give a sign of life or not. */
  function world(alive: boolean) {
    const state = { now: 0, asked: [] as string[] };
    const traffic = new Traffic(
      config,
      () => state.now,
      (_, pod) => {
        state.asked.push(pod);
        return Promise.resolve(alive);
      },
    );
    const go = (affinity = "k", avoid?: ReadonlySet<string>) => traffic.passage(member, { pods, affinity, avoid });
    const stateOf = (pod: string) => traffic.breakers().find((one) => one.pod === pod)?.state;
    return { state, traffic, go, stateOf };
  }

  test("leaves one that cannot be reached alone at once, the other goes on", () => {
    const { go, stateOf } = world(false);
    const { pod, ended } = granted(go());
    ended("unreachable");
    ended("ok"); // Only the first word counts.
    expect(stateOf(pod)).toBe("open");
    for (let i = 0; i < 20; i++) expect(granted(go(`other ${i}`)).pod).not.toBe(pod);
  });

  test("leaves one that answers with errors alone after some in a row", () => {
    const { go, stateOf } = world(false);
    const { pod } = granted(go());
    for (let i = 0; i < 3; i++) {
      expect(stateOf(pod)).toBe("closed");
      granted(go()).ended("failed");
    }
    expect(stateOf(pod)).toBe("open");
  });

  test("asks one that could not be reached for a sign of life, one time each time, and closes its breaker by that", async () => {
    const sick = world(false);
    const { pod, ended } = granted(sick.go());
    ended("unreachable");
    for (const [now, times] of [
      [999, 0],
      [1_000, 1],
      [2_999, 1],
      [3_000, 2],
      [6_999, 2],
      [7_000, 3],
    ] as const) {
      sick.state.now = now;
      for (let i = 0; i < 5; i++) expect(granted(sick.go()).pod).not.toBe(pod);
      await new Promise((resolve) => setImmediate(resolve));
      expect(sick.state.asked).toHaveLength(times);
    }
    const well = world(true);
    const first = granted(well.go());
    first.ended("unreachable");
    well.state.now = 1_000;
    expect(granted(well.go()).pod).not.toBe(first.pod);
    await new Promise((resolve) => setImmediate(resolve));
    expect(granted(well.go()).pod).toBe(first.pod);
  });

  test("spends one call on one that answered with errors, when its time is over", () => {
    const { go, state, stateOf } = world(true);
    const { pod } = granted(go());
    for (let i = 0; i < 3; i++) granted(go()).ended("failed");
    state.now = 1_000;
    const probe = granted(go());
    expect([probe.pod, granted(go()).pod === pod, state.asked]).toEqual([pod, false, []]);
    probe.ended("ok");
    expect(stateOf(pod)).toBe("closed");
  });

  test("prefers one that was not tried, then one that works; with none it says when to come back", () => {
    const { go, state, traffic } = world(false);
    const first = granted(go()).pod;
    const second = granted(go("k", new Set([first])));
    expect(second.pod).not.toBe(first);
    expect(granted(go("k", new Set(pods))).pod).toBe(first);
    second.ended("unreachable");
    expect(traffic.isDown("llama")).toBe(false);
    granted(go("k", new Set([second.pod]))).ended("unreachable");
    expect([traffic.isDown("llama"), traffic.isDown("never-called")]).toEqual([true, false]);
    expect(go()).toMatchObject({ code: "model_unreachable", retryAfterSeconds: 1 });
    state.now = 1_000;
    expect(granted(go()).pod).toBeDefined();
  });

  test("goes to the idle pod while its own is busy with another's call, and stays with its own for its own", () => {
    const { go } = world(true);
    const own = granted(go("a"));
    expect(granted(go("a")).pod).toBe(own.pod);
    const rival = Array.from({ length: 50 }, (_, i) => `r${i}`).map((key) => {
      const passage = granted(go(key));
      passage.ended("ok");
      return passage.pod;
    });
    expect(rival).not.toContain(own.pod);
  });

  test("forgets pods that are gone", () => {
    const { traffic } = world(true);
    for (let i = 0; i < 100; i++)
      granted(traffic.passage(member, { pods: [`http://10.0.1.${i}:1`], affinity: "k" })).ended("ok");
    expect(traffic.breakers().length).toBeLessThan(3);
  });
});
