// What the horn holds against: slow readers, silent clients, floods, and too many of anything.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HornConfigSchema } from "../../../runtime/contracts/horn-config.ts";
import { type Guard, oneToken } from "../../../runtime/orchestrator/horn/guard.ts";
import { Horn } from "../../../runtime/orchestrator/horn/horn.ts";
import { listen, type Listening } from "../../../runtime/support/listen.ts";
import { type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";
import { connectRaw, over, type RawClient, type RawOptions, sessionOf, textOf } from "../../support/horn-client.ts";

const TOKEN = "only-for-this-test";
/** Bytes that may wait for one socket, and what a stream takes before it says that it is full. */
const MOST_WAITING = 262_144 + 65_536;

let ensemble: MockEnsemble;
let listening: Listening;
let horn: Horn;
let open: RawClient[] = [];

beforeEach(async () => {
  ensemble = await startMockEnsemble();
});
afterEach(async () => {
  for (const client of open) client.socket.terminate();
  open = [];
  horn.close();
  await listening.drain(0);
  await ensemble.close();
});

async function serve(config: object = {}, guard: Guard = oneToken(undefined)): Promise<void> {
  listening = await listen({ fetch: () => new Response("no") }, "127.0.0.1", 0);
  horn = new Horn(ensemble.orchestrator.ensemble, HornConfigSchema.parse(config), guard);
  horn.attach(listening.server);
}

async function connect(options: Partial<RawOptions> = {}): Promise<RawClient> {
  const client = await connectRaw({ url: listening.url, ...options });
  open.push(client);
  return client;
}

/** Words of 2 KB, some 100 KB in all. */
const LONG = `by llama ${Array.from({ length: 50 }, (_, at) => String(at % 10).repeat(2_000)).join(" ")}`;

describe("a slow reader", () => {
  test(
    "holds at most 256 KB of this process, and gets everything when it reads again",
    { timeout: 120_000 },
    async () => {
      await serve({ heartbeatMs: 600_000, limits: { questionsPerSession: 100 } });
      // All of them: on a busy machine another candidate may be faster, and win.
      for (const name of ["llama", "qwen", "qwen-small"] as const) ensemble.mocks[name].behaviour.answer = () => LONG;
      const ids = Array.from({ length: 60 }, (_, at) => `q${at}`);
      const client = await connect({
        protocol: "gorkheavy.cbor.v1",
        onFrame: (frame, to) => {
          if (frame.type === "event") to.send({ type: "ack", id: frame.id, upTo: frame.seq });
        },
      });
      await sessionOf(client);
      client.socket.pause();
      for (const id of ids) client.send({ type: "ask", id, question: "Why?" });
      let most = 0;
      const { ensemble: asked } = ensemble.orchestrator;
      await expect.poll(() => asked.inFlight, { timeout: 30_000 }).toBeGreaterThan(0);
      await expect
        .poll(
          () => {
            most = Math.max(most, horn.mostWaitingBytes);
            return asked.inFlight;
          },
          { timeout: 90_000, interval: 10 },
        )
        .toBe(0);
      most = Math.max(most, horn.mostWaitingBytes);
      // The kernel is full too, so that some of it does wait here.
      expect(most).toBeGreaterThan(100_000);
      expect(most).toBeLessThanOrEqual(MOST_WAITING);
      client.socket.resume();
      for (const id of ids) {
        const last = await client.wait(over(id));
        const reply = last.type === "event" && last.event.event === "answer" ? last.event.answer.reply : "";
        expect(reply).not.toBe("");
        expect(textOf(client, id) === reply).toBe(true);
      }
    },
  );

  test("that asks and asks is no longer listened to, or is cut", { timeout: 60_000 }, async () => {
    await serve({ heartbeatMs: 600_000 });
    const client = await connect();
    await sessionOf(client);
    client.socket.pause();
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, horn.mostWaitingBytes);
    }, 1);
    try {
      for (let burst = 0; burst < 150 && most < 262_144; burst++) {
        for (let at = 0; at < 1_000; at++) client.socket.send("{");
        await new Promise((resolve) => setImmediate(resolve));
        if (client.socket.readyState !== client.socket.OPEN) break;
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    } finally {
      clearInterval(watch);
    }
    expect(most).toBeGreaterThan(100_000);
    expect(most).toBeLessThanOrEqual(2 * 262_144 + 1_024);
  });
});

