import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend, GeneratePiece, GenerateRequest, LoadedModel } from "../../runtime/engine/backend.ts";

/** A backend and what a test must know of it. */
export interface BackendUnderTest {
  backend: Backend;
  /** A model that it has. */
  model: string;
  close(): Promise<void>;
}

/** What only some backends can. A test of what one cannot does not exist for it. */
export interface Abilities {
  schema: boolean;
  labels: boolean;
  logprobs: false | "some" | "each";
  vectors: boolean;
  absence: boolean;
  longPrompts: boolean;
}

const never = new AbortController().signal;
/** Processes start, models load, on a machine that may be busy. */
const SLOW_MS = 120_000;

type Done = NonNullable<GeneratePiece["done"]>;

/** What every backend does alike, whoever makes the words. @param open called once before the tests */
export function describeBackend(name: string, can: Abilities, open: () => Promise<BackendUnderTest>): void {
  describe(name, () => {
    let it: BackendUnderTest;
    let model: LoadedModel;
    const progress: number[] = [];
    beforeAll(async () => {
      it = await open();
      model = await it.backend.load(it.model, (ratio) => progress.push(ratio), never);
    }, SLOW_MS);
    afterAll(async () => {
      await model?.unload();
      await it?.close();
    }, SLOW_MS);

    const say = async (
      request: Partial<GenerateRequest> = {},
      signal = never,
    ): Promise<{ text: string; pieces: GeneratePiece[]; done: Done }> => {
      const pieces: GeneratePiece[] = [];
      const messages = [{ role: "user" as const, content: "What is it?" }];
      for await (const piece of model.generate({ messages, temperature: 0, maxTokens: 12, ...request }, signal))
        pieces.push(piece);
      const done = pieces.at(-1)?.done;
      if (done === undefined) throw new Error("no last piece");
      return { text: pieces.map(({ text }) => text).join(""), pieces, done };
    };

    test("lists its models with their facts, and knows which are not there", async () => {
      const { library } = it.backend;
      const entry = (await library.list()).find((one) => one.name === it.model);
      const facts = await library.facts(it.model);
      expect(facts).toBeDefined();
      if (can.absence) {
        expect(entry?.facts).toEqual(facts);
        expect(await library.facts("absent:1")).toBeUndefined();
      }
      if (facts?.digest !== undefined) expect(facts.digest).toMatch(/^[0-9a-f]{64}$/);
    });

    test("tells how a load goes, between 0 and 1, and what the model takes", () => {
      expect(progress.length).toBeGreaterThan(0);
      expect(progress.every((ratio) => ratio >= 0 && ratio <= 1)).toBe(true);
      expect(model.memoryBytes).toBeGreaterThanOrEqual(0);
    });

    test("streams an answer in pieces, of which only the last says that it is done, with counts and times", async () => {
      const { text, pieces, done } = await say();
      expect(text).not.toBe("");
      expect(pieces.length).toBeGreaterThan(1);
      expect(pieces.filter((piece) => piece.done !== undefined)).toHaveLength(1);
      expect(done.answerTokens).toBeGreaterThan(0);
      expect(done.answerTokens).toBeLessThanOrEqual(12);
      expect(done.promptTokens).toBeGreaterThan(0);
      expect(done.promptMs).toBeGreaterThanOrEqual(0);
      expect(done.answerMs).toBeGreaterThanOrEqual(0);
    });

    test("says the same to the same words at temperature 0", async () => {
      expect((await say()).text).toBe((await say()).text);
    });

    test("ends at the length", async () => {
      const { done } = await say({ maxTokens: 3 });
      expect(done).toMatchObject({ reason: "length", answerTokens: 3 });
    });

    test("ends before a stop text", async () => {
      const whole = await say();
      const mark = [...whole.text.trim()].at(-1) ?? "";
      const { text, done } = await say({ stop: [mark] });
      expect(text).not.toContain(mark);
      expect(whole.text.startsWith(text)).toBe(true);
      expect(done.reason).toBe("stop");
    });

    test("writes JSON where JSON is asked for", async () => {
      const format = can.schema
        ? {
            type: "object",
            properties: { winner: { type: "string", enum: ["A", "B"] } },
            required: ["winner"],
            additionalProperties: false,
          }
        : ("json" as const);
      const { text } = await say({ format, maxTokens: 200 });
      const value = JSON.parse(text) as { winner?: string };
      expect(value).toBeTypeOf("object");
      if (can.schema) expect(["A", "B"]).toContain(value.winner);
    });

    test("throws the reason of whoever stops it, and serves the next", async () => {
      const stop = new AbortController();
      const messages = [{ role: "user" as const, content: "Tell me all that you know." }];
      const read = async (): Promise<void> => {
        for await (const piece of model.generate({ messages, maxTokens: 400 }, stop.signal))
          if (piece.text !== "") stop.abort(new Error("the reader left"));
      };
      await expect(read()).rejects.toThrow("the reader left");
      await expect(say({}, AbortSignal.abort(new Error("too late")))).rejects.toThrow("too late");
      expect((await say()).text).not.toBe("");
    });

    test("serves the next when nobody reads on", async () => {
      for (let time = 0; time < 5; time++) {
        for await (const piece of model.generate({ messages: [{ role: "user", content: "Go on." }] }, never)) {
          expect(piece).toBeDefined();
          break;
        }
      }
      expect((await say()).text).not.toBe("");
    });

    test("serves several at once", async () => {
      const answers = await Promise.all(
        ["One", "Two", "Three", "Four"].map((content) => say({ messages: [{ role: "user", content }] })),
      );
      expect(answers.every(({ done }) => done.answerTokens > 0)).toBe(true);
    });

    if (can.labels) {
      test("answers with one of the labels", async () => {
        // Other servers tell the likeliest tokens alone, so the labels are two of these; a random model rarely thinks of A and B.
        const [opening] = can.logprobs !== false ? (await say({ topLogprobs: 20, maxTokens: 1 })).pieces : [];
        const likeliest = (opening?.logprobs?.[0]?.top ?? []).map(({ token }) => token.trim());
        const shown = [...new Set(likeliest.filter((token) => /^[!-~]+$/.test(token)))].slice(0, 2);
        const labels = shown.length === 2 ? shown.toReversed() : ["A", "B"];
        const { text, done } = await say({ choices: labels });
        expect(labels).toContain(text);
        expect(done.choices?.map(({ label }) => label)).toEqual(labels);
        const likely = done.choices?.map(({ probability }) => probability) ?? [];
        expect(likely.every((one) => one >= 0 && one <= 1)).toBe(true);
        expect(text).toBe(labels[likely.indexOf(Math.max(...likely))]);
      });
    }

    if (can.logprobs !== false) {
      test("tells how likely its tokens were", async () => {
        const { pieces } = await say({ topLogprobs: 3, maxTokens: 4 });
        const told = pieces.flatMap(({ logprobs = [] }) => logprobs);
        expect(told.length).toBeGreaterThan(0);
        expect(told.length).toBeLessThanOrEqual(4);
        if (can.logprobs === "each") expect(told).toHaveLength(4);
        for (const { logprob, top } of told) {
          expect(logprob).toBeLessThanOrEqual(0);
          expect(top).toHaveLength(3);
          expect(top.map((one) => one.logprob)).toEqual(top.map((one) => one.logprob).toSorted((a, b) => b - a));
        }
      });
    }

    if (can.vectors) {
      test("gives a vector for a text, in order", async () => {
        const { vectors } = (await model.embed?.(["one", "three", "one"], never)) ?? {};
        expect(vectors).toHaveLength(3);
        expect(vectors?.[0]).toEqual(vectors?.[2]);
        expect(vectors?.[0]).not.toEqual(vectors?.[1]);
      });
    }

    if (can.longPrompts) {
      test("refuses a prompt that is longer than its window, as the caller's fault, and serves the next", async () => {
        const messages = [{ role: "user" as const, content: "x ".repeat(10_000) }];
        await expect(say({ messages })).rejects.toMatchObject({ code: "invalid_request" });
        expect((await say()).text).not.toBe("");
      });
    }

    if (can.absence) {
      test("does not load what is not there", async () => {
        await expect(it.backend.load("absent:1", () => undefined, never)).rejects.toMatchObject({
          code: "unknown_model",
        });
      });
    }

    test(
      "loads again after an unload",
      async () => {
        await model.unload();
        model = await it.backend.load(it.model, () => undefined, never);
        expect((await say()).text).not.toBe("");
      },
      SLOW_MS,
    );
  });
}
