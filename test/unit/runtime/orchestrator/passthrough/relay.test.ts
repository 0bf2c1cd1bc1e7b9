import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import type { MockFault } from "../../../../support/mock-model.ts";
import { openMockEnsemble } from "../../../../support/open-ensembles.ts";

const DEADLINES = { rewriteMs: 1_500, candidatesMs: 1_500, judgeMs: 1_500, totalMs: 1_500 };
const chat = (model: string, more: object = {}) => ({ model, messages: [{ role: "user", content: "Hi" }], ...more });
const post = (url: string, path: string, body: unknown, init: RequestInit = {}) =>
  fetch(`${url}${path}`, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), ...init });

describe("one model behind a fault", () => {
  test.each<[MockFault, number, RegExp]>([
    ["stall", 504, /did not finish within 1500 ms/],
    ["reset", 503, /no connection/],
    ["500", 502, /answered 500: the runner crashed/],
    ["503", 503, /loading/],
    ["garbage", 502, /not of its API/],
  ])("(%s) has one typed error in its dialect", async (fault, status, message) => {
    const { url } = await openMockEnsemble({ qwen: { fault: () => fault } }, { deadlines: DEADLINES });
    const response = await post(url, "/v1/chat/completions", chat("qwen"));
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error: { message: expect.stringMatching(message) as string } });
  });

  test.each<[MockFault, RegExp]>([
    ["stall-mid", /did not finish within 1500 ms/],
    ["reset-mid", /no connection/],
    ["eof-mid", /ended before it was done/],
    ["endless", /did not finish within 1500 ms/],
  ])("(%s) in the middle of a stream ends in an error of the stream", async (fault, message) => {
    const { url } = await openMockEnsemble(
      { qwen: { fault: () => fault }, llama: { fault: () => fault } },
      { deadlines: DEADLINES },
    );
    const events = await (await post(url, "/v1/chat/completions", chat("qwen", { stream: true }))).text();
    const last = JSON.parse(
      events
        .trim()
        .split("\n\n")
        .at(-1)
        ?.replace(/^data: /, "") ?? "",
    ) as unknown;
    expect(last).toMatchObject({ error: { message: expect.stringMatching(message) as string } });
    const lines = await (await post(url, "/api/chat", chat("llama"))).text();
    expect(JSON.parse(lines.trim().split("\n").at(-1) ?? "")).toMatchObject({
      error: expect.stringMatching(message) as string,
    });
  });

  test("is tried once more while nothing was streamed, not after", async () => {
    const { url, mocks } = await openMockEnsemble({
      qwen: { fault: (_, number) => (number === 0 ? "reset" : undefined) },
    });
    const response = await post(url, "/v1/chat/completions", chat("qwen"));
    expect(response.status).toBe(200);
    expect(mocks.qwen.calls).toHaveLength(2);
    mocks.qwen.behaviour.fault = () => "reset-mid";
    await (await post(url, "/v1/chat/completions", chat("qwen", { stream: true }))).text();
    expect(mocks.qwen.calls).toHaveLength(3);
  });

  test("is left alone after failures in a row", async () => {
    const { url, mocks } = await openMockEnsemble(
      { qwen: { fault: () => "500" } },
      { breaker: { failures: 2, openMs: 60_000, longestMs: 60_000 } },
    );
    for (let i = 0; i < 2; i++) await post(url, "/v1/chat/completions", chat("qwen"));
    const refused = await post(url, "/v1/chat/completions", chat("qwen"));
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(50);
    expect(mocks.qwen.calls).toHaveLength(2);
  });
});