describe("a slow reader of small replies", () => {
  test("is not listened to meanwhile, and gets every one when it reads again", { timeout: 60_000 }, async () => {
    await serve({ heartbeatMs: 600_000 });
    let pongs = 0;
    const client = await connect({
      onFrame: ({ type }, { frames }) => {
        if (type === "pong") pongs++;
        if (frames.length > 10) frames.length = 1;
      },
    });
    await sessionOf(client);
    client.socket.pause();
    let sent = 0;
    for (let burst = 0; burst < 300 && horn.mostWaitingBytes < 200_000; burst++) {
      for (let at = 0; at < 1_000; at++) client.socket.send(`{"type":"ping","nonce":"${"n".repeat(64)}"}`);
      sent += 1_000;
      await new Promise((resolve) => setImmediate(resolve));
    }
    // More of them, which the service must leave in the network.
    for (let at = 0; at < 20_000; at++) client.socket.send(`{"type":"ping","nonce":"${"n".repeat(64)}"}`);
    sent += 20_000;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(horn.mostWaitingBytes).toBeGreaterThan(100_000);
    expect(horn.mostWaitingBytes).toBeLessThanOrEqual(2 * 262_144);
    client.socket.resume();
    await expect.poll(() => pongs, { timeout: 30_000 }).toBe(sent);
  });
});

describe("the heartbeat", () => {
  test("keeps a socket that answers, and cuts one that does not", async () => {
    await serve({ heartbeatMs: 160 });
    const alive = await connect();
    const dead = await connect();
    await Promise.all([sessionOf(alive), sessionOf(dead)]);
    dead.socket.pause();
    expect(horn.size.sockets).toBe(2);
    await expect.poll(() => horn.size.sockets, { timeout: 10_000 }).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 500));
    alive.send({ type: "ping", nonce: "n" });
    expect(await alive.wait(({ type }) => type === "pong")).toEqual({ type: "pong", nonce: "n" });
  });

  test("asks again whether the token is still good", async () => {
    let good = true;
    await serve({ heartbeatMs: 160 }, { check: async () => (good ? { owner: "ann" } : undefined) });
    const client = await connect();
    await sessionOf(client);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(client.socket.readyState).toBe(client.socket.OPEN);
    good = false;
    expect(await client.closed).toBe(4401);
  });
});

describe("a token that takes time to be looked up", () => {
  test("has the frames after hello wait for it", async () => {
    const slow: Guard = {
      check: async (token) => {
        await new Promise((resolve) => setTimeout(resolve, 100));
        return token === TOKEN ? { owner: "ann" } : undefined;
      },
    };
    await serve({}, slow);
    const client = await connect({ hello: { type: "hello", token: TOKEN } });
    client.send({ type: "ask", id: "q", question: "Why?" });
    await client.wait(over("q"));
    expect(textOf(client, "q")).toBe("An answer by llama here.");
    const wrong = await connect({ hello: { type: "hello", token: "wrong" } });
    wrong.send({ type: "ask", id: "q", question: "Why?" });
    expect(await wrong.closed).toBe(4401);
    expect(wrong.frames).toEqual([]);
    await expect(connect({ headers: { authorization: "Bearer wrong" } })).rejects.toThrow(/401/);
  });

  test("that cannot be looked up lets nobody in", async () => {
    await serve({}, { check: () => Promise.reject(new Error("the store is down")) });
    expect(await (await connect()).closed).toBe(1013);
    await expect(connect({ headers: { authorization: "Bearer any" } })).rejects.toThrow(/500/);
    expect(horn.size.sessions).toBe(0);
  });
});

