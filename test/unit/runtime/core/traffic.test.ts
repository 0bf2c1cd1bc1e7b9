import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EnsembleConfigSchema } from "../../../../runtime/contracts/ensemble-config.ts";
import { Breaker } from "../../../../runtime/core/breaker.ts";
import { Fault } from "../../../../runtime/core/fault.ts";
import { runPipeline } from "../../../../runtime/core/pipeline.ts";
import { planOf } from "../../../../runtime/core/plan.ts";
import { Traffic } from "../../../../runtime/core/traffic.ts";
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

describe("a member that fails", () => {
  test("is left alone after failures in a row, and tried again later", async () => {
    const { ended, calls } = await asked(8, () => ({ after: 1, fail: new Fault("model_failed", "out of memory") }));
    expect(calls).toHaveLength(3);
    expect(ended.slice(3).every(({ attempts, code }) => attempts === 0 && code === "model_unreachable")).toBe(true);
  });
});
