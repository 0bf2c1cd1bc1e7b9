import { afterEach, describe, expect, test } from "vitest";
import { EngineEvent, EngineModelEvent, EngineReadiness } from "../../../../runtime/contracts/engine-api.ts";
import type { RunningEngine } from "../../../../runtime/engine/serve.ts";
import { engineWith, gated, MODEL } from "../../../support/engine-with.ts";

let engine: RunningEngine | undefined;
afterEach(async () => {
  await engine?.stop(0);
  engine = undefined;
});

const post = (url: string, body: object): Promise<Response> =>
  fetch(url, { method: "POST", body: JSON.stringify(body) });
const messages = [{ role: "user", content: "What is the capital of France?" }];
const dataOf = (text: string): unknown[] =>
  text.split("\n").flatMap((line): unknown[] => (line.startsWith("data: ") ? [JSON.parse(line.slice(6))] : []));

describe("while a model loads", () => {
  test("each API says so with 503, Retry-After and the progress, and nobody says that it is not there", async () => {
    engine = await engineWith({ backend: gated() });
    const { main, ollama } = engine;
    for (const { url } of [main, ollama]) {
      const ready = await fetch(`${url}/models/health`);
      expect([ready.status, Number(ready.headers.get("retry-after")) > 0]).toEqual([503, true]);
      expect(EngineReadiness.parse(await ready.json())).toMatchObject({
        ready: false,
        state: "loading",
        models: [{ name: MODEL, state: "loading", progress: 0.5 }],
      });
      for (const path of ["/health", "/api/health", "/dte/health", "/metrics"])
        expect([path, (await fetch(`${url}${path}`)).status]).toEqual([path, 200]);
      const dte = await fetch(`${url}/dte/health`);
      expect(await dte.json()).toMatchObject({ active: false });
      const chat = await post(`${url}/v1/chat/completions`, { model: MODEL, messages, stream: true });
      expect([chat.status, Number(chat.headers.get("retry-after")) > 0]).toEqual([503, true]);
      expect(await chat.json()).toMatchObject({ error: { code: "model_loading", message: /50 %/ } });
    }
    const words = { code: "model_loading", error: expect.stringContaining("50 %") as string };
    for (const stream of [true, false]) {
      const chat = await post(`${ollama.url}/api/chat`, { model: MODEL, messages, stream });
      expect([chat.status, await chat.json()]).toMatchObject([503, words]);
    }
    const native = await post(`${main.url}/chat`, { model: MODEL, messages });
    expect([native.status, await native.json()]).toMatchObject([
      503,
      { error: { code: "model_loading", retryable: true } },
    ]);
  });

  test("a stream of the main API tells the progress, then the words", async () => {
    const backend = gated();
    engine = await engineWith({ backend });
    const response = await post(`${engine.main.url}/generate`, {
      model: MODEL,
      prompt: "What is 12 * 7?",
      stream: true,
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    backend.open();
    const events = dataOf(await response.text()).map((event) => EngineEvent.parse(event));
    expect(events[0]).toEqual({ event: "progress", model: MODEL, ratio: 0.5 });
    expect(events.map((event) => (event.event === "piece" ? event.text : "")).join("")).toContain("84");
    expect(events.at(-1)).toMatchObject({ event: "done", reason: "stop" });
  });

  test("the changes of its state are told as they come", async () => {
    const backend = gated();
    engine = await engineWith({ backend });
    const stop = new AbortController();
    const response = await fetch(`${engine.main.url}/events`, { signal: stop.signal });
    const states: string[] = [];
    const reading = (async () => {
      let text = "";
      for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
        text += Buffer.from(part).toString("utf8");
        states.length = 0;
        for (const event of dataOf(text).map((one) => EngineModelEvent.parse(one)))
          states.push(event.event === "model" ? event.model.state : event.event);
      }
    })().catch(() => undefined);
    await expect.poll(() => states).toEqual(["loading"]);
    backend.open();
    await expect.poll(() => states.at(-1)).toBe("ready");
    engine.engine.residency.remove(MODEL);
    await expect.poll(() => states.at(-1)).toBe("gone");
    stop.abort();
    await reading;
  });
});

describe("an engine that is ready", () => {
  test("answers chat, generate and models on the main API", async () => {
    engine = await engineWith();
    await engine.engine.residency.load(MODEL);
    const { url } = engine.main;
    const chat = (await (await post(`${url}/chat`, { model: MODEL, messages })).json()) as { text: string };
    expect(chat).toMatchObject({ model: MODEL, reason: "stop", answerTokens: expect.any(Number) as number });
    expect(chat.text).toContain("Paris");
    const [model] = ((await (await fetch(`${url}/models`)).json()) as { models: object[] }).models;
    expect(model).toMatchObject({
      name: MODEL,
      state: "ready",
      digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    });
    expect(await (await fetch(`${url}/models/${MODEL}`)).json()).toMatchObject({ name: MODEL, state: "ready" });
    expect((await fetch(`${url}/models/health`)).status).toBe(200);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain("gorkheavy_engine_model_ready");
  });
});

describe("an engine that stops", () => {
  test("says so on its health, and ends the streams that run", async () => {
    engine = await engineWith({ tokenMs: 40 });
    await engine.engine.residency.load(MODEL);
    const { main, ollama } = engine;
    const running = await Promise.all([
      post(`${ollama.url}/api/chat`, { model: MODEL, messages }),
      post(`${main.url}/v1/chat/completions`, { model: MODEL, messages, stream: true }),
      post(`${main.url}/chat`, { model: MODEL, messages, stream: true }),
    ]);
    const watched = fetch(`${main.url}/events`).then((r) => r.text());
    await expect.poll(() => engine?.engine.residency.status(MODEL).inFlight).toBe(3);
    engine.engine.drain();
    for (const { url } of [main, ollama])
      for (const path of ["/health", "/api/health", "/models/health"]) {
        const answer = await fetch(`${url}${path}`);
        expect([path, answer.status, answer.headers.has("retry-after")]).toEqual([path, 503, true]);
        expect(JSON.stringify(await answer.json())).toContain("draining");
      }
    const stopped = engine.stop(10_000);
    engine = undefined;
    for (const response of running) {
      const text = await response.text();
      expect(text).toContain("Paris");
      expect(text).toMatch(/"done":true|\[DONE\]|"event":"done"/);
    }
    expect(dataOf(await watched).length).toBeGreaterThan(0);
    await stopped;
  });
});
