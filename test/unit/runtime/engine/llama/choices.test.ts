import { describe, expect, test } from "vitest";
import { likeliest } from "../../../../../runtime/engine/likeliest.ts";
import { forkOf, labelProbabilities } from "../../../../../runtime/engine/llama/choices.ts";
import { TokenLogprobs } from "../../../../../runtime/engine/llama/logprobs.ts";

/** A token a character. */
const letters = (text: string): number[] => [...text].map((one) => one.codePointAt(0) ?? 0);
/** A token a word with the space before it, as byte-level vocabularies have them. */
const WORDS = ["A", " A", "B", " B", "Candidate", " 1", " 2"];
const words = (text: string): number[] =>
  (text.match(/ ?\S+/g) ?? []).map((word) => (WORDS.includes(word) ? WORDS.indexOf(word) : 99));

describe("where labels part", () => {
  test("is their first token where they differ there, with and without a space before it", () => {
    expect(forkOf(["A", "B"], words)).toEqual({
      common: [],
      firsts: [
        [0, 1],
        [2, 3],
      ],
    });
  });

  test("is after what all of them begin with", () => {
    expect(forkOf(["Candidate 1", "Candidate 2"], words)).toEqual({ common: [4], firsts: [[5], [6]] });
  });

  test("never takes a token for two labels", () => {
    // Each label with a space begins with the space itself, which says nothing.
    expect(forkOf(["x", "y"], letters)).toEqual({ common: [], firsts: [letters("x"), letters("y")] });
  });

  test.each([
    [["A"], /got 1 labels, want 2 to 64/],
    [Array.from({ length: 65 }, (_, index) => `label ${index}`), /got 65 labels/],
    [["A", " "], /empty label/],
    [["A", "B", "A"], /"A" twice/],
    [["ab", "ac", "bc"], /"ac" and "ab" begin with the same token/],
    [["1", "10"], /"1" and "10" begin with the same token/],
  ])("is nowhere for %j", (labels, message) => {
    expect(forkOf(labels, letters)).toMatch(message);
  });
});

test("probabilities are shares of the whole vocabulary, so they may miss some of 1", () => {
  const fork = { common: [], firsts: [[1, 2], [3]] };
  // Of four tokens with weights 1, 2, 3 and 4.
  const logits = new Map([1, 2, 3].map((token) => [token, Math.log(token)]));
  const told = labelProbabilities(["A", "B"], fork, logits, Math.log(4), (1 + 2 + 3 + 4) / 4);
  expect(told.map(({ label }) => label)).toEqual(["A", "B"]);
  expect(told.map(({ probability }) => probability)).toEqual([expect.closeTo(0.3), expect.closeTo(0.3)]);
});

test("the likeliest label wins, the first of equal ones", () => {
  const choices = [
    { label: "A", probability: 0.2 },
    { label: "B", probability: 0.4 },
    { label: "C", probability: 0.4 },
  ];
  expect(likeliest(choices)).toBe("B");
});

test("tokens are told once, with as many others as asked, and no logarithm of nothing", () => {
  const logprobs = new TokenLogprobs(2, (token) => `t${token}`);
  logprobs.push(
    3,
    new Map([
      [1, 0.5],
      [2, 0.3],
      [3, 0.2],
      [4, 0],
    ]),
  );
  logprobs.push(9, new Map());
  expect(logprobs.take()).toEqual([
    {
      token: "t3",
      logprob: Math.log(0.2),
      top: [
        { token: "t1", logprob: Math.log(0.5) },
        { token: "t2", logprob: Math.log(0.3) },
      ],
    },
    { token: "t9", logprob: Math.log(1e-30), top: [] },
  ]);
  expect(logprobs.take()).toEqual([]);
});
