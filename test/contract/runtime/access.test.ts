import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { createKey, revokeKey } from "../../../runtime/orchestrator/access/command.ts";
import { makeKey } from "../../../runtime/orchestrator/access/secret.ts";
import { type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";
import { connectRaw } from "../../support/horn-client.ts";

let dir: string;
let keysFile: string;
let service: MockEnsemble;
const keys: Record<"ann" | "bob" | "any" | "few" | "scarce" | "picky", string> = {
  ann: "",
  bob: "",
  any: "",
  few: "",
  scarce: "",
  picky: "",
};

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "gorkheavy-access-"));
  keysFile = join(dir, "keys.yaml");
  keys.ann = await createKey(keysFile, { id: "ann", user: "ann" });
  keys.bob = await createKey(keysFile, { id: "bob", user: "bob" });
  keys.any = await createKey(keysFile, { id: "any" });
  keys.few = await createKey(keysFile, { id: "few", requestsPerMinute: 2 });
  keys.scarce = await createKey(keysFile, { id: "scarce", tokensPerDay: 1 });
  keys.picky = await createKey(keysFile, { id: "picky", models: ["gorkheavy:latest"] });
  service = await startMockEnsemble(
    {},
    {
      // The test's own address is a proxy's, so that it can be anybody.
      access: { keysFile, trustedProxies: ["127.0.0.0/8"], failuresPerMinute: 20 },
      horn: { heartbeatMs: 100 },
    },
  );
});
afterAll(async () => {
  await service.close();
  await rm(dir, { recursive: true, force: true });
});

/** An address that no other test has used. */
let address = "";
let next = 0;
beforeEach(() => {
  address = `203.0.113.${++next}`;
});

interface Asked {
  key?: string;
  body?: unknown;
  headers?: Record<string, string>;
  from?: string;
}

