import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { askOfChat, contextOf, conversationOf, replay } from "../../../../runtime/orchestrator/api/asked.ts";

describe("a replayed text", () => {
  test("is the text byte for byte, in no more than 256 pieces", () => {
    const unit = fc.constantFrom("a", " ", "\n", "word", "ö", "🙂", "\t\t");
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 3000 }), (units) => {
        const text = units.join("");
        const pieces = replay(text);
        expect(pieces.join("")).toBe(text);
        expect(pieces.length).toBeLessThanOrEqual(256);
        expect(pieces).not.toContain("");
      }),
    );
    expect(replay("An answer by llama here.")).toEqual(["An", " answer", " by", " llama", " here."]);
  });
});

describe("Ollama's context", () => {
  test("carries a conversation there and back, and nothing else is taken for one", () => {
    fc.assert(
      fc.property(fc.uuid(), (id) => {
        expect(conversationOf(contextOf(id))).toBe(id);
      }),
    );
    expect(contextOf("my-own-id")).toBeUndefined();
    for (const context of [undefined, null, [], [1, 2, 3], new Array(17).fill(1)])
      expect(conversationOf(context)).toBeUndefined();
  });
});

describe("a chat as a question", () => {
  test("is the last user message; instructions and history go along", () => {
    const asked = askOfChat(
      [
        { role: "system", content: "Be brief." },
        { role: "user", content: "One?" },
        { role: "assistant", content: "1" },
        { role: "user", content: "Two?" },
      ],
      5,
      {},
    );
    expect(asked).toEqual({ question: "Two?", system: "Be brief.", turns: [{ question: "One?", answer: "1" }] });
  });

  test("leaves the history to the service when it names a conversation, and must end with the user", () => {
    expect(askOfChat([{ role: "user", content: "Two?" }], 5, { conversation: "c" })).toEqual({
      question: "Two?",
      conversation: "c",
    });
    expect(() => askOfChat([{ role: "assistant", content: "1" }], 5, {})).toThrow(/the last one to be the user's/);
    expect(() => askOfChat([{ role: "user", content: " " }], 5, {})).toThrow(/empty/);
  });
});
