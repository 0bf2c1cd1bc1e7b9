import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { estimateTokens, fitTurns, shorten } from "../../../../runtime/core/budget.ts";
import { Conversations, turnsOf } from "../../../../runtime/core/conversations.ts";
import { usableRewrite } from "../../../../runtime/core/prompts.ts";
import { sift } from "../../../../runtime/core/sift.ts";
import { refuses, resemblance, saysTheSame, withoutThoughts } from "../../../../runtime/core/words.ts";

describe("words", () => {
  test("leave hidden thoughts out, also unfinished ones", () => {
    expect(withoutThoughts("<think>hm, 2+2</think>\n\nIt is 4.")).toBe("It is 4.");
    expect(withoutThoughts("<think>never ends")).toBe("");
  });

  test("tell a refusal from an answer that begins with an apology", () => {
    for (const text of [
      "I'm sorry, but I can't help with that.",
      "As an AI language model, I cannot do that.",
      "I cannot assist with this.",
      "I’m sorry.",
    ]) {
      expect(refuses(text), text).toBe(true);
    }
    expect(refuses("Sorry to hear it! Restart the pod first.".padEnd(40))).toBe(true);
    expect(refuses(`Sorry for the confusion. ${"Here is the long explanation that you want. ".repeat(12)}`)).toBe(
      false,
    );
    expect(refuses("Paris is the capital of France.")).toBe(false);
  });

  test("say the same in one line whatever case and spacing, but code only to the letter", () => {
    expect(saysTheSame("It is Paris.", " it  is paris")).toBe(true);
    expect(saysTheSame("It is -1.", "It is 1.")).toBe(false);
    expect(saysTheSame("if a:\n  b()", "if a:\n    b()")).toBe(false);
  });

  test("resemble by their common words", () => {
    expect(resemblance("a b c", "c b a")).toBe(1);
    expect(resemblance("a b", "c d")).toBe(0);
    fc.assert(fc.property(fc.string(), fc.string(), (a, b) => resemblance(a, b) === resemblance(b, a)));
  });
});

describe("sifting", () => {
  const answer = (member: string, text: string, cut = false) => ({ member, text, cut });

  test("keeps whole answers only, when there are any", () => {
    const { fit, dropped } = sift([
      answer("a", "A whole answer."),
      answer("b", ""),
      answer("c", "Half an", true),
      answer("d", "Yes"),
    ]);
    expect(fit.map(({ member }) => member)).toEqual(["a"]);
    expect(dropped.map(({ answer: { member }, why }) => `${member} ${why}`)).toEqual([
      "b empty",
      "c cut",
      "d one word",
    ]);
  });

  test("falls back to one word, then to a cut answer, then to a refusal, and never to nothing", () => {
    const word = answer("a", "Yes");
    const cut = answer("b", "Half an", true);
    const refusal = answer("c", "I'm sorry, I can't help.");
    const empty = answer("d", " ");
    expect(sift([refusal, cut, word, empty]).fit).toEqual([word]);
    expect(sift([refusal, cut, empty]).fit).toEqual([cut]);
    expect(sift([refusal, empty]).fit).toEqual([refusal]);
    expect(sift([empty]).fit).toEqual([]);
  });
});

describe("budgets", () => {
  test("keep the newest turns that fit", () => {
    const turns = Array.from({ length: 5 }, (_, i) => ({ question: `q${i}`, answer: "word ".repeat(60) }));
    expect(fitTurns(turns, 260)).toEqual({ turns: turns.slice(-2), left: 3 });
    expect(fitTurns(turns, 0)).toEqual({ turns: [], left: 5 });
  });

  test("shorten a text to its tokens, from the middle", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 3000 }), fc.integer({ min: 20, max: 900 }), (text, tokens) => {
        const short = shorten(text, tokens);
        expect(estimateTokens(short.text)).toBeLessThanOrEqual(tokens);
        expect(short.cut).toBe(short.text !== text);
      }),
    );
    expect(shorten(`begin ${"x".repeat(3000)} end`, 100).text).toMatch(/^begin x+\n\[… shortened …\]\nx+ end$/);
  });
});

