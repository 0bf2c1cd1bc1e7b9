import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type MemberName, type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";
import type { MockBehaviour, MockCall } from "../../support/mock-model.ts";
import { lastCall, messages, pixel, tools, wholeOf } from "./client-calls.ts";

let ensemble: MockEnsemble;
beforeAll(async () => {
  ensemble = await startMockEnsemble();
});
afterAll(() => ensemble.close());
afterEach(() => {
  for (const mock of Object.values(ensemble.mocks)) {
    mock.behaviour.reply = undefined;
    mock.behaviour.fault = () => undefined;
  }
});

const openai = () => new OpenAI({ baseURL: `${ensemble.url}/v1`, apiKey: "a key of the service", maxRetries: 0 });

const got = (name: MemberName): MockCall => lastCall(ensemble, name);

/** Makes the server of a member one that has Ollama's own API alone, as our engine and Ollama before 0.1.24. */
function withoutV1(name: MemberName, otherwise?: NonNullable<MockBehaviour["reply"]>): void {
  ensemble.mocks[name].behaviour.reply = (call) => {
    if (call.path.startsWith("/v1/")) return { status: 404, body: { error: "not found" } };
    return otherwise?.(call) ?? { body: wholeOf(call) };
  };
}

describe("the openai client with one member", () => {
  // One member speaks each dialect; Ollama's servers have /v1, too.
  describe.each(["qwen", "llama"] as const)("(%s)", (model) => {
    test("has tools, tool answers, JSON mode, pictures, logprobs and seeds passed on as they are", async () => {
      ensemble.mocks[model].behaviour.reply = () => ({
        headers: { "content-type": "application/json" },
        body: {
          id: "x",
          object: "chat.completion",
          created: 1,
          model: `${model}:1b`,
          choices: [
            {
              index: 0,
              finish_reason: "tool_calls",
              logprobs: { content: [{ token: "a", logprob: -0.1, bytes: null, top_logprobs: [] }] },
              message: {
                role: "assistant",
                content: null,
                tool_calls: [
                  { id: "call_9", type: "function", function: { name: "weather", arguments: '{"model":"x"}' } },
                ],
              },
            },
          ],
          usage: { prompt_tokens: 5, completion_tokens: 6, total_tokens: 11 },
        },
      });
      const request = {
        model,
        tools,
        tool_choice: "auto" as const,
        response_format: { type: "json_schema" as const, json_schema: { name: "a", schema: { type: "object" } } },
        logprobs: true,
        top_logprobs: 2,
        seed: 7,
        metadata: { unknown: "kept" },
        messages: [
          {
            role: "user" as const,
            content: [
              { type: "text" as const, text: "é 漢 🙂" },
              { type: "image_url" as const, image_url: { url: `data:image/png;base64,${pixel}` } },
            ],
          },
          {
            role: "assistant" as const,
            content: null,
            tool_calls: [{ id: "call_1", type: "function" as const, function: { name: "weather", arguments: "{}" } }],
          },
          { role: "tool" as const, tool_call_id: "call_1", content: "rain" },
        ],
      };
      const { data, response } = await openai().chat.completions.create(request).withResponse();
      expect(got(model).path).toBe("/v1/chat/completions");
      expect(got(model).body).toEqual({ ...request, model: `${model}:1b` });
      expect(got(model).headers.authorization).toBeUndefined();
      expect(data.model).toBe(model);
      expect(data.choices[0]?.message.tool_calls?.[0]).toMatchObject({
        id: "call_9",
        function: { name: "weather", arguments: '{"model":"x"}' },
      });
      expect(data.choices[0]?.logprobs?.content?.[0]?.token).toBe("a");
      expect(response.headers.get("x-gorkheavy-member")).toBe(model);
      expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    });

    test("gets embeddings, completions and responses of its server", async () => {
      ensemble.mocks[model].behaviour.reply = ({ path, body }) => {
        const base = { id: "x", created: 1, created_at: 1, model: body.model };
        if (path === "/v1/embeddings") {
          const floats = Buffer.from(Float32Array.from([0.5, -1]).buffer).toString("base64");
          const embedding = body["encoding_format"] === "base64" ? floats : [0.5, -1];
          return {
            body: {
              object: "list",
              model: body.model,
              data: [{ object: "embedding", index: 0, embedding }],
              usage: { prompt_tokens: 1, total_tokens: 1 },
            },
          };
        }
        if (path === "/v1/completions")
          return { body: { ...base, object: "text_completion", choices: [{ index: 0, text: "done" }] } };
        return {
          body: {
            ...base,
            object: "response",
            status: "completed",
            output: [{ id: "m", type: "message", role: "assistant", content: [{ type: "output_text", text: "hi" }] }],
          },
        };
      };
      const embedded = await openai().embeddings.create({ model, input: "a" });
      expect(embedded.data[0]?.embedding).toEqual([0.5, -1]);
      expect(embedded.model).toBe(model);
      expect((await openai().completions.create({ model, prompt: "a" })).choices[0]?.text).toBe("done");
      const response = await openai().responses.create({ model, input: "a" });
      expect(response.output_text).toBe("hi");
      expect(response.model).toBe(model);
      expect(got(model).path).toBe("/v1/responses");
    });

    test("gets its server's own refusal", async () => {
      const error = { message: "seed: too large", type: "invalid_request_error", param: "seed", code: "bad_seed" };
      ensemble.mocks[model].behaviour.reply = () => ({ status: 400, body: { error } });
      await expect(openai().chat.completions.create({ model, messages })).rejects.toMatchObject({
        status: 400,
        code: "bad_seed",
        param: "seed",
      });
      ensemble.mocks[model].behaviour.reply = () => ({
        status: 429,
        headers: { "retry-after": "3" },
        body: { detail: "x" },
      });
      await expect(openai().chat.completions.create({ model, messages })).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    });
  });

  test("has all of it translated where the server has no /v1, streamed and not", async () => {
    withoutV1("judge", (call) => {
      const whole = { ...(wholeOf(call) as object), logprobs: [{ token: "a", logprob: -0.1 }] };
      if (call.body.stream !== true) return { body: whole };
      const called = {
        model: "judge:1b",
        created_at: "",
        message: { content: "", tool_calls: [{ function: { name: "weather", arguments: { city: "Paris" } } }] },
        done: false,
      };
      return {
        headers: { "content-type": "application/x-ndjson" },
        body: `${JSON.stringify(called)}\n${JSON.stringify({ ...whole, message: { content: "" } })}\n`,
      };
    });
    const request = {
      model: "judge",
      tools,
      seed: 7,
      max_completion_tokens: 99,
      response_format: { type: "json_object" as const },
      messages: [
        {
          role: "user" as const,
          content: [
            { type: "text" as const, text: "See" },
            { type: "image_url" as const, image_url: { url: `data:image/png;base64,${pixel}` } },
          ],
        },
        {
          role: "assistant" as const,
          content: null,
          tool_calls: [
            { id: "c1", type: "function" as const, function: { name: "weather", arguments: '{"city":"Paris"}' } },
          ],
        },
        { role: "tool" as const, tool_call_id: "c1", content: "rain" },
      ],
    };
    const whole = await openai().chat.completions.create(request);
    expect(whole).toMatchObject({ model: "judge", usage: { prompt_tokens: 3, completion_tokens: 2 } });
    expect(whole.choices[0]?.message.content).toBe("Translated.");
    expect(whole.choices[0]?.logprobs?.content?.[0]?.token).toBe("a");
    expect(got("judge").body).toMatchObject({
      model: "judge:1b",
      tools,
      format: "json",
      options: { num_ctx: 4096, num_predict: 99, seed: 7 },
      messages: [
        { role: "user", content: "See", images: [pixel] },
        {
          role: "assistant",
          content: "",
          tool_calls: [{ function: { name: "weather", arguments: { city: "Paris" } } }],
        },
        { role: "tool", content: "rain", tool_name: "weather" },
      ],
    });
    const tried = ensemble.mocks.judge.calls.filter(({ path }) => path.startsWith("/v1/")).length;
    let call = "";
    let finish: string | null | undefined;
    for await (const { choices } of await openai().chat.completions.create({ ...request, stream: true })) {
      call += choices[0]?.delta.tool_calls?.[0]?.function?.arguments ?? "";
      finish = choices[0]?.finish_reason ?? finish;
    }
    expect({ call, finish }).toEqual({ call: '{"city":"Paris"}', finish: "tool_calls" });
    // That the server has no /v1 is remembered.
    expect(ensemble.mocks.judge.calls.filter(({ path }) => path.startsWith("/v1/"))).toHaveLength(tried);
    expect(tried).toBe(1);
  });

  test("gets embeddings of such a server, and a clear word for what it has not", async () => {
    withoutV1("promptimizer", () => ({ body: { model: "x", embeddings: [[0.5, -1]], prompt_eval_count: 4 } }));
    const { data, usage } = await openai().embeddings.create({ model: "promptimizer", input: ["a"] });
    expect(data[0]?.embedding).toEqual([0.5, -1]);
    expect(usage.prompt_tokens).toBe(4);
    await expect(openai().responses.create({ model: "promptimizer", input: "a" })).rejects.toMatchObject({
      status: 404,
      message: expect.stringMatching(/promptimizer has no \/v1\/responses/) as string,
    });
  });
});
