import { type ChatResponse, Ollama } from "ollama";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type MemberName, type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";
import type { MockCall } from "../../support/mock-model.ts";
import { lastCall, messages, pixel, tools, wholeOf } from "./client-calls.ts";

let ensemble: MockEnsemble;
beforeAll(async () => {
  ensemble = await startMockEnsemble();
});
afterAll(() => ensemble.close());
afterEach(() => {
  for (const mock of Object.values(ensemble.mocks)) mock.behaviour.reply = undefined;
});

const ollama = () => new Ollama({ host: ensemble.url });

const got = (name: MemberName): MockCall => lastCall(ensemble, name);

describe("the ollama client with a member on the Ollama API", () => {
  test("has tools, format, images, keep-alive and its own options passed on as they are", async () => {
    ensemble.mocks.llama.behaviour.reply = (call) => ({
      body: {
        ...(wholeOf(call) as object),
        message: {
          role: "assistant",
          content: "",
          tool_calls: [{ function: { name: "weather", arguments: { model: "llama:1b" } } }],
        },
      },
    });
    const answer = await ollama().chat({
      model: "llama",
      messages: [{ role: "user", content: "Look", images: [pixel] }],
      tools,
      format: { type: "object" },
      keep_alive: "5m",
      options: { seed: 7, num_ctx: 512 },
    });
    expect(got("llama")).toMatchObject({
      path: "/api/chat",
      body: {
        model: "llama:1b",
        messages: [{ role: "user", content: "Look", images: [pixel] }],
        tools,
        format: { type: "object" },
        keep_alive: "5m",
        options: { seed: 7, num_ctx: 512 },
      },
    });
    expect(answer.model).toBe("llama");
    expect(answer.message.tool_calls?.[0]?.function.arguments).toEqual({ model: "llama:1b" });
  });

  test("has the context window named where it did not", async () => {
    await ollama().generate({ model: "llama", prompt: "Hi" });
    expect(got("llama").body).toMatchObject({ options: { num_ctx: 4096 } });
  });

  test("embeds, and shows the server's own model", async () => {
    ensemble.mocks.llama.behaviour.reply = ({ path, body }) =>
      path === "/api/show"
        ? { body: { capabilities: ["completion", "tools"], details: {}, asked: body.model } }
        : { body: path === "/api/embed" ? { model: body.model, embeddings: [[1, 2]] } : { embedding: [1, 2] } };
    expect((await ollama().embed({ model: "llama", input: "a" })).embeddings).toEqual([[1, 2]]);
    expect((await ollama().embeddings({ model: "llama", prompt: "a" })).embedding).toEqual([1, 2]);
    expect(await ollama().show({ model: "llama" })).toMatchObject({
      capabilities: ["completion", "tools"],
      asked: "llama:1b",
    });
  });
});

describe("the ollama client with a member on the OpenAI API", () => {
  const completion = (message: object, finish = "stop") => ({
    id: "x",
    object: "chat.completion",
    created: 1,
    model: "qwen:1b",
    choices: [{ index: 0, message: { role: "assistant", content: "", ...message }, finish_reason: finish }],
    usage: { prompt_tokens: 5, completion_tokens: 6, total_tokens: 11 },
  });

  test("has tools, format, images and options translated there and back", async () => {
    ensemble.mocks.qwen.behaviour.reply = () => ({
      body: completion(
        { tool_calls: [{ id: "c1", type: "function", function: { name: "weather", arguments: '{"city":"Paris"}' } }] },
        "tool_calls",
      ),
    });
    const answer = await ollama().chat({
      model: "qwen",
      tools,
      format: { type: "object" },
      options: { seed: 7, num_predict: 99, top_p: 0.5, stop: ["x"] },
      messages: [
        { role: "user", content: "Look", images: [pixel] },
        {
          role: "assistant",
          content: "",
          tool_calls: [{ function: { name: "weather", arguments: { city: "Rome" } } }],
        },
        { role: "tool", content: "rain", tool_name: "weather" },
      ],
    });
    expect(answer.message.tool_calls?.[0]?.function).toEqual({ name: "weather", arguments: { city: "Paris" } });
    expect(answer).toMatchObject({ model: "qwen", done: true, prompt_eval_count: 5, eval_count: 6 });
    const { body, path } = got("qwen");
    expect(path).toBe("/v1/chat/completions");
    expect(body).toMatchObject({
      model: "qwen:1b",
      tools,
      seed: 7,
      max_tokens: 99,
      top_p: 0.5,
      stop: ["x"],
      response_format: { type: "json_schema", json_schema: { schema: { type: "object" } } },
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "Look" },
            { type: "image_url", image_url: { url: `data:image/png;base64,${pixel}` } },
          ],
        },
        {
          role: "assistant",
          tool_calls: [{ id: "call_0", type: "function", function: { name: "weather", arguments: '{"city":"Rome"}' } }],
        },
        { role: "tool", content: "rain", tool_call_id: "call_0" },
      ],
    });
  });

  test("gets tool calls whole that came in parts", async () => {
    const event = (delta: object, finish: string | null = null): string =>
      `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
    ensemble.mocks.qwen.behaviour.reply = () => ({
      headers: { "content-type": "text/event-stream" },
      body: [
        event({ reasoning_content: "Hm." }),
        event({ tool_calls: [{ index: 0, id: "c1", function: { name: "weather", arguments: '{"ci' } }] }),
        event({ tool_calls: [{ index: 0, function: { arguments: 'ty":"Paris"}' } }] }),
        event({}, "tool_calls"),
        "data: [DONE]\n\n",
      ].join(""),
    });
    const chunks: ChatResponse[] = [];
    for await (const chunk of await ollama().chat({ model: "qwen", messages, tools, stream: true })) chunks.push(chunk);
    expect(chunks.map(({ message }) => message.thinking ?? "").join("")).toBe("Hm.");
    const calls = chunks.flatMap(({ message }) => message.tool_calls ?? []);
    expect(calls.map((call) => call.function)).toEqual([{ name: "weather", arguments: { city: "Paris" } }]);
    expect(chunks.at(-1)?.done).toBe(true);
  });

  test("embeds", async () => {
    ensemble.mocks.qwen.behaviour.reply = () => ({
      body: {
        object: "list",
        model: "m",
        data: [
          { object: "embedding", index: 1, embedding: [3] },
          { object: "embedding", index: 0, embedding: [1] },
        ],
        usage: { prompt_tokens: 2, total_tokens: 2 },
      },
    });
    expect(await ollama().embed({ model: "qwen", input: ["a", "b"] })).toMatchObject({ embeddings: [[1], [3]] });
    expect((await ollama().embeddings({ model: "qwen", prompt: "a" })).embedding).toEqual([1]);
    expect(got("qwen").body).toMatchObject({ model: "qwen:1b", input: "a" });
  });

  test("is told what only Ollama's own templates can do", async () => {
    await expect(ollama().generate({ model: "qwen", prompt: "a", raw: true })).rejects.toThrow(
      /raw: qwen is served by/,
    );
  });

  test("loads it with an empty chat", async () => {
    expect(await ollama().chat({ model: "qwen", messages: [] })).toMatchObject({ done: true, done_reason: "load" });
  });
});
