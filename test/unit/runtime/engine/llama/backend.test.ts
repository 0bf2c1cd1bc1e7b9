import { truncate, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { GeneratePiece, GenerateRequest, LoadedModel } from "../../../../../runtime/engine/backend.ts";
import { llamaBackend } from "../../../../../runtime/engine/llama/backend.ts";
import { LlamaChild } from "../../../../../runtime/engine/llama/child.ts";
import { FileLibrary } from "../../../../../runtime/engine/store/file-library.ts";
import { writeTinyGguf } from "../../../../support/tiny-gguf.ts";

const never = new AbortController().signal;
/** A child process, llama.cpp and a load on a busy machine. */
const SLOW_MS = 60_000;

let folder: string;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "llama-"));
  path = join(folder, "tiny.gguf");
  await writeTinyGguf(path);
});
afterAll(() => rm(folder, { recursive: true }));

const open: LoadedModel[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((model) => model.unload()));
});

async function load(slots = 2): Promise<LoadedModel> {
  const backend = llamaBackend({
    library: new FileLibrary(new Map([["tiny:1", path]])),
    threads: 1,
    contextTokens: 512,
    slots,
  });
  const model = await backend.load("tiny:1", () => undefined, never);
  open.push(model);
  return model;
}

async function say(
  model: LoadedModel,
  request: Partial<GenerateRequest> & { ask: string },
  signal = never,
): Promise<{ text: string; done: NonNullable<GeneratePiece["done"]>; tokens: string[] }> {
  let text = "";
  const tokens: string[] = [];
  const { ask, ...rest } = request;
  for await (const piece of model.generate(
    { messages: [{ role: "user", content: ask }], maxTokens: 24, ...rest },
    signal,
  )) {
    text += piece.text;
    tokens.push(...(piece.logprobs ?? []).map(({ token }) => token));
    if (piece.done !== undefined) return { text, done: piece.done, tokens };
  }
  throw new Error("no last piece");
}

