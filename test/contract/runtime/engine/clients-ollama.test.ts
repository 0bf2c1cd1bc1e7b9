import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Ollama } from "ollama";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ADMIN_TOKEN, startTinyEngine, type TinyEngine } from "../../../support/tiny-engine.ts";

/** A child process, llama.cpp and a load on a busy machine. */
const SLOW_MS = 60_000;

let engine: TinyEngine;
beforeAll(async () => {
  engine = await startTinyEngine();
}, SLOW_MS);
afterAll(() => engine.close(), SLOW_MS);

const model = "tiny:1";
const prompt = "Say something.";
const messages = [{ role: "user", content: prompt }];
const options = { num_predict: 12 };
const schema = { type: "object", properties: { label: { enum: ["A", "B"] } }, required: ["label"] };
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];

const ollama = (): Ollama => new Ollama({ host: engine.ollama.url });
const admin = (): Ollama =>
  new Ollama({ host: engine.ollama.url, headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
const post = (path: string, body: object): Promise<Response> =>
  fetch(`${engine.ollama.url}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
    body: JSON.stringify(body),
  });
const all = async <T>(stream: AsyncIterable<T>): Promise<T[]> => {
  const parts: T[] = [];
  for await (const part of stream) parts.push(part);
  return parts;
};

describe("the ollama client", () => {
  test("generates, the same streamed and whole, with what it took", async () => {
    const whole = await ollama().generate({ model, prompt, options });
    expect(whole).toMatchObject({ model, done: true, done_reason: "length", eval_count: 12 });
    expect(whole.context).toBeUndefined();
    expect(whole.prompt_eval_count).toBeGreaterThan(10);
    expect(whole.total_duration).toBeGreaterThanOrEqual(whole.eval_duration);
    const parts = await all(await ollama().generate({ model, prompt, options, stream: true }));
    expect(parts.map(({ response }) => response).join("")).toBe(whole.response);
    expect(parts.map(({ done }) => done)).toEqual([...parts.slice(1).map(() => false), true]);
  });

  test("chats, the same streamed and whole", async () => {
    const whole = await ollama().chat({ model, messages, options });
    expect(whole.message.role).toBe("assistant");
    const parts = await all(await ollama().chat({ model, messages, options, stream: true }));
    expect(parts.map(({ message }) => message.content).join("")).toBe(whole.message.content);
    expect(parts.at(-1)).toMatchObject({ done: true, done_reason: "length", eval_count: 12 });
    const history = [
      { role: "system", content: "Be brief." },
      ...messages,
      { role: "assistant", content: "So." },
      ...messages,
    ];
    const later = await ollama().chat({ model, messages: history, options });
    expect(later.prompt_eval_count).toBeGreaterThan(whole.prompt_eval_count);
  });

  test("has raw prompts, formats, stop texts, seeds and probabilities", async () => {
    const raw = await ollama().generate({ model, prompt: `<|user|>${prompt}<|assistant|>`, raw: true, options });
    const usual = { response: "", ...(await ollama().generate({ model, prompt, options })) };
    expect(raw.response).toBe(usual.response);
    const labelled = await ollama().generate({ model, prompt, format: schema, options: { num_predict: 60 } });
    expect(["A", "B"]).toContain((JSON.parse(labelled.response ?? "") as { label: string }).label);
    const json = await ollama().chat({ model, messages, format: "json", options: { num_predict: 60, stop: ["}"] } });
    expect(json.message.content.trimStart()).toMatch(/^[{[]/);
    const mark = usual.response.slice(3, 5);
    const stopped = await ollama().generate({ model, prompt, options: { ...options, stop: [mark] } });
    expect(stopped).toMatchObject({
      response: usual.response.slice(0, usual.response.indexOf(mark)),
      done_reason: "stop",
    });
    const drawn = { ...options, temperature: 2, top_k: 100, top_p: 1, min_p: 0, seed: 3, repeat_penalty: 1.1 };
    const one = await ollama().generate({ model, prompt, options: drawn });
    expect((await ollama().generate({ model, prompt, options: drawn })).response).toBe(one.response);
    expect(one.response).not.toBe(usual.response);
    const greedy = await ollama().generate({ model, prompt, options: { ...drawn, top_k: 1, repeat_penalty: 1 } });
    expect(greedy.response).toBe(usual.response);
    const told = await ollama().chat({ model, messages, options, logprobs: true, top_logprobs: 2 });
    expect(told.logprobs).toHaveLength(12);
    expect(told.logprobs?.[0]?.top_logprobs).toHaveLength(2);
  });

  test.each([
    [/does not support insert/, () => ollama().generate({ model, prompt, suffix: "end" })],
    [/does not support images/, () => ollama().generate({ model, prompt, images: ["iVBORw0KGgo="] })],
    [/does not support thinking/, () => ollama().generate({ model, prompt, think: true })],
    [/context: .* \/api\/chat/, () => ollama().generate({ model, prompt, context: [1, 2] })],
    [/raw mode does not support/, () => ollama().generate({ model, prompt, raw: true, system: "x" })],
    [/template: /, () => ollama().generate({ model, prompt, template: "{{ .Prompt }}" })],
    [/does not support tools/, () => ollama().chat({ model, messages, tools })],
    [/does not support tools/, () => ollama().chat({ model, messages: [{ role: "tool", content: "rain" }] })],
    [
      /does not support images/,
      () => ollama().chat({ model, messages: [{ role: "user", content: "x", images: ["aa"] }] }),
    ],
    [/keep_alive: got "soon"/, () => ollama().generate({ model, prompt, keep_alive: "soon" })],
    [
      /options.temperature/,
      () => ollama().generate({ model, prompt, options: { temperature: "hot" as unknown as number } }),
    ],
  ])("is refused in words what is not served: %s", async (words, call) => {
    await expect(call()).rejects.toMatchObject({ status_code: 400, message: expect.stringMatching(words) as string });
  });

  test("lists, shows, and says which version it is", async () => {
    const { models } = await ollama().list();
    const listed = models.find(({ name }) => name === model);
    const digest = createHash("sha256")
      .update(await readFile(engine.path))
      .digest("hex");
    expect(listed).toMatchObject({
      model,
      digest,
      details: { format: "gguf", family: "llama", quantization_level: "F32" },
    });
    const shown = await ollama().show({ model });
    expect(shown.capabilities).toEqual(["completion"]);
    expect(shown.modelfile).toContain("FROM");
    expect(Object.entries(shown.model_info)).toContainEqual(["llama.context_length", 1024]);
    expect((await ollama().version()).version).toMatch(/^0\.17\./);
    await expect(ollama().show({ model: "nobody:1" })).rejects.toMatchObject({ status_code: 404 });
    const head = await fetch(engine.ollama.url, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect(await (await fetch(engine.ollama.url)).text()).toBe("Ollama is running");
  });

  test("embeds texts as vectors of length 1, shortened when asked; the older verb gives the model's own length", async () => {
    const { embeddings, prompt_eval_count: tokens } = await ollama().embed({ model, input: ["one", "two"] });
    expect(embeddings).toHaveLength(2);
    expect(tokens).toBe(6);
    for (const vector of embeddings) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    const short = await ollama().embed({ model, input: "one", dimensions: 4 });
    expect(short.embeddings[0]).toHaveLength(4);
    expect(Math.hypot(...(short.embeddings[0] ?? []))).toBeCloseTo(1, 5);
    expect((await ollama().embed({ model, input: [] })).embeddings).toEqual([]);
    const { embedding } = await ollama().embeddings({ model, prompt: "one" });
    const length = Math.hypot(...embedding);
    expect(embedding.map((value) => value / length)[0]).toBeCloseTo(embeddings[0]?.[0] ?? Number.NaN, 5);
    const long = "x".repeat(600);
    expect((await ollama().embed({ model, input: long })).embeddings).toHaveLength(1);
    await expect(ollama().embed({ model, input: long, truncate: false })).rejects.toMatchObject({ status_code: 400 });
    await expect(ollama().embed({ model, input: "one", dimensions: 999 })).rejects.toMatchObject({ status_code: 400 });
  });

  test(
    "lets the model go and loads it again, as it says",
    async () => {
      const gone = await ollama().generate({ model, prompt: "", keep_alive: 0 });
      expect(gone).toMatchObject({ response: "", done: true, done_reason: "unload" });
      await expect.poll(async () => (await ollama().ps()).models).toEqual([]);
      const loaded = await ollama().chat({ model, messages: [], keep_alive: "10m" });
      expect(loaded).toMatchObject({ message: { content: "" }, done: true, done_reason: "load" });
      const [running] = (await ollama().ps()).models;
      expect(running).toMatchObject({ name: model });
      const ms = new Date(running?.expires_at ?? 0).getTime() - Date.now();
      expect(ms).toBeGreaterThan(9 * 60_000);
      expect(ms).toBeLessThan(11 * 60_000);
      await ollama().generate({ model, prompt: "", keep_alive: -1 });
      expect((await ollama().ps()).models[0]?.expires_at).toContain("2318");
    },
    SLOW_MS,
  );

  test(
    "makes a model of an uploaded GGUF, copies it, asks it, and deletes it",
    async () => {
      const bytes = await readFile(engine.path);
      const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      const blob = `${engine.ollama.url}/api/blobs/${digest}`;
      const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
      expect((await fetch(blob, { method: "HEAD" })).status).toBe(404);
      const wrong = await fetch(blob, { method: "POST", headers, body: bytes.subarray(1) });
      expect(wrong.status).toBe(400);
      expect((await fetch(blob, { method: "POST", headers, body: bytes })).status).toBe(201);
      expect((await fetch(blob, { method: "POST", headers, body: bytes })).status).toBe(200);
      expect((await fetch(blob, { method: "HEAD" })).status).toBe(200);
      const steps = (await (await post("/api/create", { model: "mine", files: { "m.gguf": digest } })).text()).trim();
      expect(JSON.parse(steps.split("\n").at(-1) ?? "")).toEqual({ status: "success" });
      const made = await admin().create({
        model: "brief",
        from: "mine",
        system: "Be brief.",
        parameters: { num_predict: 3 },
      });
      expect(made.status).toBe("success");
      expect(await ollama().show({ model: "brief" })).toMatchObject({ system: "Be brief." });
      await admin().copy({ source: "brief", destination: "twin:1" });
      const names = (await ollama().list()).models.map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(["brief:latest", "mine:latest", "tiny:1", "twin:1"]));
      // Its maker's settings hold where a request says nothing.
      const brief = await ollama().generate({ model: "twin:1", prompt });
      expect(brief).toMatchObject({ eval_count: 3, done_reason: "length" });
      const own = await ollama().generate({ model: "twin:1", prompt, options: { num_predict: 5 } });
      expect(own.eval_count).toBe(5);
      for (const name of ["twin:1", "brief", "mine"]) await admin().delete({ model: name });
      expect((await ollama().list()).models.map(({ name }) => name)).toEqual(["tiny:1"]);
      await expect(ollama().generate({ model: "twin:1", prompt })).rejects.toMatchObject({ status_code: 404 });
    },
    2 * SLOW_MS,
  );

  test("is told clearly what cannot be made, copied or deleted", async () => {
    const calls: [() => Promise<unknown>, number][] = [
      [() => admin().create({ model: "x", from: "nobody:1" }), 404],
      [() => admin().create({ model: "../x", from: model }), 400],
      [() => admin().create({ model: "x", from: model, adapters: { a: "sha256:0" } }), 400],
      [() => admin().create({ model: "x", from: model, quantize: "q4_0" }), 400],
      [() => admin().create({ model: "x" }), 400],
      [() => admin().copy({ source: "nobody:1", destination: "x" }), 404],
      [() => admin().copy({ source: model, destination: "a/../../b" }), 400],
      [() => admin().delete({ model: "nobody:1" }), 404],
      [() => admin().delete({ model: "../../etc/passwd" }), 404],
      [() => admin().push({ model }), 501],
    ];
    for (const [call, status] of calls) await expect(call()).rejects.toMatchObject({ status_code: status });
    for (const digest of ["sha256:abc", `sha256:${"g".repeat(64)}`, "..%2f..%2fetc%2fpasswd", "sha1:x"]) {
      for (const method of ["HEAD", "POST"]) {
        const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
        const { status } = await fetch(`${engine.ollama.url}/api/blobs/${digest}`, { method, headers });
        expect([digest, method, status]).toEqual([digest, method, 400]);
      }
    }
    const lied = await post("/api/create", { model: "x", files: { "a.gguf": "sha256:12" }, stream: false });
    expect(lied.status).toBe(400);
  });

  test("aborts what it streams", async () => {
    const client = ollama();
    const stream = await client.generate({ model, prompt, stream: true, options: { num_predict: 400 } });
    setTimeout(() => client.abort(), 30);
    await expect(all(stream)).rejects.toThrow(/abort/i);
    await expect.poll(() => engine.engine.residency.status(model).inFlight).toBe(0);
  });

  test("gets an error of its own kind for an unknown model", async () => {
    const calls = [
      () => ollama().chat({ model: "nobody", messages }),
      () => ollama().embed({ model: "nobody", input: "x" }),
    ];
    for (const call of calls)
      await expect(call()).rejects.toMatchObject({
        status_code: 404,
        message: expect.stringContaining("nobody") as string,
      });
  });
});