function ask(path: string, { key, body, headers = {}, from = address }: Asked = {}): Promise<Response> {
  return fetch(`${service.url}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      "content-type": "application/json",
      "x-forwarded-for": from,
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

const USER = { role: "user", content: "Why?" };
const DOORS: [path: string, body: unknown, error: unknown][] = [
  ["/ask", { question: "Why?" }, { error: { code: "unauthorized" } }],
  ["/ask", { question: "Why?", stream: true }, { error: { code: "unauthorized" } }],
  ["/v1/ask", { question: "Why?" }, { error: { code: "unauthorized" } }],
  ["/v1/chat/completions", { model: "gorkheavy", messages: [USER] }, { error: { type: "authentication_error" } }],
  ["/v1/chat/completions", { model: "qwen", messages: [USER] }, { error: { type: "authentication_error" } }],
  ["/api/chat", { model: "llama", messages: [USER] }, { code: "unauthorized" }],
  ["/api/chat", { model: "gorkheavy", messages: [USER], stream: false }, { code: "unauthorized" }],
  ["/api/generate", { model: "gorkheavy", prompt: "Why?", stream: false }, { code: "unauthorized" }],
  ["/api/tags", undefined, { code: "unauthorized" }],
  ["/v1/models", undefined, { error: { type: "authentication_error" } }],
  ["/no/such/path", undefined, { error: { code: "unauthorized" } }],
];

describe("every door", () => {
  test.each(DOORS)("%s %j is shut without a key, in its own dialect, and opens with one", async (path, body, error) => {
    const calls = () => Object.values(service.mocks).reduce((sum, mock) => sum + mock.calls.length, 0);
    const before = calls();
    for (const key of [undefined, "bogus", makeKey("ann"), makeKey("nobody")]) {
      const refused = await ask(path, { body, ...(key === undefined ? {} : { key }) });
      expect(refused.status).toBe(401);
      expect(refused.headers.get("www-authenticate")).toBe('Bearer realm="gorkheavy"');
      expect(await refused.json()).toMatchObject(error as object);
    }
    expect(calls()).toBe(before);
    const opened = await ask(path, { body, key: keys.ann });
    await opened.text();
    expect(opened.status).toBe(path === "/no/such/path" ? 404 : 200);
  });

  test("is open to probes, and figures are", async () => {
    for (const path of ["/", "/healthz", "/readyz", "/metrics", "/openapi.json"])
      expect((await ask(path)).status).toBe(200);
  });

  test("is shut before the body is read", async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const { port } = service.orchestrator.listening;
      const client = request(
        {
          port,
          path: "/ask",
          method: "POST",
          headers: { "x-forwarded-for": address, "content-length": String(1024 ** 3) },
        },
        (answer) => {
          resolve(answer.statusCode);
          client.destroy();
        },
      );
      client.on("error", reject);
      client.write("{");
    });
    expect(status).toBe(401);
  });
});

describe("the limiter", () => {
  test("counts wrong keys by address, whatever is sent along and in whatever way the address is written", async () => {
    const statuses: number[] = [];
    const spellings = [address, `::ffff:${address}`, `::FFFF:cb00:71${next.toString(16).padStart(2, "0")}`];
    for (let time = 0; time < 24; time++) {
      const answer = await ask("/api/tags", {
        from: spellings[time % 3] ?? address,
        ...(time % 2 === 0 ? { key: time % 4 === 0 ? "bogus" : makeKey("ann") } : {}),
        headers: { "x-device-token": `bogus-${time}`, "x-real-ip": `10.0.0.${time}` },
      });
      await answer.text();
      statuses.push(answer.status);
      if (answer.status === 429) expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    expect(statuses.slice(0, 20).every((status) => status === 401)).toBe(true);
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(3);
    expect((await ask("/api/tags", { key: keys.ann })).status).toBe(200);
  });

  test("takes the whole /64 of an IPv6 client as one", async () => {
    const from = (at: number): string => `2001:db8:aaaa:bbbb:${at.toString(16)}::${at}`;
    let last = 0;
    for (let time = 1; time <= 22; time++) last = (await ask("/api/tags", { from: from(time) })).status;
    expect(last).toBe(429);
  });

  test("counts a key's requests on all doors together, and says what is left", async () => {
    const first = await ask("/ask", { key: keys.few, body: { question: "Why?" } });
    expect(first.headers.get("ratelimit-limit")).toBe("2");
    expect(first.headers.get("ratelimit-remaining")).toBe("1");
    const second = await ask("/api/chat", { key: keys.few, body: { model: "llama", messages: [USER] } });
    expect(second.status).toBe(200);
    expect(second.headers.get("ratelimit-remaining")).toBe("0");
    const third = await ask("/v1/models", { key: keys.few });
    expect(third.status).toBe(429);
    expect(Number(third.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(third.headers.get("ratelimit-remaining")).toBe("0");
    expect(await third.json()).toMatchObject({ error: { type: "rate_limit_error" } });
    const horn = await connectRaw({ url: service.url, hello: { type: "hello", token: keys.few } });
    horn.send({ type: "ask", id: "q", question: "Why?" });
    await horn.wait((frame) => frame.type === "event");
    expect(horn.frames.at(-1)).toMatchObject({ event: { event: "error", error: { code: "rate_limited" } } });
    horn.socket.terminate();
  });

  test("counts the tokens that answers cost", async () => {
    expect((await ask("/ask", { key: keys.scarce, body: { question: "Why?" } })).status).toBe(200);
    const refused = await ask("/ask", { key: keys.scarce, body: { question: "Why?" } });
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({
      error: { message: expect.stringContaining("1 tokens a day") as string },
    });
  });
});

describe("a key", () => {
  test("asks as its own user and nobody else, on every door", async () => {
    const answer = await ask("/ask", { key: keys.ann, body: { question: "Why?" } });
    expect(await answer.json()).toMatchObject({ user: "ann" });
    expect((await ask("/ask", { key: keys.ann, body: { question: "Why?", user: "bob" } })).status).toBe(403);
    const chat = { model: "gorkheavy", messages: [USER], stream: false };
    expect((await ask("/api/chat", { key: keys.ann, body: chat, headers: { "x-gorkheavy-user": "bob" } })).status).toBe(
      403,
    );
    const horn = await connectRaw({ url: service.url, hello: { type: "hello", token: keys.ann } });
    horn.send({ type: "ask", id: "q", question: "Why?", user: "bob" });
    await horn.wait((frame) => frame.type === "event");
    expect(horn.frames.at(-1)).toMatchObject({ event: { event: "error", error: { code: "forbidden" } } });
    horn.socket.terminate();
    expect(await (await ask("/ask", { key: keys.any, body: { question: "Why?", user: "eve" } })).json()).toMatchObject({
      user: "eve",
    });
  });

  test("of some models gets no other", async () => {
    const chat = (model: string) => ask("/v1/chat/completions", { key: keys.picky, body: { model, messages: [USER] } });
    expect((await chat("gorkheavy")).status).toBe(200);
    expect((await chat("qwen")).status).toBe(403);
    expect((await chat("qwen:1b")).status).toBe(403);
  });

  test("that is taken back ends the streams and sockets that it opened", async () => {
    const key = await createKey(keysFile, { id: `brief-${next}`, user: "brief" });
    await expect.poll(async () => (await ask("/api/tags", { key })).status, { timeout: 10_000 }).toBe(200);
    for (const mock of Object.values(service.mocks)) Object.assign(mock.behaviour, { tokenMs: 400 });
    const socket = await connectRaw({ url: service.url, hello: { type: "hello", token: key } });
    const closed = new Promise<number>((resolve) => socket.socket.on("close", resolve));
    const body = { model: "llama", messages: [USER], stream: true };
    service.mocks.llama.behaviour.answer = () => "word ".repeat(200);
    const streams = await Promise.all([
      ask("/api/chat", { key, body }),
      ask("/ask", { key, body: { question: "Why?", stream: true } }),
    ]);
    const ends = streams.map((answer) =>
      answer.text().then(
        () => "whole",
        () => "cut",
      ),
    );
    await revokeKey(keysFile, `brief-${next}`);
    expect(await Promise.all(ends)).toEqual(["cut", "cut"]);
    expect(await closed).toBe(4401);
    expect((await ask("/api/tags", { key })).status).toBe(401);
    for (const mock of Object.values(service.mocks)) Object.assign(mock.behaviour, { tokenMs: 0 });
    service.mocks.llama.behaviour.answer = () => "An answer by llama here.";
  }, 40_000);
});

describe("the horn", () => {
  test("refuses a wrong key in the header or the first frame, and takes a right one in either", async () => {
    const { port } = service.orchestrator.listening;
    const shut = new WebSocket(`ws://127.0.0.1:${port}/horn`, ["gorkheavy.json.v1"], {
      headers: { authorization: `Bearer ${makeKey("ann")}`, "x-forwarded-for": address },
    });
    const status = await new Promise<number | undefined>((resolve) => {
      shut.on("unexpected-response", (_, answer) => resolve(answer.statusCode));
      shut.on("error", () => undefined);
    });
    expect(status).toBe(401);
    for (const token of [undefined, makeKey("ann")]) {
      const late = new WebSocket(`ws://127.0.0.1:${port}/horn`, ["gorkheavy.json.v1"], {
        headers: { "x-forwarded-for": address },
      });
      late.on("open", () => late.send(JSON.stringify({ type: "hello", token })));
      expect(await new Promise<number>((resolve) => late.on("close", resolve))).toBe(4401);
    }
    const open = new WebSocket(`ws://127.0.0.1:${port}/horn`, ["gorkheavy.json.v1"], {
      headers: { authorization: `Bearer ${keys.ann}`, "x-forwarded-for": address },
    });
    open.on("open", () => open.send(JSON.stringify({ type: "hello" })));
    const frame = await new Promise<string>((resolve) =>
      open.on("message", (data: Buffer) => resolve(data.toString())),
    );
    expect(JSON.parse(frame)).toMatchObject({ type: "welcome" });
    open.terminate();
  });
});

test("refusals are counted by reason, and no key or user is in the figures", async () => {
  const text = await (await ask("/metrics")).text();
  expect(text).toMatch(/gorkheavy_access_refusals_total\{reason="wrong_key"\} [1-9]/);
  expect(text).toMatch(/gorkheavy_access_refusals_total\{reason="too_many_failures"\} [1-9]/);
  expect(text).toMatch(/gorkheavy_access_keys \d/);
  expect(text).not.toMatch(/gh_|"ann"|brief/);
});