describe("a model of llama.cpp", () => {
  test("is known by its file before it is loaded", async () => {
    const backend = llamaBackend({ library: new FileLibrary(new Map([["tiny:1", path]])) });
    const facts = await backend.library.facts("tiny:1");
    expect(facts).toMatchObject({ format: "gguf", family: "llama", quantization: "F32", contextTokens: 1024 });
    expect(await backend.library.facts("other:1")).toBeUndefined();
  });

  test(
    "says the same to the same words, counts its tokens, and stops at the length",
    async () => {
      const model = await load();
      const first = await say(model, { ask: "What is it?" });
      const again = await say(model, { ask: "What is it?" });
      expect(again.text).toBe(first.text);
      // Three marks' worth: the user's, the assistant's, and eleven bytes of words.
      expect(first.done).toMatchObject({ reason: "length", answerTokens: 24, promptTokens: 13 });
      expect(model.memoryBytes).toBeGreaterThan(0);
    },
    SLOW_MS,
  );

  test(
    "keeps to a JSON schema and ends with its last bracket",
    async () => {
      const model = await load();
      const format = {
        type: "object",
        properties: { winner: { type: "string", enum: ["A", "B"] } },
        required: ["winner"],
        additionalProperties: false,
      };
      const { text, done } = await say(model, { ask: "Who?", format, maxTokens: 200 });
      expect(["A", "B"]).toContain((JSON.parse(text) as { winner: string }).winner);
      expect(done.reason).toBe("stop");
    },
    SLOW_MS,
  );

  test(
    "refuses what it cannot do, and goes on",
    async () => {
      const model = await load();
      await expect(say(model, { ask: "x".repeat(2_000) })).rejects.toMatchObject({
        code: "invalid_request",
        message: expect.stringMatching(/the prompt has 20\d\d tokens, want at most 511/) as string,
      });
      await expect(say(model, { ask: "x", format: { type: "nonsense" } })).rejects.toMatchObject({
        code: "invalid_request",
      });
      expect((await say(model, { ask: "still there?" })).done.answerTokens).toBe(24);
    },
    SLOW_MS,
  );

  test(
    "stops when nobody reads, and its window is free for the next",
    async () => {
      const model = await load(1);
      for (let i = 0; i < 5; i++) {
        for await (const piece of model.generate({ messages: [{ role: "user", content: "go" }] }, never)) {
          expect(piece.done).toBeUndefined();
          break;
        }
      }
      const stop = new AbortController();
      const cancelled = say(model, { ask: "go", maxTokens: 400 }, stop.signal);
      stop.abort(new Error("left"));
      await expect(cancelled).rejects.toThrow("left");
      expect((await say(model, { ask: "next" })).done.answerTokens).toBe(24);
    },
    SLOW_MS,
  );

  test(
    "serves several at once, each its own words",
    async () => {
      const model = await load(2);
      const alone = [(await say(model, { ask: "first words" })).text, (await say(model, { ask: "other words" })).text];
      const together = await Promise.all(
        ["first words", "other words", "first words", "other words"].map((ask) => say(model, { ask })),
      );
      expect(together.map(({ text }) => text)).toEqual([...alone, ...alone]);
    },
    SLOW_MS,
  );

  test(
    "answers with one of the labels by their probabilities, and says the same as its written tokens",
    async () => {
      const model = await load();
      // Two of them are likely here, so that they are among the written token's alternatives too.
      const labels = ["L", "A", "."];
      const { text, done } = await say(model, { ask: "Which?", choices: labels });
      const choices = done.choices ?? [];
      expect(choices.map(({ label }) => label)).toEqual(labels);
      expect(text).toBe(choices.toSorted((a, b) => b.probability - a.probability)[0]?.label);
      expect(done).toMatchObject({ reason: "stop", answerTokens: 1 });
      let written: GeneratePiece["logprobs"] = [];
      const request = { messages: [{ role: "user" as const, content: "Which?" }], maxTokens: 1, topLogprobs: 20 };
      for await (const { logprobs } of model.generate(request, never)) written = [...written, ...(logprobs ?? [])];
      const [token] = written;
      expect(token?.top).toHaveLength(20);
      expect(token?.top[0]?.token).toBe(token?.token);
      const sum = choices.reduce((all, { probability }) => all + probability, 0);
      expect(sum).toBeGreaterThan(0);
      expect(sum).toBeLessThan(1);
      expect(token?.top.filter(({ token: text }) => labels.includes(text))).toHaveLength(2);
      for (const { label, probability } of choices) {
        const seen = token?.top.find((one) => one.token === label);
        if (seen !== undefined) expect(Math.exp(seen.logprob)).toBeCloseTo(probability, 5);
        else expect(Math.log(probability)).toBeLessThan(token?.top.at(-1)?.logprob ?? 0);
      }
    },
    SLOW_MS,
  );

  test(
    "refuses labels that one token cannot tell apart, and more than it tells",
    async () => {
      const model = await load();
      const refused = (request: Partial<GenerateRequest>): Promise<unknown> =>
        expect(say(model, { ask: "x", ...request })).rejects.toMatchObject({ code: "invalid_request" });
      await refused({ choices: ["1", "10"] });
      await refused({ choices: ["A", "B"], format: "json" });
      await refused({ topLogprobs: 21 });
      expect((await say(model, { ask: "still there?" })).done.answerTokens).toBe(24);
    },
    SLOW_MS,
  );

  test(
    "draws as it is told: the same with a seed, the likeliest alone with top-k 1, none twice under a penalty",
    async () => {
      const model = await load();
      const greedy = await say(model, { ask: "draw" });
      expect((await say(model, { ask: "draw", temperature: 2, topK: 1 })).text).toBe(greedy.text);
      const seeded = { ask: "draw", temperature: 3, topK: 0, topP: 1, seed: 5 };
      const [one, two] = [await say(model, seeded), await say(model, seeded)];
      expect(one.text).toBe(two.text);
      expect(one.text).not.toBe(greedy.text);
      const free = new Set(
        (await Promise.all([1, 2, 3].map(() => say(model, { ...seeded, seed: -1 })))).map(({ text }) => text),
      );
      expect(free.size).toBeGreaterThan(1);
      const fresh = await say(model, {
        ask: "draw",
        topLogprobs: 0,
        repeatPenalty: 1e6,
        presencePenalty: 100,
        repeatLastTokens: -1,
      });
      const written = fresh.tokens.filter((token) => token !== "\uFFFD");
      expect(new Set(written).size).toBe(written.length);
    },
    SLOW_MS,
  );

  test(
    "takes a raw prompt as it is, with the marks in it",
    async () => {
      const model = await load();
      expect((await say(model, { ask: "abc", raw: true })).done.promptTokens).toBe(3);
      const chat = await say(model, { ask: "abc" });
      const whole = await say(model, { ask: "<|user|>abc<|assistant|>", raw: true });
      expect([whole.text, whole.done.promptTokens]).toEqual([chat.text, 5]);
    },
    SLOW_MS,
  );

  test(
    "refuses a text that is longer than the window, or cuts it when told to",
    async () => {
      const model = await load();
      await expect(model.embed?.(["x".repeat(600)], never)).rejects.toMatchObject({ code: "invalid_request" });
      const cut = await model.embed?.(["x".repeat(600)], never, true);
      expect([cut?.vectors.length, cut?.promptTokens]).toEqual([1, 510]);
    },
    SLOW_MS,
  );

  test(
    "gives a vector for a text",
    async () => {
      const model = await load();
      const { vectors, promptTokens } = (await model.embed?.(["one", "two", "one"], never)) ?? {};
      expect(promptTokens).toBe(9);
      expect(vectors?.map((vector) => vector.length)).toEqual([32, 32, 32]);
      expect(vectors?.[0]).toEqual(vectors?.[2]);
      expect(vectors?.[0]).not.toEqual(vectors?.[1]);
    },
    SLOW_MS,
  );
});

