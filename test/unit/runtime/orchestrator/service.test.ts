import { request } from "node:http";
import { describe, expect, test } from "vitest";
import { AskAnswer, AskEvent, NativeError } from "../../../../runtime/contracts/native.ts";
import { createApp } from "../../../../runtime/orchestrator/app.ts";
import { ROUTES } from "../../../../runtime/orchestrator/passthrough/routes.ts";
import { createLogger } from "../../../../runtime/support/log.ts";
import { openMockEnsemble } from "../../../support/open-ensembles.ts";

const post = (url: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

describe("the native API", () => {
  test("gives the reply with every stage, its model, its text and its milliseconds", async () => {
    const { url } = await openMockEnsemble();
    const answer = AskAnswer.parse(await (await post(url, "/ask", { question: "Why?" })).json());
    expect(answer.reply).toBe("An answer by llama here.");
    expect(answer.decision).toMatchObject({ by: "judge", winner: "llama", model: "llama:1b" });
    expect(answer.stages.map(({ stage, member, model, status }) => ({ stage, member, model, status }))).toEqual([
      { stage: "rewrite", member: "promptimizer", model: "promptimizer:1b", status: "ok" },
      { stage: "candidate", member: "llama", model: "llama:1b", status: "ok" },
      { stage: "candidate", member: "qwen", model: "qwen:1b", status: "ok" },
      { stage: "candidate", member: "qwen-small", model: "qwen-small:1b", status: "ok" },
      { stage: "judge", member: "judge", model: "judge:1b", status: "ok" },
    ]);
    for (const { ms, text } of answer.stages) {
      expect(ms).toBeGreaterThan(0);
      expect(text).not.toBe("");
    }
  });

  test("streams stages, words and the same answer as events", async () => {
    const { url } = await openMockEnsemble();
    const text = await (await post(url, "/v1/ask", { question: "Why?", stream: true })).text();
    const events = [...text.matchAll(/^data: (.*)$/gm)].map(([, data = ""]) => AskEvent.parse(JSON.parse(data)));
    const names = events.map(({ event }) => event);
    expect(names.filter((name) => name === "stage-start")).toHaveLength(5);
    expect(names.filter((name) => name === "stage-end")).toHaveLength(5);
    expect(names.at(-1)).toBe("answer");
    const words = events.flatMap((event) => (event.event === "text" ? [event.text] : []));
    expect(words.join("")).toBe("An answer by llama here.");
  });

  test("streams a draft at once, when asked to, before the answer is known", async () => {
    const { url, mocks } = await openMockEnsemble({
      llama: { prefillMs: 300 },
      qwen: { prefillMs: 300 },
      promptimizer: { fault: () => "500" },
    });
    const text = await (await post(url, "/ask", { question: "Why?", stream: true, draft: true })).text();
    const events = [...text.matchAll(/^data: (.*)$/gm)].map(([, data = ""]) => AskEvent.parse(JSON.parse(data)));
    const names = events.map(({ event }) => event);
    expect(names.indexOf("draft")).toBeLessThan(names.indexOf("decision"));
    const draft = events.flatMap((event) => (event.event === "draft" ? [event] : []));
    expect(draft.every(({ member }) => member === "qwen-small")).toBe(true);
    expect(draft.map((event) => event.text).join("")).toBe("An answer by qwen-small here.");
    expect(mocks.judge.calls.length).toBeGreaterThan(0);
  });

  test("remembers the last turns of a conversation, apart by user", async () => {
    const { url, mocks } = await openMockEnsemble();
    const ask = (question: string, user: string) =>
      post(url, "/ask", { question, user, conversation: "c1" }).then((r) => r.json());
    await ask("What is the capital of France?", "ann");
    const second = AskAnswer.parse(await ask("What's its population?", "ann"));
    expect(second.turnsShown).toBe(1);
    for (const mock of [mocks.llama, mocks.qwen, mocks["qwen-small"]]) {
      expect(mock.calls.at(-1)?.body.messages.map(({ content }) => content)).toContain(
        "What is the capital of France?",
      );
    }
    expect(mocks.judge.calls.at(-1)?.prompt).toContain("What is the capital of France?");
    expect(AskAnswer.parse(await ask("What's its population?", "bob")).turnsShown).toBe(0);
  });

  test("sends context window, length and the schema to the models", async () => {
    const { url, mocks } = await openMockEnsemble();
    await post(url, "/ask", { question: "Why?" });
    expect(mocks.llama.calls[0]).toMatchObject({
      path: "/api/chat",
      body: { stream: true, options: { num_ctx: 4096, num_predict: 512 } },
    });
    expect(mocks.qwen.calls[0]).toMatchObject({
      path: "/v1/chat/completions",
      body: { stream: true, max_tokens: 512 },
    });
    expect(mocks.judge.calls.at(-1)).toMatchObject({
      body: { format: { properties: { winner: { enum: ["A", "B", "C", "tie"] } } } },
    });
  });

  test.each([
    ["no question", {}, /question/],
    ["an unknown field", { question: "Why?", quorum: 3 }, /quorum/],
    ["an empty question", { question: "  " }, /question/],
    ["no JSON", "{", /not JSON/],
    ["nothing", "", /empty/],
    ["bad UTF-8", Buffer.from([0x22, 0xff, 0x22]).toString("latin1"), /body/],
    ["a bad conversation id", { question: "Why?", conversation: "a b" }, /conversation/],
    ["JSON too deep", "[".repeat(100_000), /levels deep/],
  ])("refuses %s", async (_, body, message) => {
    const { url } = await openMockEnsemble();
    const response = await post(url, "/ask", body);
    expect(response.status).toBe(400);
    expect(NativeError.parse(await response.json()).error).toMatchObject({
      code: "invalid_request",
      message: expect.stringMatching(message) as string,
    });
  });

  test("refuses a body above the limit with 413, whether or not it says its size", async () => {
    const { url } = await openMockEnsemble({}, { limits: { bodyBytes: 2048 } });
    expect((await post(url, "/ask", { question: "x".repeat(5000) })).status).toBe(413);
    const chunked = await new Promise<number | undefined>((resolve, reject) => {
      const sent = request(
        `${url}/ask`,
        { method: "POST", headers: { "transfer-encoding": "chunked" } },
        (response) => {
          resolve(response.statusCode);
          response.resume();
          sent.destroy();
        },
      );
      sent.on("error", reject);
      for (let i = 0; i < 8; i++) sent.write("x".repeat(1000));
    });
    expect(chunked).toBe(413);
  });
});

describe("health", () => {
  test("is ready only while a quorum of candidates can answer, and says who cannot", async () => {
    const { url, mocks } = await openMockEnsemble(
      { llama: { ready: false }, "qwen-small": { ready: false } },
      { quorum: 2 },
    );
    const first = await fetch(`${url}/readyz`);
    expect(first.status).toBe(503);
    expect(await first.json()).toMatchObject({ ready: false, candidates: 1, quorum: 2 });
    mocks.llama.behaviour.ready = true;
    await expect.poll(() => fetch(`${url}/readyz`).then(({ status }) => status), { timeout: 5_000 }).toBe(200);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test("counts questions, stages, wins and retries", async () => {
    const { url } = await openMockEnsemble();
    await post(url, "/ask", { question: "Why?" });
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain('gorkheavy_questions_total{outcome="answered"} 1');
    expect(metrics).toContain('gorkheavy_wins_total{member="llama"} 1');
    expect(metrics).toContain('gorkheavy_decisions_total{by="judge"} 1');
    expect(metrics).toContain('gorkheavy_stages_total{stage="candidate",member="qwen",status="ok"} 1');
    expect(metrics).not.toContain("Why?");
  });

  test("refuses more questions than it may work on at once", async () => {
    const { url } = await openMockEnsemble({ llama: { prefillMs: 300 } }, { limits: { concurrent: 1 } });
    const first = post(url, "/ask", { question: "Why?" });
    await expect.poll(() => fetch(`${url}/metrics`).then((r) => r.text())).toContain("gorkheavy_questions_in_flight 1");
    const second = await post(url, "/ask", { question: "Why?" });
    expect(second.status).toBe(503);
    expect(second.headers.get("retry-after")).toBe("5");
    expect(await second.json()).toMatchObject({ error: { code: "overloaded" } });
    expect((await first).status).toBe(200);
  });

  test("drains: not ready at once, what runs is answered whole, then nothing listens", async () => {
    const { url, orchestrator } = await openMockEnsemble({ llama: { prefillMs: 300 } });
    const running = post(url, "/ask", { question: "Why?" }).then((response) => response.json());
    await expect.poll(() => orchestrator.ensemble.inFlight).toBe(1);
    const began = performance.now();
    const stopped = orchestrator.stop(5_000, 150);
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    const late = post(url, "/ask", { question: "Still?" }).then((response) => response.json());
    expect(AskAnswer.parse(await running).reply).toBe("An answer by llama here.");
    expect(AskAnswer.parse(await late).reply).toBe("An answer by llama here.");
    await stopped;
    expect(performance.now() - began).toBeLessThan(2_000);
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });
});

describe("the OpenAPI document", () => {
  test("comes from the schemas that check the requests", async () => {
    const { url } = await openMockEnsemble();
    const document: unknown = await (await fetch(`${url}/openapi.json`)).json();
    expect(document).toMatchObject({
      openapi: "3.1.0",
      paths: {
        "/ask": {
          post: {
            requestBody: {
              content: { "application/json": { schema: { required: ["question"], additionalProperties: false } } },
            },
            responses: { 200: {}, 400: {}, 413: {}, 503: {}, 504: {} },
          },
        },
        "/api/chat": { post: {} },
        "/v1/chat/completions": { post: {} },
      },
    });
    expect(JSON.stringify(document)).not.toContain("$schema");
  });

  test("names every way in, and no other", async () => {
    const { url, orchestrator } = await openMockEnsemble();
    const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: Record<string, object> };
    const told = Object.entries(paths).flatMap(([path, verbs]) => Object.keys(verbs).map((verb) => `${verb} ${path}`));
    const served = createApp(orchestrator.ensemble, createLogger("test", "silent"))
      .routes.filter(({ method }) => method !== "ALL")
      .map(({ method, path }) => `${method.toLowerCase()} ${path.replace(/:(\w+)/g, "{$1}")}`);
    const passed = ROUTES.map(({ path }) => `post ${path}`);
    expect(told.toSorted()).toEqual([...new Set([...served, ...passed])].toSorted());
  });

  test("is kept by what the ensemble answers in headers", async () => {
    const { url } = await openMockEnsemble();
    const { headers } = await post(url, "/api/chat", {
      model: "gorkheavy",
      stream: false,
      messages: [{ role: "user", content: "Why?" }],
    });
    expect(headers.get("x-gorkheavy-winner")).toBe("llama");
    expect(headers.get("x-gorkheavy-conversation")).toMatch(/^[0-9a-f-]{36}$/);
    expect(headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe("each API's errors", () => {
  test("have its own shape", async () => {
    const { url } = await openMockEnsemble();
    const chat = { model: "nobody", messages: [{ role: "user", content: "Hi" }] };
    const ollama = await post(url, "/api/chat", chat);
    expect([ollama.status, await ollama.json()]).toMatchObject([
      404,
      { error: expect.stringContaining("nobody") as string, code: "unknown_model" },
    ]);
    const openai = await post(url, "/v1/chat/completions", chat);
    expect([openai.status, await openai.json()]).toMatchObject([
      404,
      { error: { type: "invalid_request_error", code: "unknown_model" } },
    ]);
    expect((await fetch(`${url}/nope`)).status).toBe(404);
    expect((await post(url, "/api/pull", { model: "x" })).status).toBe(403);
    expect((await post(url, "/ask", "<a/>", { "content-type": "application/xml" })).status).toBe(415);
  });
});