describe("conversations", () => {
  const key = (user: string, conversation = "c") => ({ user, conversation });

  test("keep at least the last five turns, apart by user and conversation", () => {
    const kept = new Conversations({ turns: 5, conversations: 10 });
    for (let i = 1; i <= 9; i++) kept.remember(key("ann"), { question: `q${i}`, answer: `a${i}` });
    kept.remember(key("bob"), { question: "bob's", answer: "x" });
    expect(kept.recall(key("ann")).map(({ question }) => question)).toEqual(["q5", "q6", "q7", "q8", "q9"]);
    expect(kept.recall(key("ann", "other"))).toEqual([]);
    expect(kept.recall(key("bob"))).toHaveLength(1);
  });

  test("count what they have forgotten", () => {
    const kept = new Conversations({ turns: 5, conversations: 10 });
    const shown: number[] = [];
    for (let i = 1; i <= 30; i++) {
      kept.remember(key("ann"), { question: `q${i}`, answer: `a${i}` });
      const turns = kept.recall(key("ann"));
      expect(turns.at(-1)?.question).toBe(`q${i}`);
      expect((i - turns.length) % 4).toBe(0);
      shown.push(turns.length);
    }
    expect(shown.slice(0, 14)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8, 5, 6]);
    expect(shown.slice(-6)).toEqual([5, 6, 7, 8, 5, 6]);
  });

  test("forget the one not used for longest when there are too many", () => {
    const kept = new Conversations({ turns: 5, conversations: 2 });
    kept.remember(key("a"), { question: "1", answer: "1" });
    kept.remember(key("b"), { question: "2", answer: "2" });
    kept.recall(key("a"));
    kept.remember(key("c"), { question: "3", answer: "3" });
    expect(["a", "b", "c"].map((user) => kept.recall(key(user)).length)).toEqual([1, 0, 1]);
    expect(kept.size).toBe(2);
  });

  test("are not confused by names that contain each other's parts", () => {
    const kept = new Conversations({ turns: 5, conversations: 10 });
    kept.remember(key('a","b', "c"), { question: "1", answer: "1" });
    expect(kept.recall(key("a", 'b","c'))).toEqual([]);
  });

  test("remember nothing with zero turns", () => {
    const kept = new Conversations({ turns: 0, conversations: 10 });
    kept.remember(key("a"), { question: "1", answer: "1" });
    expect(kept.size).toBe(0);
  });

  test("come from a client's own messages as pairs", () => {
    const messages = [
      { role: "system", content: "s" },
      { role: "user", content: "one" },
      { role: "user", content: "and two" },
      { role: "assistant", content: "both" },
      { role: "assistant", content: "stray" },
      { role: "user", content: "open" },
    ];
    expect(turnsOf(messages, 5)).toEqual([{ question: "one\n\nand two", answer: "both" }]);
    expect(turnsOf(messages, 0)).toEqual([]);
    const pairs = (count: number) =>
      Array.from({ length: 2 * count }, (_, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content: `${i >> 1}` }));
    expect([5, 8, 9, 12, 13].map((count) => turnsOf(pairs(count), 5).map(({ question }) => question)[0])).toEqual([
      "0",
      "0",
      "4",
      "4",
      "8",
    ]);
  });
});

describe("rewrites", () => {
  test("are used when they can be a question, without what small models put around them", () => {
    expect(usableRewrite("weather?", 'Rewritten question: "Give the weather."')).toBe("Give the weather.");
    expect(usableRewrite("weather?", "  ")).toBeUndefined();
    expect(usableRewrite("weather?", "I'm sorry, I cannot do that.")).toBeUndefined();
    expect(usableRewrite("weather?", "word ".repeat(200))).toBeUndefined();
  });
});
