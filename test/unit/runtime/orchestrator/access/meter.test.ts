import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MemoryMeter } from "../../../../../runtime/orchestrator/access/meter.ts";

const NOON = Date.UTC(2026, 10, 21, 12);

function meter(most = 100) {
  const clock = { ms: NOON };
  return { clock, meter: new MemoryMeter(most, () => clock.ms) };
}

describe("requests a minute", () => {
  test("come at once up to the limit, then one each time its share of a minute has passed", () => {
    const { clock, meter: m } = meter();
    const limits = { requestsPerMinute: 6 };
    const first = Array.from({ length: 7 }, () => m.take("key:a", limits));
    expect(first.map(({ ok }) => ok)).toEqual([true, true, true, true, true, true, false]);
    expect(first[0]).toEqual({ ok: true, allowance: { limit: 6, remaining: 5, resetSeconds: 10 } });
    expect(first[6]).toEqual({
      ok: false,
      of: "requests",
      retrySeconds: 10,
      allowance: { limit: 6, remaining: 0, resetSeconds: 60 },
    });
    clock.ms += 9_000;
    expect(m.take("key:a", limits).ok).toBe(false);
    clock.ms += 1_000;
    expect(m.take("key:a", limits).ok).toBe(true);
    expect(m.take("key:a", limits).ok).toBe(false);
  });

  test("are each subject's own", () => {
    const { meter: m } = meter();
    expect(m.take("key:a", { requestsPerMinute: 1 }).ok).toBe(true);
    expect(m.take("key:b", { requestsPerMinute: 1 }).ok).toBe(true);
    expect(m.take("key:a", { requestsPerMinute: 1 }).ok).toBe(false);
  });

  test("are never more than the limit at once nor than twice the limit in a minute, and waiting as told is always enough", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 600 }),
        fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 1, maxLength: 200 }),
        (requestsPerMinute, waits) => {
          const { clock, meter: m } = meter();
          const taken: number[] = [];
          for (const wait of waits) {
            clock.ms += wait;
            const verdict = m.take("key:a", { requestsPerMinute });
            if (verdict.ok) taken.push(clock.ms);
            else {
              clock.ms += verdict.retrySeconds * 1_000;
              expect(m.take("key:a", { requestsPerMinute }).ok).toBe(true);
              taken.push(clock.ms);
            }
          }
          for (const from of taken) {
            const minute = taken.filter((at) => at >= from && at < from + 60_000).length;
            expect(minute).toBeLessThanOrEqual(2 * requestsPerMinute);
          }
        },
      ),
    );
  });
});

describe("tokens a day", () => {
  test("are counted at the answers' ends and begin anew at midnight UTC", () => {
    const { clock, meter: m } = meter();
    const limits = { tokensPerDay: 100 };
    expect(m.take("key:a", limits)).toEqual({ ok: true });
    m.spend("key:a", 99);
    expect(m.take("key:a", limits).ok).toBe(true);
    m.spend("key:a", 1);
    expect(m.take("key:a", limits)).toEqual({ ok: false, of: "tokens", retrySeconds: 12 * 3600 });
    expect(m.take("key:b", limits).ok).toBe(true);
    clock.ms += 12 * 3_600_000 - 1;
    expect(m.take("key:a", limits)).toMatchObject({ ok: false, retrySeconds: 1 });
    clock.ms += 1;
    expect(m.take("key:a", limits).ok).toBe(true);
  });

  test("that are no number add nothing", () => {
    const { meter: m } = meter();
    for (const tokens of [Number.NaN, -5, 0]) m.spend("key:a", tokens);
    expect(m.size).toBe(0);
  });
});

test("100,000 addresses take the memory of as many as are kept", () => {
  const { meter: m } = meter(1_000);
  for (let at = 0; at < 100_000; at++) m.take(`at:${at}`, { requestsPerMinute: 1 });
  expect(m.size).toBe(1_000);
  expect(m.take("at:99999", { requestsPerMinute: 1 }).ok).toBe(false);
  expect(m.take("at:0", { requestsPerMinute: 1 }).ok).toBe(true);
});
