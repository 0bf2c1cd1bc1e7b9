import { afterEach, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { STREAM_PROTOCOL, StreamReply } from "../../../../runtime/contracts/engine-api.ts";
import type { RunningEngine } from "../../../../runtime/engine/serve.ts";
import { engineWith, gated, MODEL } from "../../../support/engine-with.ts";
import { exchange } from "../../../support/raw-http.ts";

let engine: RunningEngine | undefined;
const sockets: WebSocket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.terminate();
  await engine?.stop(0);
  engine = undefined;
});

async function start(more: Parameters<typeof engineWith>[0] = {}): Promise<RunningEngine> {
  engine = await engineWith(more);
  if (more.backend === undefined) await engine.engine.residency.load(MODEL);
  return engine;
}

interface Client {
  socket: WebSocket;
  replies: StreamReply[];
  say(frame: unknown): void;
  wait(match: (reply: StreamReply) => boolean): Promise<StreamReply>;
  closed: Promise<number>;
}

async function connect({ main }: RunningEngine, options: { origin?: string; protocol?: string } = {}): Promise<Client> {
  const { origin, protocol } = options;
  const socket = new WebSocket(
    `${main.url.replace("http", "ws")}/stream`,
    protocol === undefined ? [] : [protocol],
    origin === undefined ? {} : { origin },
  );
  sockets.push(socket);
  const replies: StreamReply[] = [];
  socket.on("message", (data: Buffer) => replies.push(StreamReply.parse(JSON.parse(data.toString("utf8")))));
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  await new Promise<void>((resolve, reject) => {
    socket.on("open", resolve);
    socket.on("unexpected-response", (_, response) => reject(new Error(`status ${response.statusCode}`)));
    socket.on("error", reject);
  });
  return {
    socket,
    replies,
    closed,
    say: (frame) => socket.send(typeof frame === "string" ? frame : JSON.stringify(frame)),
    wait: async (match) => {
      await expect.poll(() => replies.some(match), { timeout: 15_000 }).toBe(true);
      const found = replies.find(match);
      if (found === undefined) throw new Error("no such frame");
      return found;
    },
  };
}

const over = (id: string) => (reply: StreamReply) =>
  reply.type === "event" && reply.id === id && ["done", "error"].includes(reply.event.event);
const textOf = ({ replies }: Client, id: string): string =>
  replies
    .map((reply) =>
      reply.type === "event" && reply.id === id && reply.event.event === "piece" ? reply.event.text : "",
    )
    .join("");
const ask = (id: string, content = "What is the capital of France?", more: object = {}): object => ({
  type: "chat",
  id,
  model: MODEL,
  messages: [{ role: "user", content }],
  ...more,
});

