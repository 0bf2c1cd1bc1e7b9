import { afterEach, describe, expect, test } from "vitest";
import { CATALOGUE } from "../../../../runtime/contracts/catalogue.ts";
import { JUDGE_MARK, judgeMarks, rewriterMarks } from "./prompts-of-core.ts";
import type { Backend } from "../../../../runtime/engine/backend.ts";
import { Residency } from "../../../../runtime/engine/residency/residency.ts";
import { scriptedBackend } from "../../../../runtime/engine/scripted/backend.ts";
import { play, roleOf } from "../../../../runtime/engine/scripted/roles.ts";
import { type RunningEngine, startEngine } from "../../../../runtime/engine/serve.ts";
import { createLogger } from "../../../../runtime/support/log.ts";

const log = createLogger("test", "silent");
let running: RunningEngine | undefined;
afterEach(async () => {
  await running?.stop(0);
  running = undefined;
});

async function start(backend: Backend, models = ["llama3.2:1b"]): Promise<RunningEngine> {
  running = await startEngine({ backend, models, log }, { host: "127.0.0.1", port: 0, ollamaPort: 0 });
  return running;
}

const generate = (url: string, body: object) =>
  fetch(`${url}/api/generate`, {
    method: "POST",
    body: JSON.stringify({ model: "llama3.2:1b", prompt: "Hello", ...body }),
  });

/** A backend whose loads end when told to. */
function gated(): Backend & { open: (error?: Error) => void; loads: number } {
  const scripted = scriptedBackend();
  let open: (error?: Error) => void = () => undefined;
  const gate = new Promise<void>((resolve, reject) => {
    open = (error) => (error === undefined ? resolve() : reject(error));
  });
  const backend = {
    ...scripted,
    loads: 0,
    open,
    load: async (...args: Parameters<Backend["load"]>) => {
      backend.loads++;
      args[1](0.5);
      await gate;
      return scripted.load(...args);
    },
  };
  return backend;
}

