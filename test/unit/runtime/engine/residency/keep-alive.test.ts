import fc from "fast-check";
import { expect, test } from "vitest";
import { keepAliveMs } from "../../../../../runtime/engine/residency/keep-alive.ts";

const FOR_EVER = Number.POSITIVE_INFINITY;

test.each<[unknown, number | undefined]>([
  [undefined, undefined],
  [null, undefined],
  [0, 0],
  ["0", 0],
  ["0s", 0],
  [-1, FOR_EVER],
  ["-1", FOR_EVER],
  ["-1m", FOR_EVER],
  [300, 300_000],
  [1.5, 1_500],
  ["300", 300_000],
  ["5m", 300_000],
  ["1h30m", 5_400_000],
  ["1.5h", 5_400_000],
  [".5s", 500],
  ["100ms", 100],
  ["+2s", 2_000],
  [" 24h ", 86_400_000],
])("keep_alive %j is %s ms", (given, ms) => {
  expect(keepAliveMs(given)).toBe(ms);
});

test.each([
  ["soon"],
  ["5" + "x"],
  ["5m6"],
  ["m"],
  [""],
  ["-"],
  ["1e3s"],
  [Number.NaN],
  [true],
  [{}],
  [[5]],
])("keep_alive %j is refused with what is allowed", (given) => {
  expect(() => keepAliveMs(given)).toThrow(/^keep_alive: got .*want seconds as a number/);
});

test("any text is a duration or is refused, and nothing else happens", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^-?(\d+(\.\d+)?(h|m|s|ms))+$/)), (text) => {
      try {
        expect(keepAliveMs(text)).toBeGreaterThanOrEqual(0);
      } catch (error) {
        expect(error).toMatchObject({ code: "invalid_request" });
      }
    }),
  );
});
