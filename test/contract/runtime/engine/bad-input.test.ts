import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RunningEngine } from "../../../../runtime/engine/serve.ts";
import { ADMIN_TOKEN, engineWith, MODEL } from "../../../support/engine-with.ts";
import { exchange } from "../../../support/raw-http.ts";

let engine: RunningEngine;
beforeAll(async () => {
  engine = await engineWith();
  await engine.engine.residency.load(MODEL);
});
afterAll(() => engine.stop(0));

const messages = [{ role: "user", content: "Hello" }];
/** Each API's endpoint that reads a body: port, path, a good body, a field of the wrong type. */
const POSTS = [
  ["ollama", "/api/generate", { model: MODEL, prompt: "x" }, { prompt: 7 }],
  ["ollama", "/api/chat", { model: MODEL, messages }, { messages: "x" }],
  ["ollama", "/api/embed", { model: MODEL, input: "x" }, { input: { a: 1 } }],
  ["ollama", "/api/embeddings", { model: MODEL, prompt: "x" }, { prompt: [] }],
  ["ollama", "/api/show", { model: MODEL }, { model: 7 }],
  ["ollama", "/api/pull", { model: MODEL }, { model: ["x"] }],
  ["ollama", "/api/create", { model: "x", from: MODEL }, { files: "x" }],
  ["ollama", "/api/copy", { source: MODEL, destination: "x" }, { source: 1 }],
  ["main", "/v1/chat/completions", { model: MODEL, messages }, { messages: [{ role: "nobody", content: "x" }] }],
  ["main", "/v1/completions", { model: MODEL, prompt: "x" }, { prompt: { a: 1 } }],
  ["main", "/v1/embeddings", { model: MODEL, input: "x" }, { encoding_format: "int8" }],
  ["main", "/v1/responses", { model: MODEL, input: "x" }, { input: 7 }],
  ["main", "/chat", { model: MODEL, messages }, { temperature: "hot" }],
  ["main", "/generate", { model: MODEL, prompt: "x" }, { unknown_field: 1 }],
  ["main", "/embeddings", { model: MODEL, input: "x" }, { input: [] }],
  ["main", "/admin/pull", { model: MODEL }, { digest: "abc" }],
  ["main", "/admin/create", { model: "x", from: MODEL }, { path: "/also" }],
  ["main", "/admin/copy", { from: MODEL, to: "x" }, { to: "../x" }],
] as const;

type Post = (typeof POSTS)[number];

async function send([port, path]: Post, body: string | Buffer, headers: Record<string, string> = {}) {
  const all = { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json", ...headers };
  const response = await fetch(`${engine[port].url}${path}`, {
    method: "POST",
    headers: all,
    body: new Uint8Array(Buffer.from(body)),
  });
  const error = ((await response.json()) as { error?: unknown }).error;
  return { status: response.status, error };
}

/** The error object has the shape of its API. */
function expectShape([port, path]: Post, error: unknown): void {
  if (path.startsWith("/v1/"))
    expect(error).toMatchObject({ message: expect.any(String) as string, type: expect.any(String) as string });
  else if (port === "ollama") expect(error).toBeTypeOf("string");
  else expect(error).toMatchObject({ code: expect.any(String) as string, message: expect.any(String) as string });
}

describe.each(POSTS.map((post) => ({ post, path: post[1] })))("$path", ({ post }) => {
  const [port, path, good, wrong] = post;

  test.each<[string, string | Buffer, number]>([
    ["nothing", "", 400],
    ["half a document", JSON.stringify(good).slice(0, -1), 400],
    ["a list", "[]", 400],
    ["null", "null", 400],
    ["deep nesting", `{"model":"x","x":${"[".repeat(200)}${"]".repeat(200)}}`, 400],
    ["bad UTF-8", Buffer.concat([Buffer.from('{"model":"'), Buffer.from([0xff, 0xc0]), Buffer.from('"}')]), 400],
    ["a wrong type", JSON.stringify({ ...good, ...wrong }), 400],
  ])("%s is refused in its API's words", async (_, body, status) => {
    const answer = await send(post, body);
    expect(answer.status).toBe(status);
    expectShape(post, answer.error);
  });

  test("a body that is too large is refused before it comes", async () => {
    const head = `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${ADMIN_TOKEN}\r\ncontent-length: 99999999999\r\n\r\n{`;
    const { answers } = await exchange(engine[port].port, [head]);
    expect(answers[0]?.status).toBe(413);
  });

  test("a type or a coding that is not JSON is refused", async () => {
    const body = JSON.stringify(good);
    expect((await send(post, body, { "content-type": "text/html" })).status).toBe(415);
    expect((await send(post, body, { "content-encoding": "gzip" })).status).toBe(415);
  });

  test("a model that is none is refused, whatever it is called", async () => {
    const field = "model" in good ? "model" : "source" in good ? "source" : "from";
    // These two make or bring what is named.
    const made = path.endsWith("pull") || path.endsWith("create");
    for (const name of [
      "nobody:1b",
      "../../etc/passwd",
      "a\u0000b",
      "%2e%2e/x",
      "C:\\x",
      "x".repeat(10_000),
      "💥",
      "__proto__",
    ]) {
      if (made && ["nobody:1b", "__proto__"].includes(name)) continue;
      const answer = await send(post, JSON.stringify({ ...good, [field]: name }));
      expect([name.slice(0, 20), made ? [400] : [400, 404]]).toEqual([
        name.slice(0, 20),
        expect.arrayContaining([answer.status]),
      ]);
      expectShape(post, answer.error);
      expect(JSON.stringify(answer.error).length).toBeLessThan(2_000);
    }
  });
});

test("fields that nobody knows are ignored where Ollama and OpenAI ignore them", async () => {
  for (const post of POSTS.filter(([port, path]) => port === "ollama" || path.startsWith("/v1/"))) {
    const [, path, good] = post;
    if (/embed|create|copy/.test(path)) continue;
    const answer = await send(
      post,
      JSON.stringify({ ...good, stream: false, nobody_knows: { a: 1 }, options: { mirostat: 1 } }),
    );
    expect([path, answer.status, answer.error ?? null]).toEqual([path, 200, null]);
  }
});

test("embeddings of a backend that makes none are refused as not supported", async () => {
  for (const post of POSTS.filter(([, path]) => path.includes("embed")))
    expect((await send(post, JSON.stringify(post[2]))).status).toBe(501);
});

test("what is nowhere is 404, and a wrong method 405 with what is allowed, in each API's words", async () => {
  for (const [port, path, wanted] of [
    ["ollama", "/api/nothing", 404],
    ["ollama", "/nothing", 404],
    ["main", "/nothing", 404],
    ["main", "/v1/nothing", 404],
    ["main", "/api/generate", 404],
    ["ollama", "/chat", 404],
    ["ollama", "/api/generate", 405],
    ["main", "/chat", 405],
    ["main", "/v1/completions", 405],
    ["main", "/%", 404],
    ["main", "/models/%ff", 404],
    ["main", "/models/nobody:1", 404],
    ["main", "/models/..%2f..%2fetc", 404],
  ] as const) {
    const { status, headers, error } = await fetch(`${engine[port].url}${path}`).then(async (r) => ({
      status: r.status,
      headers: r.headers,
      ...((await r.json()) as { error: unknown }),
    }));
    expect([path, status]).toEqual([path, wanted]);
    expectShape([port, path] as unknown as Post, error);
    if (status === 405) expect(headers.get("allow")).toBe("POST");
  }
});