describe("readiness", () => {
  test("is 503 with Retry-After and the state while a model loads, on both ports, and 200 after its first token", async () => {
    const backend = gated();
    const { main, ollama } = await start(backend);
    for (const url of [main.url, ollama.url]) {
      const loading = await fetch(`${url}/models/health`);
      expect(loading.status).toBe(503);
      expect(Number(loading.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(await loading.json()).toMatchObject({
        ready: false,
        state: "loading",
        models: [{ name: "llama3.2:1b", state: "loading", progress: 0.5 }],
      });
      expect((await fetch(`${url}/health`)).status).toBe(200);
    }
    const early = await generate(ollama.url, {});
    expect([early.status, await early.json()]).toMatchObject([
      503,
      { code: "model_loading", error: expect.stringContaining("50 %") as string },
    ]);
    expect(await (await fetch(`${ollama.url}/api/ps`)).json()).toEqual({ models: [] });
    backend.open();
    await expect.poll(() => fetch(`${ollama.url}/models/health`).then(({ status }) => status)).toBe(200);
    expect((await generate(ollama.url, {})).status).toBe(200);
  });

  test("is never said of a model that failed to load, and the reason is", async () => {
    const backend = gated();
    const { ollama } = await start(backend);
    backend.open(new Error("not enough memory"));
    await expect
      .poll(() => fetch(`${ollama.url}/models/health`).then((r) => r.json()))
      .toMatchObject({ state: "failed", models: [{ reason: "not enough memory" }] });
    expect((await generate(ollama.url, {})).status).toBe(502);
  });

  test("is never said of a model that gives no token", async () => {
    const scripted = scriptedBackend();
    const silent: Backend = {
      ...scripted,
      load: async (...args) => ({
        ...(await scripted.load(...args)),
        async *generate() {
          yield { text: "", done: { reason: "stop", promptTokens: 1, answerTokens: 0, promptMs: 0, answerMs: 0 } };
        },
      }),
    };
    const { ollama } = await start(silent);
    await expect
      .poll(() => fetch(`${ollama.url}/models/health`).then((r) => r.json()))
      .toMatchObject({ state: "failed" });
  });

  test("ends when the engine drains, while a running answer goes on to its end", async () => {
    const { ollama, engine } = await start(scriptedBackend({ tokenMs: 20 }));
    await engine.residency.load("llama3.2:1b");
    const answer = generate(ollama.url, { prompt: "What is the capital of France?", stream: false }).then((r) =>
      r.json(),
    );
    await expect.poll(() => engine.residency.list()[0]?.inFlight).toBe(1);
    engine.drain();
    expect((await fetch(`${ollama.url}/models/health`)).status).toBe(503);
    await running?.stop(5_000);
    running = undefined;
    expect(await answer).toMatchObject({ done: true, response: expect.stringContaining("Paris") as string });
  });
});

describe("residency", () => {
  test("loads a model once, however many ask", async () => {
    const backend = gated();
    const residency = new Residency(backend, log);
    await residency.add("m:1b");
    const all = Array.from({ length: 100 }, () => residency.load("m:1b"));
    backend.open();
    expect(new Set(await Promise.all(all)).size).toBe(1);
    expect(backend.loads).toBe(1);
  });

  test("does not unload under a running answer", async () => {
    const residency = new Residency(scriptedBackend(), log);
    await residency.add("m:1b");
    await residency.load("m:1b");
    const { release } = residency.acquire("m:1b");
    expect(await residency.unload("m:1b")).toBe(false);
    release();
    expect(await residency.unload("m:1b")).toBe(true);
    expect(residency.status("m:1b").status).toEqual({ state: "absent" });
  });
});

describe("an engine with a store", () => {
  test("serves on demand what was brought before it started, and is ready without it", async () => {
    const options = { backend: scriptedBackend(), models: [], stored: true, log };
    running = await startEngine(options, { host: "127.0.0.1", port: 0, ollamaPort: 0 });
    const { engine, ollama } = running;
    await expect.poll(() => engine.residency.list().length).toBe(CATALOGUE.length);
    expect((await fetch(`${ollama.url}/models/health`)).status).toBe(200);
    expect(engine.residency.status("llama3.2:1b")).toMatchObject({ status: { state: "absent" }, required: false });
    expect((await generate(ollama.url, {})).status).toBe(200);
  });

  test("takes over another set of models, rules and token while it runs", async () => {
    const { engine } = await start(scriptedBackend(), ["llama3.2:1b", "gemma3:1b"]);
    await engine.reconfigure({ models: ["llama3.2:1b", "qwen3:0.6b"], adminToken: "sesame" });
    await expect.poll(() => engine.readiness().ready).toBe(true);
    expect(engine.residency.list().map(({ name }) => name)).toEqual(["llama3.2:1b", "qwen3:0.6b"]);
    expect(() => engine.requireAdmin("Bearer sesame")).not.toThrow();
    expect(() => engine.requireAdmin("Bearer other")).toThrow();
    expect(engine.lifecycle.state).toMatch(/Serving|Scaling/);
  });
});

describe("a generation", () => {
  test("stops when the client goes away", async () => {
    const { ollama, engine } = await start(scriptedBackend({ tokenMs: 50 }));
    await engine.residency.load("llama3.2:1b");
    const client = new AbortController();
    const response = await fetch(`${ollama.url}/api/generate`, {
      method: "POST",
      body: JSON.stringify({ model: "llama3.2:1b", prompt: "What is the capital of France?" }),
      signal: client.signal,
    });
    expect(engine.residency.list()[0]?.inFlight).toBe(1);
    client.abort();
    await response.text().catch(() => undefined);
    await expect.poll(() => engine.residency.list()[0]?.inFlight, { timeout: 300 }).toBe(0);
  });

  test("keeps to length, stop texts and JSON", async () => {
    const { ollama, engine } = await start(scriptedBackend());
    await engine.residency.load("llama3.2:1b");
    const ask = (body: object) =>
      generate(ollama.url, { prompt: "What is the capital of France?", stream: false, ...body }).then(
        (r) => r.json() as Promise<{ response: string; done_reason: string }>,
      );
    expect(await ask({ options: { num_predict: 2 } })).toMatchObject({
      response: "The capital",
      done_reason: "length",
    });
    expect((await ask({ options: { stop: [" of"] } })).response).toBe("The capital");
    expect(JSON.parse((await ask({ format: "json" })).response)).toHaveProperty("answer");
  });

  test("of an unknown model is 404 in Ollama's words", async () => {
    const { ollama } = await start(scriptedBackend());
    const response = await generate(ollama.url, { model: "nobody" });
    expect([response.status, await response.json()]).toMatchObject([
      404,
      { error: "model 'nobody' not found, try pulling it first" },
    ]);
  });
});

describe("a scripted model", () => {
  const ask = (model: string, ...said: string[]) =>
    play(
      model,
      said.map((content, i) => ({ role: i % 2 === 0 ? ("user" as const) : ("assistant" as const), content })),
    );

  test("plays the catalogue's roles", () => {
    const candidates = CATALOGUE.filter(({ role }) => role === "candidate").map(({ model }) => roleOf(model, []));
    expect(candidates).toEqual(["general", "coder", "brief"]);
  });

  test("says that it is scripted, and by whom", () => {
    for (const { model } of CATALOGUE.filter(({ role }) => role === "candidate")) {
      const said = ask(model, "What is the capital of France?");
      expect(said).toContain("Paris");
      expect(said.endsWith(` (scripted ${model})`)).toBe(true);
    }
  });

  test("answers a follow-up from the conversation in its prompt, and not without it", () => {
    expect(ask("llama3.2:1b", "What is the capital of France?", "Paris.", "What's its population?")).toContain(
      "2.1 million",
    );
    expect(ask("llama3.2:1b", "What's its population?")).toContain("does not cover");
  });

  test("writes code where it is a coder, and helps with troubles", () => {
    expect(ask("qwen2.5-coder:1.5b", "Write a Python function to reverse a string")).toContain("return text[::-1]");
    expect(ask("llama3.2:1b", "Why is my pod Pending?")).toContain("kubectl describe pod");
    expect(ask("llama3.2:1b", "What is 12 * 7?")).toContain("12 * 7 is 84");
  });

  test("rewrites a question as the rewriter, with the place that it means", () => {
    const rewrite = rewriterMarks("What's its population?", [
      { question: "What is the capital of France?", answer: "Paris." },
    ]);
    expect(play("granite4:350m", rewrite)).toBe(
      "State clearly: what is the population of Paris? (scripted granite4:350m)",
    );
    expect(play("granite4:350m", rewriterMarks("What's the weather?", []))).toContain(
      "Provide current weather conditions",
    );
  });

  test("judges with a verdict that the orchestrator can read, for the better answer", () => {
    const { messages, winner } = judgeMarks("Write a Python function to reverse a string", {
      coder: ask("qwen2.5-coder:1.5b", "Write a Python function to reverse a string"),
      brief: ask("qwen3:0.6b", "Write a Python function to reverse a string"),
      lost: ask("llama3.2:1b", "Qwertz?"),
    });
    expect(messages[0]?.content.startsWith(JUDGE_MARK)).toBe(true);
    expect(winner(play("gemma3:1b", messages))).toBe("coder");
  });
});
