import fc from "fast-check";
import { expect, test } from "vitest";
import { UsagePatterns } from "../../../../../runtime/engine/residency/patterns.ts";
import { Preloader } from "../../../../../runtime/engine/residency/preloader.ts";
import { Residency } from "../../../../../runtime/engine/residency/residency.ts";
import { createLogger } from "../../../../../runtime/support/log.ts";
import { fakeBackend } from "../../../../support/fake-backend.ts";
import { FakeClock } from "../../../../support/fake-clock.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const MONDAY = Date.UTC(2026, 0, 5);

test("an hour is likely when most days had it, newer ones above all, and not before two days were seen", () => {
  const patterns = new UsagePatterns();
  patterns.note("m", MONDAY + 9 * HOUR);
  expect(patterns.likely(MONDAY + DAY + 9 * HOUR)).toEqual([]);
  patterns.note("m", MONDAY + DAY + 9.5 * HOUR);
  expect(patterns.likely(MONDAY + 2 * DAY + 9 * HOUR)).toEqual(["m"]);
  expect(patterns.likely(MONDAY + 2 * DAY + 10 * HOUR)).toEqual([]);
  // Not asked for three days out of five: no longer.
  expect(patterns.likely(MONDAY + 5 * DAY + 9 * HOUR)).toEqual([]);
});

test("any uses: a share is from 0 to 1, and asking more often in one hour of a day changes nothing", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(40 * 24), { maxLength: 80 }), fc.nat(60 * 24), (hours, at) => {
      const [once, twice] = [new UsagePatterns(), new UsagePatterns()];
      for (const hour of hours.toSorted((a, b) => a - b)) {
        once.note("m", MONDAY + hour * HOUR);
        twice.note("m", MONDAY + hour * HOUR);
        twice.note("m", MONDAY + hour * HOUR + 1);
      }
      const share = once.share("m", MONDAY + (40 * 24 + at) * HOUR);
      expect(share).toBeGreaterThanOrEqual(0);
      expect(share).toBeLessThanOrEqual(1);
      expect(twice.share("m", MONDAY + (40 * 24 + at) * HOUR)).toBe(share);
    }),
  );
});

test("a model asked each morning is in memory before the next one, and the hit is counted; when nobody comes, the miss", async () => {
  const clock = new FakeClock(MONDAY);
  const backend = fakeBackend(clock, { m: { digest: "m1", bytes: 6, loadMs: 30_000 } });
  const preloader = new Preloader(clock, (name, untilMs) => residency.preload(name, untilMs));
  const residency: Residency = new Residency(backend, createLogger("test", "silent"), {
    clock,
    rules: { keepAliveMs: 300_000, memoryBytes: 10 },
    used: (name, ready) => preloader.used(name, ready),
  });
  residency.register("m");
  preloader.turn(true);
  const morning = async (): Promise<void> => {
    const lease = residency.lease("m", { waitMs: 60_000 });
    await clock.advance(40_000);
    (await lease).release();
  };
  await clock.advance(9.2 * HOUR);
  await morning();
  await clock.advance(DAY - 40_000);
  await morning();
  expect([preloader.hits, preloader.misses, preloader.hitRatio]).toEqual([0, 0, undefined]);
  await clock.advance(DAY - 40_000 - 0.1 * HOUR);
  // Nobody has asked today, and it stays beyond the usual five minutes, to the end of its hour.
  expect(residency.status("m").status.state).toBe("ready");
  await clock.advance(0.1 * HOUR);
  await morning();
  expect(preloader.hits).toBe(1);
  await clock.advance(DAY - 40_000);
  expect(residency.status("m").status.state).toBe("ready");
  await clock.advance(HOUR);
  expect(residency.status("m").status.state).toBe("absent");
  expect([preloader.hits, preloader.misses, preloader.hitRatio]).toEqual([1, 1, 0.5]);
  preloader.turn(false);
  await clock.advance(2 * DAY);
  expect(backend.events.filter(({ what }) => what === "load")).toHaveLength(4);
});
