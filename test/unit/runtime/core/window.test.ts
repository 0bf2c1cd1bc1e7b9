import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fitTurns } from "../../../../runtime/core/budget.ts";
import { BLOCK_TURNS, leftOut, mostShown, shownFrom, windowOf } from "../../../../runtime/core/window.ts";

const upTo = (count: number) => Array.from({ length: count }, (_, at) => at + 1);

describe("the turns that are shown", () => {
  test("are five to eight of a long conversation, and all of a short one", () => {
    const shown = upTo(14).map((count) => count - shownFrom(count, 5));
    expect(shown).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8, 5, 6]);
    expect(shownFrom(7, 0)).toBe(7);
    expect(mostShown(0)).toBe(0);
    expect(windowOf([], 0, 5)).toEqual([]);
    expect(windowOf([1, 2, 3], 3, 0)).toEqual([]);
  });

  test("are at least so many, the newest among them, and the same whatever else is kept", () => {
    fc.assert(
      fc.property(fc.nat(500), fc.integer({ min: 1, max: 100 }), fc.nat(50), (count, least, more) => {
        const all = upTo(count);
        const shown = windowOf(all, count, least);
        expect(shown.length).toBeGreaterThanOrEqual(Math.min(least, count));
        expect(shown.length).toBeLessThanOrEqual(mostShown(least));
        expect(shown).toEqual(all.slice(count - shown.length));
        expect(windowOf(all.slice(-(mostShown(least) + more)), count, least)).toEqual(shown);
      }),
    );
  });

  test("grow at their end alone until the start moves, with every fourth turn", () => {
    fc.assert(
      fc.property(fc.nat(500), fc.integer({ min: 1, max: 100 }), (count, least) => {
        const [now, next] = [windowOf(upTo(count), count, least), windowOf(upTo(count + 1), count + 1, least)];
        const moves = count >= least + BLOCK_TURNS - 1 && (count + 1 - least) % BLOCK_TURNS === 0;
        if (moves) expect(next).toEqual([...now.slice(BLOCK_TURNS), count + 1]);
        else expect(next).toEqual([...now, count + 1]);
      }),
    );
  });

  test("are all that is left where older ones were deleted", () => {
    expect(windowOf([19, 20], 20, 5)).toEqual([19, 20]);
  });
});

describe("turns without room", () => {
  test("are left out in blocks of at most half of what fits", () => {
    const left = (fitting: number) => [5, 6, 7, 8].map((count) => leftOut(count, fitting));
    expect(left(0)).toEqual([5, 6, 7, 8]);
    expect(left(1)).toEqual([4, 5, 6, 7]);
    expect(left(2)).toEqual([3, 4, 5, 6]);
    expect(left(3)).toEqual([2, 4, 4, 6]);
    expect(left(4)).toEqual([2, 2, 4, 4]);
    expect(left(7)).toEqual([0, 0, 0, 4]);
    expect(left(8)).toEqual([0, 0, 0, 0]);
  });

  test("never take more than half of what would fit with them, and what is left fits", () => {
    fc.assert(
      fc.property(fc.nat(110), fc.nat(110), (count, fitting) => {
        const shown = count - leftOut(count, fitting);
        expect(shown).toBeLessThanOrEqual(fitting);
        expect(shown).toBeGreaterThanOrEqual(Math.min(count, Math.ceil(fitting / 2)));
      }),
    );
  });

  test("let the rest stay as it was for a question and the next, at least every second time", () => {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 7 }), fc.integer({ min: 1, max: 120 }), (fitting, before) => {
        const turn = { question: "Where to?", answer: "There. ".repeat(20) };
        const tokens = fitting * 80;
        const starts = [0, 1, 2, 3].map((step) => {
          const count = before + step;
          const shown = windowOf(
            Array.from({ length: count }, () => turn),
            count,
            5,
          );
          return count - fitTurns(shown, tokens).turns.length;
        });
        expect(new Set(starts).size).toBeLessThanOrEqual(3);
      }),
    );
  });
});