describe("a client", () => {
  test.each([
    ["qwen", "stall"],
    ["qwen", "stall-mid"],
    ["llama", "stall"],
  ] as const)("that goes away closes the connection of %s (%s)", async (model, fault) => {
    const { url, mocks } = await openMockEnsemble({ [model]: { fault: () => fault } });
    const client = new AbortController();
    const asked = post(url, "/v1/chat/completions", chat(model, { stream: true }), { signal: client.signal })
      .then((response) => response.text())
      .catch((error: unknown) => error);
    await expect.poll(() => mocks[model].calls.length).toBe(1);
    client.abort();
    await asked;
    await expect.poll(() => mocks[model].calls[0]?.closedEarly, { timeout: 2_000 }).toBe(true);
    const metrics = async () => (await fetch(`${url}/metrics`)).text();
    await expect.poll(metrics).toContain(`gorkheavy_passed_total{member="${model}",outcome="cancelled"} 1`);
    expect(await metrics()).toContain("gorkheavy_passed_in_flight 0");
  });

  test("that does not read stops the model's server from writing", async () => {
    const written = { bytes: 0 };
    const piece = `data: ${JSON.stringify({ choices: [{ delta: { content: "x".repeat(10_000) } }] })}\n\n`;
    const { url, mocks } = await openMockEnsemble();
    const { host, port } = new URL(url);
    mocks.qwen.behaviour.reply = () => ({
      headers: { "content-type": "text/event-stream" },
      body: piece.repeat(20_000),
    });
    const socket = connect(Number(port), host.split(":")[0]);
    socket.pause();
    const body = JSON.stringify(chat("qwen", { stream: true }));
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    await expect.poll(() => mocks.qwen.calls.length).toBe(1);
    const used = () => process.memoryUsage().arrayBuffers;
    const before = used();
    await new Promise((resolve) => setTimeout(resolve, 500));
    // 200 MB are on offer; only what the sockets and one buffer hold is taken.
    expect(used() - before).toBeLessThan(50_000_000);
    written.bytes = socket.bytesRead;
    expect(written.bytes).toBeLessThan(1_000_000);
    socket.destroy();
  });

  test("is told when too many calls are passed on", async () => {
    const { url } = await openMockEnsemble(
      { qwen: { fault: () => "stall" } },
      { limits: { passed: 1 }, deadlines: DEADLINES },
    );
    const first = post(url, "/v1/chat/completions", chat("qwen"));
    const metrics = async () => (await fetch(`${url}/metrics`)).text();
    await expect.poll(metrics).toContain("gorkheavy_passed_in_flight 1");
    const second = await post(url, "/v1/chat/completions", chat("qwen"));
    expect([second.status, second.headers.get("retry-after")]).toEqual([503, "1"]);
    await first;
  });

  test("keeps its own request id, unless it is unfit for a log", async () => {
    const { url } = await openMockEnsemble();
    const idOf = async (id: string) =>
      (await post(url, "/v1/chat/completions", chat("qwen"), { headers: { "x-request-id": id } })).headers.get(
        "x-request-id",
      );
    expect(await idOf("abc-1")).toBe("abc-1");
    expect(await idOf("a b")).toMatch(/^[0-9a-f-]{36}$/);
    expect(await idOf("a".repeat(200))).toMatch(/^[0-9a-f-]{36}$/);
  });

  test.each([
    ["too large", "x".repeat(5_000), {}, 413],
    ["not UTF-8", Buffer.from([0x7b, 0xff, 0x7d]), {}, 400],
    ["compressed", "{}", { "content-encoding": "gzip" }, 415],
    ["a form", "{}", { "content-type": "multipart/form-data" }, 415],
    ["empty", "", {}, 400],
  ])("whose body is %s is refused in its dialect", async (_, body, headers, status) => {
    const { url } = await openMockEnsemble({}, { limits: { bodyBytes: 2048 } });
    for (const [path, shape] of [
      ["/api/chat", { error: expect.any(String) as string }],
      ["/v1/chat/completions", { error: { message: expect.any(String) as string, type: "invalid_request_error" } }],
    ] as const) {
      const response = await fetch(`${url}${path}`, { method: "POST", body, headers });
      expect(response.status).toBe(status);
      expect(await response.json()).toMatchObject(shape);
    }
  });
});

test("a rollout lets a stream end that has begun", async () => {
  const { url, orchestrator } = await openMockEnsemble({ qwen: { tokenMs: 60 } });
  const response = await post(url, "/v1/chat/completions", chat("qwen", { stream: true }));
  const stopped = orchestrator.stop(5_000);
  expect(await response.text()).toContain("[DONE]");
  await stopped;
});
