import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MemberSchema } from "../../../../runtime/contracts/ensemble-config.ts";
import {
  bestByScores,
  dealBallot,
  judgePrompt,
  mostResembling,
  readVerdict,
  secondBallot,
  verdictSchema,
} from "../../../../runtime/core/judging.ts";
import { estimateTokens } from "../../../../runtime/core/budget.ts";
import { seeded } from "./fake-ports.ts";

const judge = MemberSchema.parse({ name: "judge", role: "judge", url: "http://judge:11434", model: "gemma3:1b" });
const three = [
  { member: "llama", text: "Paris is the capital." },
  { member: "qwen", text: "The capital is Paris." },
  { member: "qwen-small", text: "Lyon." },
];

describe("ballots", () => {
  test("deal every contender once, with labels from A in reading order", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 8 }), (seed, count) => {
        const contenders = Array.from({ length: count }, (_, i) => ({ member: `m${i}`, text: `t${i}` }));
        const { entries, nonce } = dealBallot(contenders, seeded(seed));
        expect(entries.map(({ member }) => member).toSorted()).toEqual(
          contenders.map(({ member }) => member).toSorted(),
        );
        expect(entries.map(({ label }) => label).join("")).toBe("ABCDEFGH".slice(0, count));
        expect(nonce).toMatch(/^[0-9a-f]{8}$/);
      }),
    );
  });

  test("put each contender first about as often as any other", () => {
    const random = seeded(7);
    const first = new Map<string, number>();
    for (let i = 0; i < 3000; i++) {
      const member = dealBallot(three, random).entries[0]?.member ?? "";
      first.set(member, (first.get(member) ?? 0) + 1);
    }
    for (const { member } of three) expect(first.get(member)).toBeGreaterThan(900);
  });

  test("give nobody the same place or label in the second opinion", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 2, max: 8 }), (seed, count) => {
        const random = seeded(seed);
        const first = dealBallot(
          Array.from({ length: count }, (_, i) => ({ member: `m${i}`, text: `t${i}` })),
          random,
        );
        const second = secondBallot(first, random);
        expect(second.entries.map(({ label }) => label).toSorted()).toEqual(
          first.entries.map(({ label }) => label).toSorted(),
        );
        expect(second.nonce).not.toBe(first.nonce);
        for (const [place, { member, label, text }] of first.entries.entries()) {
          const again = second.entries.findIndex((entry) => entry.member === member);
          expect(again).not.toBe(place);
          expect(second.entries[again]?.label).not.toBe(label);
          expect(second.entries[again]?.text).toBe(text);
        }
      }),
    );
  });
});

describe("the judge's prompt", () => {
  test("holds the user's words, the conversation and each answer between marks with the nonce, and no member's name", () => {
    const ballot = dealBallot(three, seeded(3));
    const { messages, turnsShown, shortened } = judgePrompt(
      judge,
      "What is the capital?",
      [{ question: "Hi", answer: "Hello" }],
      ballot,
    );
    const user = messages[1]?.content ?? "";
    expect(user).toContain("Question: What is the capital?");
    expect(user).toContain("User: Hi\nAssistant: Hello");
    for (const { label, text } of ballot.entries) {
      expect(user).toContain(`<answer ${label} ${ballot.nonce}>\n${text}\n</answer ${label} ${ballot.nonce}>`);
    }
    expect(JSON.stringify(messages)).not.toMatch(/llama|qwen/);
    expect({ turnsShown, shortened }).toEqual({ turnsShown: 1, shortened: false });
  });

  test("fits the context window whatever the answers' length, and says that it was shortened", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 30_000 }), { minLength: 2, maxLength: 4 }), (lengths) => {
        const ballot = dealBallot(
          lengths.map((length, i) => ({ member: `m${i}`, text: "word ".repeat(length).trim() })),
          seeded(5),
        );
        const { messages, shortened } = judgePrompt(judge, "Why?", [], ballot);
        const tokens = messages.reduce((sum, { content }) => sum + estimateTokens(content), 0);
        expect(tokens).toBeLessThanOrEqual(judge.numCtx - judge.maxTokens);
        const user = messages[1]?.content ?? "";
        const whole = ballot.entries.every(({ label, text }) =>
          user.includes(`${ballot.nonce}>\n${text}\n</answer ${label} `),
        );
        expect(shortened).toBe(!whole);
      }),
      { numRuns: 200 },
    );
  });
});

describe("verdicts", () => {
  const ballot = dealBallot(three, seeded(11));
  const memberOf = (label: string): string | undefined => ballot.entries.find((entry) => entry.label === label)?.member;
  const row = [5, 4, 3, 2, 1];

  test("name the member behind the label, with its five scores", () => {
    const verdict = readVerdict(JSON.stringify({ winner: "B", scores: { A: row, B: row, C: row } }), ballot);
    expect(verdict.winner).toBe(memberOf("B"));
    expect(verdict.scores.get(memberOf("A") ?? "")).toEqual({
      correctness: 5,
      completeness: 4,
      clarity: 3,
      usefulness: 2,
      context: 1,
    });
  });

  test("are read through a code fence", () => {
    expect(readVerdict('```json\n{"winner":"C","scores":{}}\n```', ballot).winner).toBe(memberOf("C"));
  });

  test.each([
    ["free text", "The best answer is A."],
    ["a label that is not on the ballot", '{"winner":"D","scores":{}}'],
    ["a member's name", '{"winner":"llama","scores":{}}'],
    ["half a document", '{"winner":"A"'],
    ["nothing", ""],
    ["a number", '{"winner":1}'],
  ])("count as unreadable when they are %s", (_, reply) => {
    expect(readVerdict(reply, ballot)).toMatchObject({ winner: undefined, kind: "unparsable" });
  });

  test("drop scores out of range and keep the name", () => {
    const verdict = readVerdict(JSON.stringify({ winner: "A", scores: { A: [9, 1, 1, 1, 1] } }), ballot);
    expect(verdict.winner).toBe(memberOf("A"));
    expect(verdict.scores.size).toBe(0);
  });

  test("never throw and never name anyone outside the ballot, whatever the reply", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.object().map((o) => JSON.stringify(o)),
        ),
        (reply) => {
          const { winner } = readVerdict(reply, ballot);
          expect(winner === undefined || three.some(({ member }) => member === winner)).toBe(true);
        },
      ),
    );
  });

  test("come from a closed set of labels", () => {
    expect(verdictSchema(ballot)).toMatchObject({
      properties: { winner: { enum: ["A", "B", "C", "tie"] } },
      required: ["winner", "scores"],
      additionalProperties: false,
    });
  });
});

describe("without a verdict", () => {
  const scores = (total: number) => ({ correctness: total, completeness: 1, clarity: 1, usefulness: 1, context: 1 });

  test("the highest sum of scores wins when one stands alone", () => {
    expect(
      bestByScores(
        three,
        new Map([
          ["llama", scores(2)],
          ["qwen", scores(4)],
          ["qwen-small", scores(3)],
        ]),
      ),
    ).toBe("qwen");
    expect(
      bestByScores(
        three,
        new Map([
          ["llama", scores(4)],
          ["qwen", scores(4)],
          ["qwen-small", scores(3)],
        ]),
      ),
    ).toBeUndefined();
    expect(bestByScores(three, new Map([["llama", scores(4)]]))).toBeUndefined();
  });

  test("the answer that resembles the others most wins, and the first among equals", () => {
    expect(mostResembling(three)).toBe("llama");
    expect(mostResembling(three.toReversed())).toBe("qwen");
  });
});
