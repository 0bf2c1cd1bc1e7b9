// The fault servers do what they say: a matrix run on servers that never fail would prove nothing.
import { gunzipSync } from "node:zlib";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type FaultyModel, startFaultyModel } from "../../../support/faults/faulty-model.ts";
import { type CallFault, type Phase, PHASES, STRIKES } from "../../../support/faults/matrix.ts";
import { callAsClient } from "../../../support/faults/outcome.ts";
import { type MockModel, startMockModel } from "../../../support/mock-model.ts";

const ANSWER = "Größe — 12 € and 日本 are whole.";
let mock: MockModel;
let faulty: FaultyModel;

beforeAll(async () => {
  mock = await startMockModel("m:1b", { answer: () => ANSWER, prefillMs: 60, tokenMs: 2 });
  faulty = await startFaultyModel(mock.url, "m:1b");
});
afterAll(async () => {
  await faulty.close();
  await mock.close();
});

interface Wire {
  bytes: Buffer;
  /** How the connection was when it was looked at: closed in order, reset, or still open. */
  end: "closed" | "reset" | "open";
  firstBodyByteMs: number | undefined;
}

/** Longest wait for what must come, ms. */
const PATIENCE_MS = 10_000;
/** How long nothing more must come, ms. */
const QUIET_MS = 150;

/** Asks over a bare socket until its end, or until enough came and then a little longer. */
async function ask(fault: CallFault, phase: Phase, enough?: (bytes: Buffer) => boolean): Promise<Wire> {
  faulty.strike = { fault, phase };
  const began = performance.now();
  const { port } = new URL(faulty.url);
  const socket = connect(Number(port), "127.0.0.1");
  const parts: Buffer[] = [];
  let end: Wire["end"] = "open";
  let firstBodyByteMs: number | undefined;
  socket.on("data", (part: Buffer) => {
    parts.push(part);
    const text = Buffer.concat(parts).toString("latin1");
    const head = text.indexOf("\r\n\r\n");
    if (head !== -1 && text.length > head + 4) firstBodyByteMs ??= performance.now() - began;
  });
  const over = new Promise<void>((resolve) => {
    socket.on("error", () => (end = "reset"));
    socket.on("end", () => (end = end === "open" ? "closed" : end));
    socket.on("close", () => resolve());
  });
  const body = JSON.stringify({ model: "m:1b", messages: [{ role: "user", content: "?" }] });
  socket.write(`POST /api/chat HTTP/1.1\r\nhost: m\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  const came = async (): Promise<void> => {
    const until = performance.now() + PATIENCE_MS;
    while (performance.now() < until && enough?.(Buffer.concat(parts)) !== true) await delay(5);
    await delay(QUIET_MS);
  };
  await Promise.race([over, came()]);
  socket.destroy();
  faulty.strike = undefined;
  return { bytes: Buffer.concat(parts), end, firstBodyByteMs };
}

const textOf = ({ bytes }: Wire): string => bytes.toString("utf8");

test("without a strike everything is passed on, in both APIs, streamed and not", async () => {
  for (const api of ["ollama", "openai"] as const)
    for (const stream of [true, false]) {
      const call = { baseUrl: faulty.url, api, model: "m:1b", question: "?", stream, patienceMs: 5_000 };
      expect(await callAsClient(call)).toMatchObject({ kind: "answer", text: ANSWER });
    }
  expect(faulty.struck).toBe(0);
});

test("there are 41 strikes, 205 with five roles", () => {
  expect(STRIKES).toHaveLength(41);
  expect(new Set(STRIKES.map(({ fault, phase }) => `${fault} ${phase}`)).size).toBe(41);
});

describe("on the wire", () => {
  test.each(PHASES)("reset_peer (%s) resets the connection", async (phase) => {
    const wire = await ask("reset_peer", phase);
    expect(wire.end).toBe("reset");
    expect(textOf(wire).includes("Größe")).toBe(phase === "streaming");
  });

  test.each(PHASES)("timeout (%s) leaves it open and silent", async (phase) => {
    const wire = await ask("timeout", phase, (bytes) => phase !== "streaming" || bytes.includes("Größe"));
    expect(wire.end).toBe("open");
    expect(textOf(wire).includes("Größe")).toBe(phase === "streaming");
    expect(textOf(wire)).not.toContain("whole");
  });

  test.each(PHASES)("limit_data (%s) closes it in the middle of a piece", async (phase) => {
    const wire = await ask("limit_data", phase);
    expect(wire.end).toBe("closed");
    expect(textOf(wire).includes("Größe")).toBe(phase === "streaming");
    expect(textOf(wire)).not.toContain("whole");
  });

  test.each(["latency", "slicer", "slow_close"] as const)("%s brings every byte, later", async (fault) => {
    const wire = await ask(fault, "before");
    expect(wire.end).toBe("closed");
    expect(textOf(wire)).toContain("whole");
  });

  test("bandwidth brings a part", async () => {
    const wire = await ask("bandwidth", "streaming", (bytes) => bytes.includes("Größe"));
    expect(wire.end).toBe("open");
    expect(textOf(wire)).toContain("Größe");
    expect(textOf(wire)).not.toContain("whole");
  });

  test.each(PHASES)("500 and 503 (%s) come by status, and in the stream as its error", async (phase) => {
    for (const fault of ["500", "503"] as const) {
      const text = textOf(await ask(fault, phase));
      expect(text.startsWith(`HTTP/1.1 ${phase === "streaming" ? "200" : fault}`)).toBe(true);
      expect(text).toMatch(/"error":"the /);
      if (fault === "503" && phase !== "streaming") expect(text).toMatch(/retry-after: 1/);
    }
  });

  test.each(PHASES)("endless (%s) does not end", async (phase) => {
    const wire = await ask("endless", phase, (bytes) => bytes.length > 100_000);
    expect(wire.end).toBe("open");
    expect(wire.bytes.length).toBeGreaterThan(100_000);
    expect(textOf(wire).includes("\r\n\r\n")).toBe(phase !== "before");
  });

  test.each(PHASES)("gzip-bomb (%s) is small on the wire and large in the memory", async (phase) => {
    const { bytes } = await ask("gzip-bomb", phase);
    expect(bytes.length).toBeLessThan(671_000);
    const head = bytes.indexOf("\r\n\r\n") + 4;
    expect(bytes.subarray(0, head).toString()).toContain("content-encoding: gzip");
    expect(gunzipSync(bytes.subarray(head)).length).toBeGreaterThan(67_000_000);
  });

  test.each(PHASES)("half-json and wrong-model (%s)", async (phase) => {
    expect(textOf(await ask("half-json", phase))).not.toMatch(/\}\n$/);
    expect(textOf(await ask("wrong-model", phase))).toContain('"model":"other:70b"');
  });

  test("prefill strikes after the call has come and before the first word", async () => {
    const wire = await ask("half-json", "prefill");
    expect(wire.firstBodyByteMs).toBeGreaterThanOrEqual(19);
  });
});

test("struck connections are counted until they are closed", async () => {
  expect(faulty.struck).toBeGreaterThan(20);
  await expect.poll(() => faulty.struckOpen()).toBe(0);
});
