import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTinyEngine, type TinyEngine } from "../../../support/tiny-engine.ts";

/** A child process, llama.cpp and a load on a busy machine. */
const SLOW_MS = 60_000;

let engine: TinyEngine;
beforeAll(async () => {
  engine = await startTinyEngine();
}, SLOW_MS);
afterAll(() => engine.close(), SLOW_MS);

const model = "tiny:1";
const messages = [{ role: "user" as const, content: "Say something." }];
const schema = { type: "object", properties: { label: { enum: ["A", "B"] } }, required: ["label"] };
const pixel = "data:image/png;base64,iVBORw0KGgo=";
const tools = [{ type: "function" as const, function: { name: "weather", parameters: { type: "object" } } }];

describe.each([
  ["the main port", () => engine.main.url],
  ["Ollama's port", () => engine.ollama.url],
])("the openai client on %s", (_, url) => {
  const openai = (): OpenAI => new OpenAI({ baseURL: `${url()}/v1`, apiKey: "unused", maxRetries: 0 });
  const chat = (more: object = {}) => openai().chat.completions.create({ model, messages, max_tokens: 12, ...more });

  test("lists models and finds one", async () => {
    const ids: string[] = [];
    for await (const one of openai().models.list()) ids.push(one.id);
    expect(ids).toEqual([model]);
    const found = await openai().models.retrieve(model);
    expect(found).toMatchObject({ id: model, object: "model", owned_by: "library" });
    expect(found.created).toBeGreaterThan(1_500_000_000);
    await expect(openai().models.retrieve("nobody:1")).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  test("completes a chat, the same streamed and whole, with usage", async () => {
    const whole = await chat();
    const [choice] = whole.choices;
    expect(choice?.finish_reason).toBe("length");
    expect(choice?.message.content?.length).toBeGreaterThan(0);
    expect(whole.usage?.completion_tokens).toBe(12);
    expect(whole.usage?.prompt_tokens).toBeGreaterThan(10);
    expect(whole.usage?.total_tokens).toBe(12 + (whole.usage?.prompt_tokens ?? 0));
    let text = "";
    let finish: string | null | undefined;
    const usages: (number | undefined)[] = [];
    const stream = await openai().chat.completions.create({
      model,
      messages,
      max_completion_tokens: 12,
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      if (chunk.usage) usages.push(chunk.usage.completion_tokens);
    }
    expect({ text, finish, usages }).toEqual({ text: choice?.message.content, finish: "length", usages: [12] });
  });

  test("has no usage in a stream that did not ask for it", async () => {
    const stream = await openai().chat.completions.create({ model, messages, max_tokens: 2, stream: true });
    for await (const chunk of stream) expect(chunk.usage ?? null).toBeNull();
  });

  test("keeps to JSON, to a schema, to a stop text and to a seed", async () => {
    const json = await chat({ response_format: { type: "json_object" }, max_tokens: 200, stop: "}" });
    expect(json.choices[0]?.message.content?.trimStart()).toMatch(/^[{[]/);
    const labelled = await chat({
      response_format: { type: "json_schema", json_schema: { name: "label", schema, strict: true } },
      max_tokens: 60,
    });
    expect(["A", "B"]).toContain((JSON.parse(labelled.choices[0]?.message.content ?? "") as { label: string }).label);
    const free = (await chat({ max_tokens: 30 })).choices[0]?.message.content ?? "";
    const mark = free.slice(3, 5);
    const stopped = await chat({ max_tokens: 30, stop: [mark] });
    expect(stopped.choices[0]).toMatchObject({
      message: { content: free.slice(0, free.indexOf(mark)) },
      finish_reason: "stop",
    });
    const drawn = await Promise.all([1, 2].map(() => chat({ temperature: 1.5, top_p: 0.9, seed: 7 })));
    expect(drawn[0]?.choices[0]?.message.content).toBe(drawn[1]?.choices[0]?.message.content);
  });

  test("takes texts in parts, and messages of every role that a template knows", async () => {
    const whole = await chat({
      messages: [
        { role: "developer", content: "Be brief." },
        {
          role: "user",
          content: [
            { type: "text", text: "Say " },
            { type: "text", text: "something." },
          ],
        },
        { role: "assistant", content: "Something." },
        { role: "user", content: "Again." },
      ],
    });
    expect(whole.choices[0]?.message.role).toBe("assistant");
  });

  test("is told how likely the tokens were", async () => {
    const whole = await chat({ logprobs: true, top_logprobs: 2 });
    const told = whole.choices[0]?.logprobs?.content ?? [];
    expect(told).toHaveLength(12);
    for (const { logprob, top_logprobs: top } of told) {
      expect(logprob).toBeLessThanOrEqual(0);
      expect(top).toHaveLength(2);
      expect(top[0]?.logprob).toBeGreaterThanOrEqual(top[1]?.logprob ?? 0);
    }
    const streamed: string[] = [];
    const stream = await openai().chat.completions.create({
      model,
      messages,
      max_tokens: 12,
      logprobs: true,
      stream: true,
    });
    for await (const { choices } of stream)
      streamed.push(...(choices[0]?.logprobs?.content ?? []).map(({ token }) => token));
    expect(streamed).toEqual(told.map(({ token }) => token));
    const old = await openai().completions.create({ model, prompt: "abc", max_tokens: 3, logprobs: 1 });
    const { tokens, token_logprobs: each, text_offset: at } = old.choices[0]?.logprobs ?? {};
    expect([tokens?.length, each?.length, at]).toEqual([3, 3, [0, 1, 2]]);
  });

  test.each([
    ["n", { n: 2 }],
    ["tools", { tools }],
    ["functions", { functions: [{ name: "weather" }] }],
    ["logit_bias", { logit_bias: { "5": 10 } }],
    ["modalities", { modalities: ["text", "audio"] }],
    ["temperature", { temperature: 9 }],
    ["top_logprobs", { top_logprobs: 2 }],
    ["response_format.type", { response_format: { type: "xml" } }],
    ["response_format.json_schema", { response_format: { type: "json_schema" } }],
    ["messages", { messages: [] }],
    [
      "messages.0.content",
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: pixel } }] }] },
    ],
    ["messages.0", { messages: [{ role: "tool", tool_call_id: "1", content: "rain" }] }],
  ])("is refused what is not served: %s", async (param, more) => {
    const error = await chat(more).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error).toMatchObject({ type: "invalid_request_error", param, code: "invalid_request" });
  });

  test("has what it may do without tools, when it forbids their calls, and unknown fields ignored", async () => {
    const whole = await chat({ tools, tool_choice: "none", metadata: { a: "b" }, nobody_knows: 1, user: "u" });
    expect(whole.choices).toHaveLength(1);
  });

  test("goes on with a text, whole and streamed, and with several", async () => {
    const whole = await openai().completions.create({ model, prompt: "abc", max_tokens: 8 });
    expect(whole.object).toBe("text_completion");
    expect(whole.usage).toMatchObject({ completion_tokens: 8, prompt_tokens: 3 });
    let text = "";
    let usage: number | undefined;
    for await (const chunk of await openai().completions.create({
      model,
      prompt: "abc",
      max_tokens: 8,
      stream: true,
      stream_options: { include_usage: true },
    })) {
      text += chunk.choices[0]?.text ?? "";
      usage = chunk.usage?.completion_tokens ?? usage;
    }
    expect({ text, usage }).toEqual({ text: whole.choices[0]?.text, usage: 8 });
    const many = await openai().completions.create({ model, prompt: ["abc", "xyz"], max_tokens: 4 });
    expect(many.choices.map(({ index }) => index)).toEqual([0, 1]);
    expect(many.usage).toMatchObject({ completion_tokens: 8, prompt_tokens: 6 });
    for (const more of [{ prompt: [1, 2] }, { suffix: "x" }, { best_of: 2 }, { echo: true }, { prompt: "" }])
      await expect(openai().completions.create({ model, prompt: "a", ...more })).rejects.toBeInstanceOf(
        OpenAI.BadRequestError,
      );
  });

  test("gets vectors of length 1, as floats and as base64", async () => {
    const floats = await openai().embeddings.create({ model, input: ["one", "two"], encoding_format: "float" });
    expect(floats.data).toHaveLength(2);
    for (const { embedding } of floats.data) expect(Math.hypot(...embedding)).toBeCloseTo(1, 5);
    const raw = await fetch(`${url()}/v1/embeddings`, {
      method: "POST",
      body: JSON.stringify({ model, input: "one", encoding_format: "base64" }),
    });
    const { data } = (await raw.json()) as { data: { embedding: string }[] };
    const bytes = Buffer.from(data[0]?.embedding ?? "", "base64");
    expect(bytes.length).toBe(4 * (floats.data[0]?.embedding.length ?? 0));
    expect(bytes.readFloatLE(0)).toBeCloseTo(floats.data[0]?.embedding[0] ?? Number.NaN, 5);
    // The client asks for base64 by itself and makes floats of it.
    const usual = await openai().embeddings.create({ model, input: "one" });
    expect(usual.data[0]?.embedding[0]).toBeCloseTo(floats.data[0]?.embedding[0] ?? Number.NaN, 5);
    for (const input of [[1, 2], "", [], ["a", ""]])
      await expect(openai().embeddings.create({ model, input: input })).rejects.toBeInstanceOf(OpenAI.BadRequestError);
  });

  test("gets a response, the same whole and in events", async () => {
    const request = { model, instructions: "Be brief.", input: "Say something.", max_output_tokens: 9 };
    const whole = await openai().responses.create(request);
    expect(whole).toMatchObject({
      object: "response",
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      store: false,
    });
    expect(whole.usage?.output_tokens).toBe(9);
    const types: string[] = [];
    let text = "";
    for await (const event of await openai().responses.create({ ...request, stream: true })) {
      if (types.at(-1) !== event.type) types.push(event.type);
      if (event.type === "response.output_text.delta") text += event.delta;
      if (event.type === "response.incomplete") expect(event.response.output_text ?? text).toBe(text);
    }
    expect(text).toBe(whole.output_text);
    expect(types).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.incomplete",
    ]);
    const labelled = await openai().responses.create({
      model,
      input: [{ role: "user", content: [{ type: "input_text", text: "A or B?" }] }],
      text: { format: { type: "json_schema", name: "label", schema } },
    });
    expect(labelled.status).toBe("completed");
    expect(["A", "B"]).toContain((JSON.parse(labelled.output_text) as { label: string }).label);
    for (const more of [{ previous_response_id: "resp_1" }, { background: true }, { input: [] }])
      await expect(openai().responses.create({ ...request, ...more })).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(openai().responses.create({ ...request, model: "nobody", stream: true })).rejects.toBeInstanceOf(
      OpenAI.NotFoundError,
    );
  });

  test("ends what the client leaves", async () => {
    const stream = await openai().chat.completions.create({ model, messages, max_tokens: 400, stream: true });
    for await (const chunk of stream) {
      expect(chunk.object).toBe("chat.completion.chunk");
      break;
    }
    await expect.poll(() => engine.engine.residency.status(model).inFlight).toBe(0);
  });

  test("gets errors of its own kind", async () => {
    await expect(chat({ model: "nobody:1" })).rejects.toMatchObject({ status: 404, code: "unknown_model" });
    await expect(openai().get("/nothing")).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    const wrong = await fetch(`${url()}/v1/chat/completions`);
    expect([wrong.status, wrong.headers.get("allow"), await wrong.json()]).toMatchObject([
      405,
      "POST",
      { error: { code: "method_not_allowed", type: "invalid_request_error" } },
    ]);
  });
});
