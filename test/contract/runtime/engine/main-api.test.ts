import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EngineAnswer, EngineEvent } from "../../../../runtime/contracts/engine-api.ts";
import { startTinyEngine, type TinyEngine } from "../../../support/tiny-engine.ts";

const MODEL = "tiny:1";
const messages = [{ role: "user", content: "Say something." }];

let engine: TinyEngine;
beforeAll(async () => {
  engine = await startTinyEngine();
}, 60_000);
afterAll(() => engine.close());

async function post(path: string, body: object): Promise<Response> {
  return fetch(`${engine.main.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL, ...body }),
  });
}

async function answerTo(path: string, body: object): Promise<EngineAnswer> {
  const response = await post(path, body);
  expect(response.status).toBe(200);
  return EngineAnswer.parse(await response.json());
}

async function eventsOf(path: string, body: object): Promise<EngineEvent[]> {
  const response = await post(path, { ...body, stream: true });
  expect(response.headers.get("content-type")).toMatch(/^text\/event-stream/);
  const lines = (await response.text()).split("\n").filter((line) => line.startsWith("data: "));
  return lines.map((line) => EngineEvent.parse(JSON.parse(line.slice("data: ".length))));
}

describe("the main API over llama.cpp", () => {
  test("a chat's words are the same whole and in parts, and both say how it ended", async () => {
    const asked = { messages, maxTokens: 8 };
    const whole = await answerTo("/chat", asked);
    expect(whole).toMatchObject({ model: MODEL, reason: "length", answerTokens: 8 });
    expect(whole.promptTokens).toBeGreaterThan(0);
    const events = await eventsOf("/chat", asked);
    expect(events.flatMap((one) => (one.event === "piece" ? [one.text] : [])).join("")).toBe(whole.text);
    expect(events.at(-1)).toMatchObject({ event: "done", model: MODEL, reason: "length", answerTokens: 8 });
  });

  test("a label is read off the probabilities of the next token, the likeliest is the answer", async () => {
    const labels = ["A", "B", "C"];
    const { text, choices = [], answerTokens } = await answerTo("/chat", { messages, choices: labels });
    expect(choices.map(({ label }) => label)).toEqual(labels);
    const likeliest = choices.reduce((best, one) => (one.probability > best.probability ? one : best));
    expect([text, answerTokens]).toEqual([likeliest.label, 1]);
    // Of all tokens: the labels have a part of the whole, and each some.
    for (const { probability } of choices) expect(probability).toBeGreaterThan(0);
    expect(choices.reduce((sum, { probability }) => sum + probability, 0)).toBeLessThanOrEqual(1.000_001);
    // In another order the same label has the same probability: nothing hangs on where it stands in the list.
    const turned = await answerTo("/chat", { messages, choices: labels.toReversed() });
    expect(turned.text).toBe(text);
    for (const { label, probability } of choices)
      expect(turned.choices?.find((one) => one.label === label)?.probability).toBeCloseTo(probability, 6);
    expect((await eventsOf("/chat", { messages, choices: labels })).at(-1)).toMatchObject({ event: "done", choices });
  });

  test.each([
    ["a format beside labels", { choices: ["A", "B"], format: "json" }, /choices/],
    ["one label", { choices: ["A"] }, /choices/],
    ["more likely tokens than there are told", { topLogprobs: 21 }, /topLogprobs/],
    ["a setting that nobody knows", { temprature: 1 }, /temprature/],
  ])("%s is refused by name", async (_, body, named) => {
    const response = await post("/chat", { messages, ...body });
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: { message: string } }).error.message).toMatch(named);
  });

  test("each written token tells how likely it was, and so many others in its place", async () => {
    const { logprobs = [], text } = await answerTo("/chat", { messages, maxTokens: 4, topLogprobs: 3 });
    expect(logprobs.map(({ token }) => token).join("")).toContain(text.trim());
    for (const { logprob, top } of logprobs) {
      expect(top).toHaveLength(3);
      expect(logprob).toBeLessThanOrEqual(0);
      // At temperature 0 the likeliest is written.
      expect(Math.max(...top.map((one) => one.logprob))).toBeCloseTo(logprob, 5);
    }
  });

  test("a prompt goes through the model's template, or as it is; an answer keeps to a schema and ends at a text", async () => {
    const [templated, raw] = [
      await answerTo("/generate", { prompt: "Say something.", maxTokens: 1 }),
      await answerTo("/generate", { prompt: "Say something.", raw: true, maxTokens: 1 }),
    ];
    expect(templated.promptTokens).toBeGreaterThan(raw.promptTokens);
    const schema = { type: "object", properties: { winner: { enum: ["A", "B"] } }, required: ["winner"] };
    const { text, reason } = await answerTo("/generate", { prompt: "Who wins?", format: schema });
    expect(JSON.parse(text)).toMatchObject({ winner: expect.stringMatching(/^[AB]$/) as string });
    expect(reason).toBe("stop");
    const free = await answerTo("/generate", { prompt: "Go on", maxTokens: 12 });
    const stop = free.text.slice(4, 6);
    const cut = await answerTo("/generate", { prompt: "Go on", maxTokens: 12, stop: [stop] });
    expect(cut.text).toBe(free.text.slice(0, free.text.indexOf(stop)));
  });

  test("vectors have length 1, one a text", async () => {
    const response = await post("/embeddings", { input: ["one", "two"] });
    const { embeddings } = (await response.json()) as { embeddings: number[][] };
    expect(embeddings).toHaveLength(2);
    for (const vector of embeddings) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
  });
});
