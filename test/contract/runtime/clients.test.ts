import { Ollama } from "ollama";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { scriptedBackend } from "../../../runtime/engine/scripted/backend.ts";
import { type RunningEngine, startEngine } from "../../../runtime/engine/serve.ts";
import { createLogger } from "../../../runtime/support/log.ts";
import { type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";

const ADMIN_TOKEN = "only-for-this-test";
let engine: RunningEngine;
let ensemble: MockEnsemble;

beforeAll(async () => {
  engine = await startEngine(
    {
      backend: scriptedBackend(),
      models: ["llama3.2:1b"],
      adminToken: ADMIN_TOKEN,
      log: createLogger("test", "silent"),
    },
    { host: "127.0.0.1", port: 0, ollamaPort: 0 },
  );
  ensemble = await startMockEnsemble();
  await engine.engine.residency.load("llama3.2:1b");
});
afterAll(async () => {
  await engine.stop(0);
  await ensemble.close();
});

const servers = [
  {
    name: "the engine",
    host: () => engine.ollama.url,
    model: "llama3.2:1b",
    says: "The capital of France is Paris, which is also its seat of government. (scripted llama3.2:1b)",
  },
  { name: "the ensemble", host: () => ensemble.url, model: "gorkheavy:latest", says: "An answer by llama here." },
  {
    name: "the ensemble without its tag",
    host: () => ensemble.url,
    model: "gorkheavy",
    says: "An answer by llama here.",
  },
  {
    name: "one member on the Ollama API",
    host: () => ensemble.url,
    model: "qwen-small",
    says: "An answer by qwen-small here.",
  },
  { name: "one member on the OpenAI API", host: () => ensemble.url, model: "qwen:1b", says: "An answer by qwen here." },
];
const messages = [{ role: "user" as const, content: "What is the capital of France?" }];

describe.each(servers)("the ollama client against $name", ({ host, model, says }) => {
  test("generates, whole and streamed", async () => {
    const client = new Ollama({ host: host() });
    const whole = await client.generate({ model, prompt: messages[0]?.content ?? "" });
    expect(whole).toMatchObject({ model, response: says, done: true, done_reason: "stop" });
    expect(whole.eval_count).toBeGreaterThan(0);
    expect(whole.prompt_eval_count).toBeGreaterThan(0);
    expect(whole.total_duration).toBeGreaterThan(0);
    const pieces: string[] = [];
    let done = false;
    for await (const chunk of await client.generate({ model, prompt: messages[0]?.content ?? "", stream: true })) {
      pieces.push(chunk.response ?? "");
      done = chunk.done;
    }
    expect(done).toBe(true);
    expect(pieces.length).toBeGreaterThan(4);
    expect(pieces.join("")).toBe(says);
  });

  test("chats, whole and streamed", async () => {
    const client = new Ollama({ host: host() });
    const whole = await client.chat({ model, messages });
    expect(whole.message).toMatchObject({ role: "assistant", content: says });
    let text = "";
    for await (const chunk of await client.chat({ model, messages, stream: true })) text += chunk.message.content;
    expect(text).toBe(says);
  });

  test("lists and shows it, and says which version it is", async () => {
    const client = new Ollama({ host: host() });
    const { models } = await client.list();
    expect(models.length).toBeGreaterThan(0);
    for (const { digest } of models) expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect((await client.show({ model })).capabilities).toContain("completion");
    expect((await client.ps()).models.map(({ name }) => name)).not.toEqual([]);
    expect((await client.version()).version).toMatch(/^0\.1[7-9]\./);
  });

  test("gets an error of its own kind for an unknown model", async () => {
    const client = new Ollama({ host: host() });
    await expect(client.chat({ model: "nobody:1b", messages })).rejects.toMatchObject({
      status_code: 404,
      message: expect.stringContaining("nobody:1b") as string,
    });
  });
});

describe("the ollama client's conversation", () => {
  test("goes on with the context that generate gave it", async () => {
    const client = new Ollama({ host: ensemble.url });
    const first = await client.generate({ model: "gorkheavy:latest", prompt: "What is the capital of France?" });
    await client.generate({ model: "gorkheavy:latest", prompt: "What's its population?", context: first.context });
    expect(ensemble.mocks.llama.calls.at(-1)?.body.messages.map(({ content }) => content)).toContain(
      "What is the capital of France?",
    );
  });

  test("is its own messages on chat", async () => {
    const client = new Ollama({ host: ensemble.url });
    const history = [
      ...messages,
      { role: "assistant", content: "Paris." },
      { role: "user", content: "What's its population?" },
    ];
    await client.chat({ model: "gorkheavy:latest", messages: history });
    expect(ensemble.mocks.judge.calls.at(-1)?.prompt).toContain("Assistant: Paris.");
  });
});

describe("the ollama client's pull", () => {
  test("of a model tells its progress to whoever has the admin token", async () => {
    const client = new Ollama({ host: engine.ollama.url, headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    const seen: string[] = [];
    for await (const { status } of await client.pull({ model: "llama3.2:1b", stream: true })) seen.push(status);
    expect(seen[0]).toBe("pulling manifest");
    expect(seen.at(-1)).toBe("success");
  });

  test("wants the admin token, and so does every verb that changes the store", async () => {
    const client = new Ollama({ host: engine.ollama.url });
    for (const model of ["other:1b", "llama3.2:1b"])
      await expect(client.pull({ model })).rejects.toMatchObject({ status_code: 401 });
    await expect(client.delete({ model: "llama3.2:1b" })).rejects.toThrow(/admin token/);
    await expect(client.copy({ source: "llama3.2:1b", destination: "x" })).rejects.toThrow(/admin token/);
    const wrong = new Ollama({ host: engine.ollama.url, headers: { authorization: "Bearer wrong" } });
    await expect(wrong.pull({ model: "other:1b" })).rejects.toMatchObject({ status_code: 403 });
    const admin = new Ollama({ host: engine.ollama.url, headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    expect((await admin.pull({ model: "other:1b" })).status).toBe("success");
    expect((await admin.list()).models.map(({ name }) => name)).toContain("other:1b");
  });

  test("through the ensemble is refused", async () => {
    await expect(new Ollama({ host: ensemble.url }).pull({ model: "other:1b" })).rejects.toMatchObject({
      status_code: 403,
    });
  });
});

describe.each(
  [servers[1], servers[3], servers[4]].flatMap((one) => (one === undefined ? [] : [one])),
)("the openai client against $name", ({ host, model, says }) => {
  const client = () => new OpenAI({ baseURL: `${host()}/v1`, apiKey: "unused", maxRetries: 0 });

  test("completes a chat, whole and streamed with usage", async () => {
    const whole = await client().chat.completions.create({ model, messages });
    expect(whole.choices[0]).toMatchObject({ message: { role: "assistant", content: says }, finish_reason: "stop" });
    expect(whole.usage?.total_tokens).toBeGreaterThan(0);
    let text = "";
    let finish: string | null | undefined;
    let usage: number | undefined;
    for await (const chunk of await client().chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    })) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage?.total_tokens ?? usage;
    }
    expect({ text, finish }).toEqual({ text: says, finish: "stop" });
    expect(usage).toBeGreaterThan(0);
  });

  test("lists the models and finds this one", async () => {
    const ids: string[] = [];
    for await (const { id } of client().models.list()) ids.push(id);
    expect(ids).toEqual(["gorkheavy:latest", "promptimizer", "llama", "qwen", "qwen-small", "judge"]);
    expect((await client().models.retrieve(model)).id).toBe(model);
  });

  test("gets its own errors", async () => {
    await expect(client().chat.completions.create({ model: "nobody", messages })).rejects.toBeInstanceOf(
      OpenAI.NotFoundError,
    );
    await expect(client().chat.completions.create({ model, messages: [] })).rejects.toBeInstanceOf(
      OpenAI.BadRequestError,
    );
  });
});

describe("a failure in the middle of a stream", () => {
  test("reaches both clients as an error, not as an end", async () => {
    ensemble.mocks["qwen-small"].behaviour.fault = () => "error-line";
    const ollama = new Ollama({ host: ensemble.url });
    const openai = new OpenAI({ baseURL: `${ensemble.url}/v1`, apiKey: "unused", maxRetries: 0 });
    const read = async (stream: AsyncIterable<unknown>) => {
      for await (const chunk of stream) expect(chunk).toBeTypeOf("object");
    };
    await expect(ollama.chat({ model: "qwen-small", messages, stream: true }).then(read)).rejects.toThrow(
      /met while running/,
    );
    await expect(
      openai.chat.completions.create({ model: "qwen-small", messages, stream: true }).then(read),
    ).rejects.toThrow(/met while running/);
    ensemble.mocks["qwen-small"].behaviour.fault = () => undefined;
  });
});
