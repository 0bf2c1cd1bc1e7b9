// A rollout under load: no question is lost or cut, the service says not ready first, and it ends within a second of its last answer.
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listen } from "../../../../runtime/support/listen.ts";
import { MEMBERS, memberAt } from "../../../support/ensemble.ts";
import { callAsClient } from "../../../support/faults/outcome.ts";
import { connectRaw, over } from "../../../support/horn-client.ts";
import { type MockModel, startMockModel } from "../../../support/mock-model.ts";
import { type ServiceProcess, startServiceProcess } from "../../../support/service-process.ts";

/** From saying not ready to taking no more in a cluster, ms. Source: runtime/support/shutdown.ts. */
const LAME_DUCK_MS = 3_000;
/** What a busy machine may take longer, ms: much less than the 15 s after which Node closes a socket that never asked. */
const SLACK_MS = 5_000;
const TOKEN_MS = 15;
const ANSWER = Array.from({ length: 40 }, (_, at) => `word${at}`).join(" ");

describe("SIGTERM under load", () => {
  let mocks: MockModel[] = [];
  beforeAll(async () => {
    mocks = await Promise.all(
      MEMBERS.map((name) =>
        startMockModel(`${name}:1b`, name === "judge" ? {} : { answer: () => ANSWER, tokenMs: TOKEN_MS }),
      ),
    );
  });
  afterAll(() => Promise.all(mocks.map((mock) => mock.close())));

  const places: { where: string; env: Record<string, string>; lameDuckMs: number; askedMs: number }[] = [
    { where: "in a cluster", env: { KUBERNETES_SERVICE_HOST: "10.0.0.1" }, lameDuckMs: LAME_DUCK_MS, askedMs: 400 },
    { where: "on its own", env: {}, lameDuckMs: 0, askedMs: 150 },
  ];
  test.for(places)("loses nothing $where", { timeout: 90_000 }, async ({ env, lameDuckMs, askedMs }) => {
    const members = MEMBERS.map((name, index) => memberAt(name, mocks[index]?.url ?? ""));
    const service = await startServiceProcess({ members, store: { kind: "process" } }, env);
    const seen: Seen = { whole: 0, knocks: 0, problems: [], lastMs: 0 };
    const silent = [await open(service.port), await open(service.port)];
    try {
      const asking = [
        askAgain(service, seen, "llama", true),
        askAgain(service, seen, "llama", false),
        askAgain(service, seen, "qwen", true),
        askAgain(service, seen, "gorkheavy:latest", true),
        speak(service, seen),
        knock(service, seen),
        knock(service, seen),
      ];
      while (seen.whole < 4 || seen.knocks < 4) await delay(5);
      await delay(askedMs);
      const stoppedMs = performance.now();
      service.signal("SIGTERM");
      const notReady = lameDuckMs > 0 ? readiness(service) : Promise.resolve(503);
      await Promise.all(asking);
      expect(await Promise.race([service.ended, delay(30_000, "runs on")])).toBe(0);
      const endedMs = performance.now();
      expect(seen.problems).toEqual([]);
      expect(seen.whole, "answers after it").toBeGreaterThan(4);
      expect(await notReady, "its readiness").toBe(503);
      expect(endedMs - stoppedMs).toBeGreaterThan(lameDuckMs);
      expect(endedMs - Math.max(seen.lastMs, stoppedMs + lameDuckMs)).toBeLessThan(1_000 + SLACK_MS);
    } finally {
      for (const socket of silent) socket.destroy();
      await service.close();
    }
  });
});

