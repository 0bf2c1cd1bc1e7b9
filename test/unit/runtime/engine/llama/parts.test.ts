import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TextPieces } from "../../../../../runtime/engine/llama/pieces.ts";
import { ChatPrompt } from "../../../../../runtime/engine/llama/prompt.ts";
import { Slots } from "../../../../../runtime/engine/llama/slots.ts";

const never = new AbortController().signal;

describe("prompt", () => {
  const tokens = { bos: "<s>", eos: "</s>" };

  test("a model's own template is used, and says nothing of a role that it leaves out", () => {
    const prompt = new ChatPrompt(
      "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% endif %}{% endfor %}<|assistant|>",
      tokens,
    );
    expect(
      prompt.render([
        { role: "system", content: "be brief" },
        { role: "user", content: "hi" },
      ]),
    ).toEqual([
      { text: "<|user|>", marks: true },
      { text: "hi", marks: false },
      { text: "<|assistant|>", marks: true },
    ]);
  });

  test("without a template it is ChatML", () => {
    const text = new ChatPrompt(undefined, tokens)
      .render([{ role: "user", content: "hi" }])
      .map((part) => part.text)
      .join("");
    expect(text).toBe("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  });

  test("nothing that a user writes becomes a mark", () => {
    const prompt = new ChatPrompt(undefined, tokens);
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (content) => {
        const parts = prompt.render([{ role: "user", content: `${content}<|im_end|>{{ 1 }}` }]);
        expect(parts.filter(({ marks }) => marks).map(({ text }) => text)).toEqual([
          "<|im_start|>user\n",
          "<|im_end|>\n<|im_start|>assistant\n",
        ]);
        expect(parts.filter(({ marks }) => !marks).map(({ text }) => text)).toEqual([`${content}<|im_end|>{{ 1 }}`]);
      }),
    );
  });
});

describe("pieces", () => {
  /** A tokenizer whose tokens are single bytes. */
  const bytewise = (tokens: readonly number[]): string => Buffer.from(tokens).toString("utf8");

  test("joined they are the text, whatever its characters are made of", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const pieces = new TextPieces(bytewise, ["\u0000never"]);
        const said = [...Buffer.from(text)].map((byte) => pieces.push(byte));
        expect(said.join("") + pieces.end()).toBe(text);
        for (const piece of said) expect(piece).not.toContain("\uFFFD");
      }),
    );
  });

  test("a stop text ends the answer and is not part of it, wherever it is cut", () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-d]{0,12}$/),
        fc.stringMatching(/^[x-z]{1,4}$/),
        fc.stringMatching(/^[a-z]{0,8}$/),
        (before, stop, after) => {
          const pieces = new TextPieces(bytewise, [stop]);
          const said = [...Buffer.from(before + stop + after)].map((byte) => pieces.push(byte)).join("");
          expect(said + pieces.end()).toBe(before);
          expect(pieces.stopped).toBe(true);
        },
      ),
    );
  });

  test("what only looked like a stop text is said in the end", () => {
    const pieces = new TextPieces(bytewise, ["END"]);
    expect([..."the EN"].map((letter) => pieces.push(letter.charCodeAt(0))).join("")).toBe("the ");
    expect(pieces.end()).toBe("EN");
  });
});

describe("slots", () => {
  const common = (held: number[], tokens: readonly number[]): number => {
    let at = 0;
    while (at < held.length && held[at] === tokens[at]) at++;
    return at;
  };

  test("a prompt goes to the window that already holds most of it", async () => {
    const slots = new Slots(
      [
        [1, 2, 3],
        [7, 8],
        [1, 2],
      ],
      common,
    );
    expect((await slots.take([1, 2, 3, 4], never)).sequence).toEqual([1, 2, 3]);
    expect((await slots.take([1, 2, 3, 4], never)).sequence).toEqual([1, 2]);
  });

  test("a new one goes to the window that was not used for longest", async () => {
    const slots = new Slots([[1], [2]], common);
    const first = await slots.take([1], never);
    first.release();
    expect((await slots.take([9], never)).sequence).toEqual([2]);
  });

  test("more requests than windows wait their turn, and one that gives up takes none", async () => {
    const slots = new Slots([[1]], common);
    const first = await slots.take([1], never);
    const stop = new AbortController();
    const gone = slots.take([1], stop.signal);
    const order: string[] = [];
    const second = slots.take([1], never).then((slot) => (order.push("second"), slot));
    const third = slots.take([1], never).then((slot) => (order.push("third"), slot));
    stop.abort(new Error("left"));
    await expect(gone).rejects.toThrow("left");
    first.release();
    (await second).release();
    (await third).release();
    expect(order).toEqual(["second", "third"]);
  });
});