describe("a socket", () => {
  test.each([
    undefined,
    STREAM_PROTOCOL,
  ])("has a chat and a prompt written beside each other (protocol %s)", async (protocol) => {
    const running = await start({ tokenMs: 20 });
    const client = await connect(running, protocol === undefined ? {} : { protocol });
    client.say(ask("a"));
    client.say({ type: "generate", id: "b", model: MODEL, prompt: "What is 12 * 7?" });
    await client.wait(over("a"));
    await client.wait(over("b"));
    expect(textOf(client, "a")).toContain("Paris");
    expect(textOf(client, "b")).toContain("84");
    const order = client.replies.map((reply) => (reply.type === "event" ? reply.id : ""));
    // Both were under way before either had ended.
    expect(order.indexOf("b")).toBeLessThan(order.lastIndexOf("a"));
    expect(order.indexOf("a")).toBeLessThan(order.lastIndexOf("b"));
    const last = client.replies.findLast(over("a"));
    expect(last).toMatchObject({ event: { event: "done", reason: "stop", model: MODEL } });
    // The name is free again.
    client.replies.length = 0;
    client.say(ask("a", "What is 12 * 7?"));
    await client.wait(over("a"));
    expect(textOf(client, "a")).toContain("84");
  });

  test("cancels one and lets the others go on", async () => {
    const running = await start({ tokenMs: 30 });
    const client = await connect(running);
    client.say(ask("a"));
    client.say(ask("b"));
    await client.wait((reply) => reply.type === "event" && reply.id === "a");
    client.say({ type: "cancel", id: "a" });
    client.say({ type: "cancel", id: "nobody" });
    const cancelled = await client.wait(over("a"));
    expect(cancelled).toMatchObject({ event: { event: "error", error: { code: "cancelled" } } });
    const other = await client.wait(over("b"));
    expect(other).toMatchObject({ event: { event: "done" } });
    expect(running.engine.residency.status(MODEL).inFlight).toBe(0);
  });

  test("ends all that it had asked when it goes", async () => {
    const running = await start({ tokenMs: 50 });
    const client = await connect(running);
    for (const id of ["a", "b", "c"]) client.say(ask(id));
    await expect.poll(() => running.engine.residency.status(MODEL).inFlight).toBe(3);
    client.socket.terminate();
    await expect.poll(() => running.engine.residency.status(MODEL).inFlight).toBe(0);
  });

  test("tells the progress of a load, and then the words", async () => {
    const backend = gated();
    const client = await connect(await start({ backend }));
    client.say(ask("a"));
    expect(await client.wait((reply) => reply.type === "event")).toMatchObject({
      id: "a",
      event: { event: "progress", model: MODEL, ratio: 0.5 },
    });
    backend.open();
    await client.wait(over("a"));
    expect(textOf(client, "a")).toContain("Paris");
    expect(backend.loads).toBe(1);
  });

  test("tells why a load failed", async () => {
    const backend = gated();
    const client = await connect(await start({ backend }));
    client.say(ask("a"));
    await client.wait((reply) => reply.type === "event");
    backend.open(new Error("not enough memory"));
    expect(await client.wait(over("a"))).toMatchObject({
      event: {
        event: "error",
        error: { code: "model_failed", message: expect.stringContaining("not enough") as string },
      },
    });
  });

  test("tells the states of models while it watches, and no longer", async () => {
    const backend = gated();
    const running = await start({ backend });
    const client = await connect(running);
    client.say({ type: "watch" });
    expect(await client.wait((reply) => reply.type === "model")).toMatchObject({
      event: { event: "model", model: { name: MODEL, state: "loading", progress: 0.5 } },
    });
    backend.open();
    await client.wait(
      (reply) => reply.type === "model" && reply.event.event === "model" && reply.event.model.state === "ready",
    );
    client.say({ type: "unwatch" });
    client.say({ type: "ping", nonce: "n" });
    await client.wait((reply) => reply.type === "pong");
    client.replies.length = 0;
    await running.engine.residency.unload(MODEL);
    client.say({ type: "watch" });
    expect(await client.wait((reply) => reply.type === "model")).toMatchObject({
      event: { model: { state: "absent" } },
    });
  });

  test("answers each bad frame and goes on", async () => {
    const running = await start({ stream: { runs: 2 }, tokenMs: 50 });
    const client = await connect(running);
    const deep = `{"type":"ping","nonce":${"[".repeat(100)}${"]".repeat(100)}}`;
    const bad: [unknown, string | undefined, string][] = [
      ["", undefined, "body"],
      ["{", undefined, "body"],
      ["[]", undefined, "frame"],
      [deep, undefined, "body"],
      [{ type: "nothing", id: "x" }, "x", "type"],
      [{ type: "chat", id: "x", model: MODEL }, "x", "messages"],
      [ask("../x"), undefined, "id"],
      [ask("x", "y", { temperature: "hot" }), "x", "temperature"],
      [ask("x", "y", { surprise: 1 }), "x", "surprise"],
      [{ type: "ping", nonce: "n".repeat(65) }, undefined, "nonce"],
    ];
    for (const [frame, id, about] of bad) {
      client.replies.length = 0;
      client.say(frame);
      const refused = await client.wait((reply) => reply.type === "refused");
      expect(refused).toMatchObject({
        ...(id === undefined ? {} : { id }),
        error: { code: "invalid_request", message: expect.stringContaining(about) as string },
      });
    }
    client.say(ask("u", "y", { model: "nobody:1b" }));
    expect(await client.wait(over("u"))).toMatchObject({ event: { error: { code: "unknown_model" } } });
    for (const id of ["a", "a", "b", "c"]) client.say(ask(id));
    const refused = (id: string, code: string) => (reply: StreamReply) =>
      reply.type === "refused" && reply.id === id && reply.error.code === code;
    await client.wait(refused("a", "invalid_request"));
    await client.wait(refused("c", "rate_limited"));
    await client.wait(over("b"));
    client.socket.send(Buffer.from([1, 2, 3]));
    expect(await client.closed).toBe(1003);
  });

  test("is closed for bad UTF-8 and for a frame that is too large", async () => {
    const running = await start();
    const client = await connect(running);
    client.socket.send(Buffer.from([0x22, 0xff, 0x22]), { binary: false });
    expect(await client.closed).toBe(1007);
    const other = await connect(running);
    other.socket.send("x".repeat(4 * 1024 * 1024 + 1));
    expect(await other.closed).toBe(1009);
  });

  test("is cut when nobody answers its heartbeat, and not before", async () => {
    const running = await start({ stream: { heartbeatMs: 400 } });
    const alive = await connect(running);
    const dead = await connect(running);
    // It neither reads the ping nor answers it.
    dead.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    dead.socket.resume();
    expect(await dead.closed).toBe(1006);
    expect(alive.socket.readyState).toBe(WebSocket.OPEN);
  });

  test("ends after its answers when the engine stops, and takes no more", async () => {
    const running = await start({ tokenMs: 40 });
    const client = await connect(running);
    const idle = await connect(running);
    client.say(ask("a"));
    await client.wait((reply) => reply.type === "event");
    const stopped = running.stop(10_000);
    engine = undefined;
    expect(await idle.closed).toBe(1001);
    client.say(ask("b"));
    await client.wait((reply) => reply.type === "refused" && reply.error.code === "draining");
    expect(await client.wait(over("a"))).toMatchObject({ event: { event: "done" } });
    expect(textOf(client, "a")).toContain("Paris");
    expect(await client.closed).toBe(1001);
    await stopped;
  });
});

