import { afterEach, describe, expect, test } from "vitest";
import type { GenerateRequest, LoadedModel } from "../../../../../runtime/engine/backend.ts";
import { vllmBackend, type VllmOptions } from "../../../../../runtime/engine/vllm/backend.ts";
import type { FakeCall } from "../../../../support/fake-server.ts";
import { type FakeVllmBehaviour, startFakeVllm } from "../../../../support/fake-vllm.ts";

const never = new AbortController().signal;
const HELLO: GenerateRequest = { messages: [{ role: "user", content: "Hello" }] };
const OFTEN = { everyMs: 10, lookMs: 1_000, misses: 2 };

const after: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of after.splice(0).toReversed()) await close();
});

async function fake(behaviour: Partial<FakeVllmBehaviour> = {}): ReturnType<typeof startFakeVllm> {
  const server = await startFakeVllm(behaviour);
  after.push(() => server.close());
  return server;
}

async function load(url: string, options: Partial<VllmOptions> = {}): Promise<LoadedModel> {
  const model = await vllmBackend({ url, vigil: OFTEN, ...options }).load("tiny", () => undefined, never);
  after.push(() => model.unload());
  return model;
}

describe("a model of a vLLM server", () => {
  test("is known by what the server says of it: its window, and neither size nor digest", async () => {
    const { library } = vllmBackend({ url: (await fake()).url });
    expect(await library.facts("tiny")).toMatchObject({ contextTokens: 4_096, family: "tiny", sizeBytes: 0 });
    expect((await library.facts("tiny"))?.digest).toBeUndefined();
  });

  test("is loaded when the server is healthy and has written a token", async () => {
    const server = await fake({ health: 503 });
    const loading = load(server.url);
    await expect.poll(() => server.calls.filter(({ path }) => path === "/health").length).toBeGreaterThan(1);
    expect(server.calls.some(({ path }) => path === "/v1/chat/completions")).toBe(false);
    server.behaviour.health = 200;
    await loading;
    expect(server.calls.some(({ path, body }) => path === "/v1/chat/completions" && body["max_tokens"] === 1)).toBe(
      true,
    );
  });

  test("cannot be brought, made, copied or removed, and the error says what can be done", async () => {
    const { library } = vllmBackend({ url: (await fake()).url });
    const pulling = library.pull("other", { signal: never })[Symbol.asyncIterator]().next();
    await expect(pulling).rejects.toMatchObject({
      code: "not_supported",
      message: expect.stringMatching(/cannot bring other: .* `vllm serve MODEL --served-model-name NAME`/) as string,
    });
    await expect(library.copy("tiny", "other")).rejects.toMatchObject({ code: "not_supported" });
    await expect(library.remove("tiny")).rejects.toMatchObject({ code: "not_supported" });
  });

  test("is not loaded under another name, nor with a pin that nobody can compare", async () => {
    const server = await fake({ models: ["one", "two"] });
    await expect(load(server.url)).rejects.toThrow(/model 'tiny' is not among those of .*: one, two$/);
    await expect(load(server.url, { pins: new Map([["tiny", "a".repeat(64)]]) })).rejects.toThrow(
      "vLLM tells no digests",
    );
  });

  test("gets a schema as OpenAI's response format, and closes the connection when nobody reads on", async () => {
    const server = await fake();
    const model = await load(server.url);
    const schema = { type: "object", properties: {} };
    for await (const piece of model.generate({ ...HELLO, format: schema }, never)) expect(piece).toBeDefined();
    const expected = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
    const last = (): FakeCall | undefined => server.calls.findLast(({ path }) => path === "/v1/chat/completions");
    expect(last()?.body["response_format"]).toEqual(expected);
    server.behaviour.tokenMs = 20;
    for await (const piece of model.generate(HELLO, never)) if (piece.text !== "") break;
    await last()?.closedEarly;
  });

  test("answers with the label whose beginning is likeliest, whatever space stands before it", async () => {
    const model = await load((await fake()).url);
    const pieces = [];
    for await (const piece of model.generate({ ...HELLO, choices: ["A", "B", "C"] }, never)) pieces.push(piece);
    expect(pieces).toHaveLength(1);
    expect(pieces[0]).toMatchObject({ text: "B", done: { answerTokens: 1 } });
    const [a, b, c] = (pieces[0]?.done?.choices ?? []).map(({ probability }) => probability);
    expect([a, b, c]).toEqual([expect.closeTo(0.3), expect.closeTo(0.6), 0]);
  });

  test("says so when none of the labels is likely at all", async () => {
    const model = await load((await fake({ opening: [{ token: "Well", logprob: -0.1 }] })).url);
    const asking = model
      .generate({ ...HELLO, choices: ["A", "B"] }, never)
      [Symbol.asyncIterator]()
      .next();
    await expect(asking).rejects.toMatchObject({ code: "model_bad_answer" });
  });

  test("is lost when its server serves it no longer, or fails", async () => {
    const server = await fake();
    const model = await load(server.url);
    server.behaviour.models = ["other"];
    expect(await model.gone).toMatch("serves tiny no longer");
    server.behaviour.models = ["tiny"];
    const again = await load(server.url);
    server.behaviour.health = 500;
    expect(await again.gone).toMatch(/answered 500 when asked for its health, 2 times in a row/);
  });
});