describe("a file that is no model", () => {
  test.each<[string, () => Promise<void>]>([
    ["nothing", () => writeFile(join(folder, "bad.gguf"), "")],
    ["text", () => writeFile(join(folder, "bad.gguf"), "not a model at all")],
    [
      "cut short",
      async () => {
        await writeTinyGguf(join(folder, "bad.gguf"));
        await truncate(join(folder, "bad.gguf"), 20_000);
      },
    ],
  ])(
    "%s: one clear error, and no process is left",
    async (_, make) => {
      await make();
      const backend = llamaBackend({
        library: new FileLibrary(new Map([["bad:1", join(folder, "bad.gguf")]])),
        threads: 1,
      });
      await expect(backend.library.facts("bad:1")).rejects.toThrow(/magic|behind the end/);
      await expect(backend.load("bad:1", () => undefined, never)).rejects.toThrow(/magic|behind the end/);
    },
    SLOW_MS,
  );
});

test(
  "a child that dies costs the requests that it was working on, and says so once",
  async () => {
    const died: string[] = [];
    const child = new LlamaChild((reason) => died.push(reason));
    await child.load({ path, threads: 1, contextTokens: 1_024, slots: 1 }, () => undefined, never);
    const pieces: string[] = [];
    const answer = (async () => {
      for await (const piece of child.generate({ messages: [{ role: "user", content: "go" }] }, never)) {
        pieces.push(piece.text);
        if (pieces.length === 1 && child.pid !== undefined) process.kill(child.pid, "SIGKILL");
      }
    })();
    await expect(answer).rejects.toMatchObject({
      code: "model_failed",
      message: expect.stringContaining("SIGKILL") as string,
    });
    await expect(child.embed(["x"], never)).rejects.toMatchObject({ code: "model_failed" });
    expect(died).toHaveLength(1);
    await child.close();
  },
  SLOW_MS,
);