describe("a handshake", () => {
  test.each([
    ["a page of another origin", { origin: "https://evil.example" }, 403],
    ["a page that hides its origin", { origin: "null" }, 403],
    ["another subprotocol", { protocol: "chat.v9" }, 400],
  ])("of %s is refused", async (_, options, status) => {
    const running = await start();
    await expect(connect(running, options)).rejects.toThrow(`status ${status}`);
  });

  test("of a page that is allowed is taken", async () => {
    const running = await start({ stream: { origins: ["https://console.example"] } });
    const client = await connect(running, { origin: "https://console.example" });
    expect(client.socket.readyState).toBe(WebSocket.OPEN);
    await expect(connect(running, { origin: "https://console.example.evil" })).rejects.toThrow("status 403");
  });

  test("is refused where there is none", async () => {
    await expect(connect(await start({ stream: false }))).rejects.toThrow("status 404");
  });

  test("beyond the limit of sockets is refused", async () => {
    const running = await start({ stream: { sockets: 1 } });
    await connect(running);
    await expect(connect(running)).rejects.toThrow("status 503");
  });

  test("elsewhere is refused, a plain request says what is wanted, and other protocols are passed over", async () => {
    const { main, ollama } = await start();
    const head =
      "HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (const path of ["/", "/STREAM", "//stream", "/stream/", "/%73tream", "/horn"]) {
      const { answers } = await exchange(main.port, [`GET ${path} ${head}upgrade: websocket\r\n\r\n`]);
      expect([path, answers[0]?.status]).toEqual([path, 404]);
    }
    expect((await fetch(`${main.url}/stream`)).status).toBe(400);
    for (const { port } of [main, ollama]) {
      const { answers } = await exchange(port, [`GET /health ${head}upgrade: h2c\r\n\r\n`]);
      expect(answers[0]?.status).toBe(200);
    }
  });
});