describe("limits", () => {
  test("of questions in a session, of sessions, and of sockets of an address", async () => {
    await serve({ limits: { questionsPerSession: 2, sessions: 3, socketsPerAddress: 4 } });
    ensemble.mocks.llama.behaviour.fault = () => "stall";
    const first = await connect();
    for (const id of ["a", "b", "c"]) first.send({ type: "ask", id, question: "Why?" });
    expect(await first.wait(({ type }) => type === "refused")).toMatchObject({
      id: "c",
      error: { code: "overloaded" },
    });
    await Promise.all([connect(), connect()].map(async (client) => sessionOf(await client)));
    const fourth = await connect();
    expect(await fourth.wait(({ type }) => type === "refused")).toMatchObject({ error: { code: "overloaded" } });
    expect(await fourth.closed).toBe(1013);
    await expect.poll(() => horn.size.sockets).toBe(3);
    const silent = await connect({ hello: null });
    await expect(connect()).rejects.toThrow(/429/);
    silent.socket.terminate();
    await expect.poll(() => horn.size.sockets).toBe(3);
    await connect({ hello: null });
    // A session that asked nothing is not kept once its client has gone.
    for (const client of open.slice(1)) client.socket.terminate();
    await expect.poll(() => horn.size).toEqual({ sessions: 1, sockets: 1 });
  });

  test("of the time for hello", async () => {
    await serve({ helloMs: 50 });
    const client = await connect({ hello: null });
    expect(await client.closed).toBe(4408);
    expect(horn.size.sessions).toBe(0);
  });

  test("of a frame's size", async () => {
    await serve();
    const client = await connect();
    await sessionOf(client);
    client.send("x".repeat(1_048_577));
    expect(await client.closed).toBe(1009);
  });

  test("of what is kept: the answers that ended first are forgotten", async () => {
    await serve({ heartbeatMs: 160, limits: { keptBytes: 65_536 } });
    ensemble.mocks.llama.behaviour.answer = () => LONG;
    const client = await connect();
    const session = await sessionOf(client);
    client.send({ type: "ask", id: "q", question: "Why?" });
    await client.wait((frame) => frame.type === "event");
    client.socket.terminate();
    await expect
      .poll(
        async () => {
          const again = await connect({ hello: { type: "hello", session } });
          const welcome = await again.wait(({ type }) => type === "welcome");
          return welcome.type === "welcome" ? welcome.questions : [];
        },
        { timeout: 10_000, interval: 200 },
      )
      .toEqual([]);
  });
});

describe("sessions", () => {
  test("that another socket takes over leave the first one", async () => {
    await serve();
    ensemble.mocks.llama.behaviour.prefillMs = 150;
    const first = await connect();
    const session = await sessionOf(first);
    first.send({ type: "ask", id: "q", question: "Why?" });
    await first.wait((frame) => frame.type === "event");
    const second = await connect({ hello: { type: "hello", session } });
    expect(await second.wait(({ type }) => type === "welcome")).toMatchObject({ resumed: true, questions: ["q"] });
    expect(await first.closed).toBe(4409);
    second.send({ type: "resume", id: "q", after: 0 });
    await second.wait(over("q"));
    expect(textOf(second, "q")).toBe("An answer by llama here.");
    expect(horn.size).toEqual({ sessions: 1, sockets: 1 });
  });

  test("belong to the owner that began them", async () => {
    await serve({}, { check: (token) => (token === undefined ? undefined : { owner: token }) });
    const anns = await connect({ hello: { type: "hello", token: "ann" } });
    const session = await sessionOf(anns);
    const bobs = await connect({ hello: { type: "hello", token: "bob", session } });
    expect(await bobs.wait(({ type }) => type === "welcome")).toMatchObject({ resumed: false });
    expect(await sessionOf(bobs)).not.toBe(session);
    expect(anns.socket.readyState).toBe(anns.socket.OPEN);
  });
});

describe("stopping", () => {
  test("lets a question in work end, and takes nobody new", async () => {
    await serve();
    ensemble.mocks.llama.behaviour.prefillMs = 300;
    const [busy, idle] = [await connect(), await connect()];
    await sessionOf(idle);
    busy.send({ type: "ask", id: "q", question: "Why?" });
    await busy.wait((frame) => frame.type === "event");
    const drained = horn.drain(10_000);
    expect(await idle.closed).toBe(1001);
    await expect(connect()).rejects.toThrow(/503/);
    await drained;
    expect(await busy.closed).toBe(1001);
    expect(textOf(busy, "q")).toBe("An answer by llama here.");
  });

  test("cuts what has not ended in time", async () => {
    await serve();
    ensemble.mocks.llama.behaviour.fault = () => "stall";
    const busy = await connect();
    busy.send({ type: "ask", id: "q", question: "Why?" });
    await busy.wait((frame) => frame.type === "event");
    await horn.drain(100);
    expect(await busy.closed).toBe(1001);
    await expect.poll(() => ensemble.mocks.llama.calls.at(-1)?.closedEarly).toBe(true);
  });
});
