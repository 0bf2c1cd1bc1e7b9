import { afterEach, describe, expect, test } from "vitest";
import type { GeneratePiece, GenerateRequest, LoadedModel } from "../../../../../runtime/engine/backend.ts";
import { ollamaBackend, type OllamaOptions } from "../../../../../runtime/engine/ollama/backend.ts";
import type { FakeCall } from "../../../../support/fake-server.ts";
import { type FakeOllamaBehaviour, startFakeOllama } from "../../../../support/fake-ollama.ts";

const never = new AbortController().signal;
const HELLO = { messages: [{ role: "user" as const, content: "Hello" }] };
/** Looks as often as a test can wait for. */
const OFTEN = { everyMs: 10, lookMs: 1_000, misses: 2 };

const after: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of after.splice(0).toReversed()) await close();
});

async function fake(behaviour: Partial<FakeOllamaBehaviour> = {}, port = 0): ReturnType<typeof startFakeOllama> {
  const server = await startFakeOllama(behaviour, port);
  after.push(() => server.close());
  return server;
}

async function load(url: string, options: Partial<OllamaOptions> = {}): Promise<LoadedModel> {
  const backend = ollamaBackend({ url, contextTokens: 2_048, threads: 3, vigil: OFTEN, reachMs: 0, ...options });
  const model = await backend.load("tiny:1", () => undefined, never);
  // A server that refuses everything refuses this too.
  after.push(() => model.unload().catch(() => undefined));
  return model;
}

async function say(model: LoadedModel, request: GenerateRequest = HELLO, signal = never): Promise<GeneratePiece[]> {
  const pieces: GeneratePiece[] = [];
  for await (const piece of model.generate(request, signal)) pieces.push(piece);
  return pieces;
}

describe("a model of an Ollama server", () => {
  test("is loaded when it has written a token, and not before", async () => {
    const server = await fake();
    const model = await load(server.url);
    const [first] = server.calls.filter(({ path }) => path === "/api/chat");
    expect(first?.body["options"]).toMatchObject({ num_predict: 1, num_ctx: 2_048, num_thread: 3 });
    expect(model.memoryBytes).toBe(2_000);
    const silent = await fake({ words: [] });
    await expect(load(silent.url)).rejects.toThrow("produced no token");
  });

  test("is asked with one and the same window and threads whatever a request says, since others would load it again", async () => {
    const server = await fake();
    const model = await load(server.url);
    await say(model, { ...HELLO, numCtx: 999, numThread: 9, temperature: 0.5, stop: ["x"], format: "json", topK: 7 });
    const { body } = server.calls.findLast(({ path }) => path === "/api/chat") ?? {};
    expect(body).toMatchObject({ stream: true, think: false, truncate: false, shift: false, format: "json" });
    expect(body?.["options"]).toEqual({ num_ctx: 2_048, num_thread: 3, temperature: 0.5, stop: ["x"], top_k: 7 });
  });

  test("tells counts and times as the server has them", async () => {
    const pieces = await say(await load((await fake()).url));
    expect(pieces.map(({ text }) => text).join("")).toBe("One two three");
    expect(pieces.at(-1)?.done).toEqual({ reason: "stop", promptTokens: 5, answerTokens: 3, promptMs: 2, answerMs: 3 });
  });

  test("keeps it in the server's memory for a while with every call, and again in time when nobody asks", async () => {
    const server = await fake();
    await load(server.url, { leaseMs: 100 });
    expect(server.calls.find(({ path }) => path === "/api/chat")?.body["keep_alive"]).toBe("1s");
    const renewals = (): number =>
      server.calls.filter(({ path, body }) => path === "/api/generate" && body["keep_alive"] === "1s").length;
    await expect.poll(renewals, { timeout: 10_000 }).toBeGreaterThan(1);
    const renewal = server.calls.find(({ path }) => path === "/api/generate");
    // Other options would make the server load it again.
    expect(renewal?.body["options"]).toEqual({ num_ctx: 2_048, num_thread: 3 });
  });

  test("leaves the server's memory with the unload, also when the server is away by then", async () => {
    const server = await fake();
    const model = await load(server.url);
    await model.unload();
    expect(server.calls.at(-1)).toMatchObject({ path: "/api/generate", body: { keep_alive: 0 } });
    expect(server.behaviour.held.size).toBe(0);
    const other = await load(server.url);
    await server.close();
    await other.unload();
  });

  test("stops to be written as soon as nobody wants it: the connection is closed", async () => {
    const server = await fake();
    const model = await load(server.url);
    server.behaviour.words = "endless";
    const stop = new AbortController();
    const reading = say(model, HELLO, stop.signal);
    await expect.poll(() => server.calls.filter(({ path }) => path === "/api/chat").length).toBe(2);
    stop.abort(new Error("the reader left"));
    await expect(reading).rejects.toThrow("the reader left");
    await server.calls.findLast(({ path }) => path === "/api/chat")?.closedEarly;
    for await (const piece of model.generate(HELLO, never)) {
      expect(piece.text).toBe(" more");
      break;
    }
    await server.calls.findLast(({ path }) => path === "/api/chat")?.closedEarly;
  });
});