describe("a server that drains", () => {
  /** So long that a test which waits for it fails. */
  const GRACE_MS = 60_000;

  test("closes sockets that never asked, and those that began to", async () => {
    const server = await listen({ fetch: () => new Response("there") }, "127.0.0.1", 0);
    const silent = await open(server.port);
    const slow = await open(server.port);
    slow.write("GET / HTTP/1.1\r\nho");
    const began = performance.now();
    const closed = Promise.all([textOf(silent), textOf(slow)]);
    await server.drain(GRACE_MS);
    expect(await closed).toEqual(["", ""]);
    expect(performance.now() - began).toBeLessThan(1_000 + SLACK_MS);
  });

  test("answers what was on its way over an idle socket, and over one that had not asked yet", async () => {
    const server = await listen({ fetch: () => new Response("there") }, "127.0.0.1", 0);
    const idle = await open(server.port);
    const first = new Promise((heard) => idle.once("data", heard));
    idle.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    await first;
    const fresh = await open(server.port);
    const drained = server.drain(GRACE_MS);
    await delay(100);
    const heard = [textOf(idle), textOf(fresh)];
    for (const socket of [idle, fresh]) socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    expect(await Promise.all(heard)).toEqual([expect.stringMatching(/there$/), expect.stringMatching(/there$/)]);
    await drained;
  });

  test("answers all who had connected before it", async () => {
    const server = await listen({ fetch: () => new Response("there") }, "127.0.0.1", 0);
    // Their handshakes are done by the kernel, long before the server has taken them.
    const waiting = Array.from({ length: 40 }, async () => {
      const socket = await open(server.port);
      socket.write("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
      return textOf(socket);
    });
    await new Promise<void>((called) => process.nextTick(called));
    const drained = server.drain(GRACE_MS);
    const answers = await Promise.allSettled(waiting);
    expect(answers.filter((one) => one.status === "rejected" || !one.value.endsWith("there"))).toEqual([]);
    await drained;
  });

  test("lets a slow reader read its answer to the end", async () => {
    const body = "x".repeat(32 * 1024 * 1024);
    const server = await listen({ fetch: () => new Response(body) }, "127.0.0.1", 0);
    const reader = await open(server.port);
    reader.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    const first = await new Promise<Buffer>((heard) => reader.once("data", heard));
    reader.pause();
    const drained = server.drain(GRACE_MS);
    await delay(1_000);
    const rest = await textOf(reader);
    const text = first.toString("latin1") + rest;
    expect(text.length - text.indexOf("\r\n\r\n") - 4).toBe(body.length);
    await drained;
  });

  test("cuts at the end of the time it was given", async () => {
    const server = await listen({ fetch: () => new Promise(() => {}) }, "127.0.0.1", 0);
    const waiting = await open(server.port);
    waiting.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    await delay(50);
    const began = performance.now();
    await server.drain(1_200);
    expect(performance.now() - began).toBeGreaterThan(1_100);
    expect(await textOf(waiting)).toBe("");
  });
});

/** What clients saw. */
interface Seen {
  /** Answers that came whole. */
  whole: number;
  /** Connections that were answered. */
  knocks: number;
  problems: string[];
  /** When the last answer was whole, `performance.now()`. */
  lastMs: number;
}

/** Asks one question after another until nobody listens any more. Whoever was let in must be answered whole. */
async function askAgain(service: ServiceProcess, seen: Seen, model: string, stream: boolean): Promise<void> {
  for (;;) {
    const call = { baseUrl: service.url, api: "openai", model, question: "Why?", stream, patienceMs: 20_000 } as const;
    const outcome = await callAsClient(call);
    if (outcome.kind === "answer" && outcome.text === ANSWER) answered(seen);
    else if (outcome.broke === "ECONNREFUSED") return;
    else seen.problems.push(`${model}: ${JSON.stringify(outcome).slice(0, 200)}`);
  }
}

/** Asks over the horn until it is closed; what was asked and not refused must be answered. */
async function speak(service: ServiceProcess, seen: Seen): Promise<void> {
  const client = await connectRaw({ url: service.url });
  let closed = false;
  void client.closed.then(() => (closed = true));
  await client.wait(({ type }) => type === "welcome");
  for (let at = 0; !closed; at++) {
    const id = `q${at}`;
    client.send({ type: "ask", id, question: "Why?" });
    const last = await Promise.race([
      client.wait((frame) => over(id)(frame) || (frame.type === "refused" && frame.id === id)),
      client.closed,
    ]);
    if (typeof last === "number") {
      // Closed between two questions: this one was sent into a closing socket and nothing of it came back.
      if (client.frames.some((frame) => frame.type === "event" && frame.id === id)) seen.problems.push("horn: cut");
      return;
    }
    if (last.type === "refused") return;
    if (last.type === "event" && last.event.event === "answer" && last.event.answer.reply === ANSWER) answered(seen);
    else seen.problems.push(`horn: ${JSON.stringify(last).slice(0, 200)}`);
  }
}

/**
 * Opens one connection after another and asks over it, until it is refused: never let in and then dropped. Only the one that the kernel let in during
 * the microseconds in which the port closed may be, as its last.
 */
async function knock(service: ServiceProcess, seen: Seen): Promise<void> {
  const dropped: string[] = [];
  for (;;) {
    let socket: Socket;
    try {
      socket = await open(service.port);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED") seen.problems.push(`knock: ${String(error)}`);
      if (dropped.length > 1) seen.problems.push(...dropped);
      return;
    }
    socket.write("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    const text = await textOf(socket);
    if (text === "") dropped.push(`knock ${seen.knocks}: let in and told nothing`);
    else if (!text.startsWith("HTTP/1.1 200")) seen.problems.push(`knock: told ${JSON.stringify(text)}`);
    else {
      seen.knocks++;
      seen.problems.push(...dropped.splice(0));
    }
    await delay(10);
  }
}

function answered(seen: Seen): void {
  seen.whole++;
  seen.lastMs = performance.now();
}

function open(port: number): Promise<Socket> {
  return new Promise((opened, fail) => {
    const socket = connect(port, "127.0.0.1", () => opened(socket));
    socket.on("error", fail);
  });
}

/** All that comes over a socket until it is closed. */
function textOf(socket: Socket): Promise<string> {
  return new Promise((done) => {
    let text = "";
    socket.setEncoding("latin1");
    socket.on("data", (part: string) => (text += part));
    socket.on("close", () => done(text));
    socket.resume();
  });
}

/** The first status of the probe that is not 200. */
async function readiness(service: ServiceProcess): Promise<number> {
  for (;;) {
    const status = await fetch(`${service.url}/readyz`).then(
      (response) => response.status,
      () => 0,
    );
    if (status !== 200) return status;
    await delay(20);
  }
}
