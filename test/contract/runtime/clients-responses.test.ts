import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OpenAiResponse, OpenAiResponseEvent } from "../../../runtime/contracts/openai-responses.ts";
import { type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";

let ensemble: MockEnsemble;
beforeAll(async () => {
  ensemble = await startMockEnsemble();
});
afterAll(() => ensemble.close());

const model = "gorkheavy:latest";
const client = () => new OpenAI({ baseURL: `${ensemble.url}/v1`, apiKey: "unused", maxRetries: 0 });
const shown = () => ensemble.mocks.llama.calls.at(-1)?.body.messages.map(({ content }) => content) ?? [];

describe("the openai client's responses of the ensemble", () => {
  test("answer a text, with instructions", async () => {
    const response = await client().responses.create({ model, input: "Why?", instructions: "Be short." });
    expect(OpenAiResponse.parse(response)).toMatchObject({ status: "completed", model });
    expect(response.output_text).toBe("An answer by llama here.");
    expect(response.usage?.total_tokens).toBeGreaterThan(0);
    expect(shown().join("\n")).toContain("Be short.");
  });

  test("answer items, whose history is shown to the models", async () => {
    await client().responses.create({
      model,
      input: [
        { role: "user", content: "What is the capital of France?" },
        { role: "assistant", content: "Paris." },
        { role: "user", content: [{ type: "input_text", text: "What's its population?" }] },
      ],
    });
    expect(shown()).toContain("What is the capital of France?");
    expect(shown().at(-1)).toContain("What's its population?");
  });

  test("go on from the response before", async () => {
    const first = await client().responses.create({ model, input: "What is the capital of Peru?" });
    const second = await client().responses.create({ model, input: "And its food?", previous_response_id: first.id });
    expect(second.previous_response_id).toBe(first.id);
    expect(shown()).toContain("What is the capital of Peru?");
    await client().responses.create({ model, input: "And its music?", previous_response_id: second.id });
    expect(shown()).toContain("And its food?");
  });

  test("are forgotten where the client says so", async () => {
    const first = await client().responses.create({ model, input: "What is secret?", store: false });
    await client().responses.create({ model, input: "What was that?", previous_response_id: first.id });
    expect(shown()).not.toContain("What is secret?");
  });

  test("stream the events that the client knows, in OpenAI's order, and go on from them", async () => {
    const stream = client().responses.stream({ model, input: "What is the capital of Chile?" });
    const types: string[] = [];
    let text = "";
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") text += event.delta;
      if (types.at(-1) !== event.type) types.push(event.type);
    }
    const final = await stream.finalResponse();
    expect(types).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    expect([text, final.output_text]).toEqual(["An answer by llama here.", "An answer by llama here."]);
    await client().responses.create({ model, input: "And its food?", previous_response_id: final.id });
    expect(shown()).toContain("What is the capital of Chile?");
  });

  test("stream events of the contract, numbered without a gap", async () => {
    const response = await fetch(`${ensemble.url}/v1/responses`, {
      method: "POST",
      body: JSON.stringify({ model, input: "Why?", stream: true }),
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const events = [...(await response.text()).matchAll(/^data: (.*)$/gm)].map(([, data = ""]) =>
      OpenAiResponseEvent.parse(JSON.parse(data)),
    );
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, index) => index));
  });

  test("fail as an event, and before that as an error", async () => {
    for (const mock of Object.values(ensemble.mocks)) mock.behaviour.fault = () => "500";
    const stream = await client().responses.create({ model, input: "Why?", stream: true });
    const types: string[] = [];
    for await (const event of stream) types.push(event.type);
    expect(types.at(-1)).toBe("response.failed");
    await expect(client().responses.create({ model, input: "Why?" })).rejects.toMatchObject({ status: 503 });
    for (const mock of Object.values(ensemble.mocks)) mock.behaviour.fault = () => undefined;
  });

  test.each([
    [{ input: "Why?", previous_response_id: "resp_67" }, 404, /previous_response_id/],
    [
      { input: [{ type: "function_call_output", call_id: "c", output: "x" }] },
      400,
      /input\.0: got function_call_output/,
    ],
    [{ input: [{ role: "assistant", content: "Hi" }] }, 400, /the last one to be the user's/],
    [{ input: 7 }, 400, /input: got number/],
    [{}, 400, /input: missing/],
  ])("refuse %j", async (body, status, message) => {
    await expect(client().post("/responses", { body: { model, ...body } })).rejects.toMatchObject({
      status,
      message: expect.stringMatching(message) as string,
    });
  });
});

test("what only one model can do names the members to ask", async () => {
  await expect(client().embeddings.create({ model, input: "a" })).rejects.toMatchObject({
    status: 400,
    code: "invalid_request",
    message: expect.stringMatching(/one member alone.*llama, qwen/) as string,
  });
});