describe.each(["stalled", "silent"] as const)("while its server is %s", (words) => {
  test("it is left by whoever does not want it any more: the connection is closed", async () => {
    const server = await fake();
    const model = await load(server.url);
    server.behaviour.words = words;
    const stop = new AbortController();
    const reading = say(model, HELLO, stop.signal);
    const asked = (): FakeCall[] => server.calls.filter(({ path }) => path === "/api/chat");
    await expect.poll(() => asked().length).toBe(2);
    stop.abort(new Error("the reader left"));
    await expect(reading).rejects.toThrow("the reader left");
    await asked()[1]?.closedEarly;
  });

  test("whoever waits is told when the model is lost", async () => {
    const server = await fake();
    const model = await load(server.url);
    server.behaviour.words = words;
    const reading = say(model);
    await expect.poll(() => server.calls.filter(({ path }) => path === "/api/chat").length).toBe(2);
    delete server.behaviour.models["tiny:1"];
    await expect(reading).rejects.toMatchObject({
      code: "model_unreachable",
      message: expect.stringMatching("taken away") as string,
    });
  });
});

describe("its digest", () => {
  test("must be the pinned one", async () => {
    const server = await fake();
    await load(server.url, { pins: new Map([["tiny:1", `sha256:${"a".repeat(64)}`]]) });
    const other = load(server.url, { pins: new Map([["tiny:1", "b".repeat(64)]]) });
    await expect(other).rejects.toMatchObject({
      code: "model_failed",
      message: `tiny:1: the server has ${"a".repeat(64)}, want the pinned ${"b".repeat(64)}; pull it again, or change the pin`,
    });
  });

  test("is watched: another one makes the model lost, and the next load takes it or refuses it", async () => {
    const server = await fake();
    const model = await load(server.url);
    server.behaviour.models["tiny:1"] = "c".repeat(64);
    expect(await model.gone).toMatch(/became another model .* c{64}, was a{64}/);
    await load(server.url);
    await expect(load(server.url, { pins: new Map([["tiny:1", "a".repeat(64)]]) })).rejects.toThrow("want the pinned");
  });
});

describe("a model that is lost", () => {
  test("was taken away, or let go of", async () => {
    const server = await fake({ models: { "tiny:1": "a".repeat(64), "other:1": "b".repeat(64) } });
    const model = await load(server.url);
    server.behaviour.held.clear();
    expect(await model.gone).toMatch("let go of tiny:1");
    const again = await load(server.url);
    delete server.behaviour.models["tiny:1"];
    expect(await again.gone).toMatch("tiny:1 was taken away");
  });

  test("says so when its server dies, to whoever waits for words too, and is loaded again when it is back", async () => {
    const server = await fake();
    const model = await load(server.url);
    server.behaviour.words = "endless";
    const reading = say(model);
    await expect.poll(() => server.calls.filter(({ path }) => path === "/api/chat").length).toBe(2);
    const port = Number(new URL(server.url).port);
    await server.close();
    await expect(reading).rejects.toMatchObject({ code: "model_unreachable" });
    expect(await model.gone).toMatch(/no connection to .* \(ECONNREFUSED\), 2 times in a row/);
    const waiting = load(server.url, { reachMs: 30_000 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await fake({}, port);
    expect((await say(await waiting)).length).toBeGreaterThan(1);
  });

  test("is not lost for one look in vain", async () => {
    const server = await fake();
    const model = await load(server.url);
    const port = Number(new URL(server.url).port);
    await server.close();
    await fake({ held: new Set(["tiny:1"]) }, port);
    const lost = await Promise.race([
      model.gone,
      new Promise((resolve) => setTimeout(() => resolve("still there"), 200)),
    ]);
    expect(lost).toBe("still there");
  });
});

describe("what the server refuses", () => {
  const KEY = "sk-very-secret";
  test.each([
    [400, "input is too long", "invalid_request", /answered 400: input is too long$/],
    [401, `bad key ${KEY}`, "model_failed", /answered 401: bad key \*\*\*; see that GORKHEAVY_UPSTREAM_KEY/],
    [404, "model 'tiny:1' not found", "unknown_model", /not found/],
    [500, "llama runner process has terminated", "model_failed", /answered 500: llama runner process has terminated/],
    [503, "server busy, please try again", "overloaded", /server busy/],
    [503, "tiny:1 is loading", "model_loading", /is loading/],
  ])("with %i is a fault in its words, without its key", async (status, error, code, message) => {
    const server = await fake();
    const model = await load(server.url, { key: KEY });
    expect(server.calls.at(-1)?.headers.authorization).toBe(`Bearer ${KEY}`);
    server.behaviour.refusal = { status, error };
    const fault = await say(model).catch((caught: unknown) => caught);
    expect(fault).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(JSON.stringify([fault, String(fault)])).not.toContain(KEY);
  });

  test("in the middle of an answer is a fault too", async () => {
    const server = await fake();
    const model = await load(server.url);
    server.behaviour.words = "endless";
    const reading = say(model);
    await expect.poll(() => server.calls.filter(({ path }) => path === "/api/chat").length).toBe(2);
    await server.close();
    await expect(reading).rejects.toMatchObject({ code: expect.stringMatching(/^model_/) as string });
  });

  test.each([
    ["ftp://somewhere", /--upstream: got "ftp:\/\/somewhere", want an address/],
    ["nonsense", /--upstream: got "nonsense"/],
    ["http://user:pass@host:1", /without user and password; give a key in GORKHEAVY_UPSTREAM_KEY$/],
  ])("is never asked at %s", (url, message) => {
    expect(() => ollamaBackend({ url })).toThrow(message);
  });
});
