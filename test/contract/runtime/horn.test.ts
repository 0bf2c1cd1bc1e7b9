import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { HornConfigSchema } from "../../../runtime/contracts/horn-config.ts";
import { oneToken } from "../../../runtime/orchestrator/horn/guard.ts";
import { Horn } from "../../../runtime/orchestrator/horn/horn.ts";
import { listen, type Listening } from "../../../runtime/support/listen.ts";
import { type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";
import {
  connectRaw,
  eventsOf,
  over,
  type RawClient,
  type RawOptions,
  sessionOf,
  textOf,
} from "../../support/horn-client.ts";

const TOKEN = "only-for-this-test";
const ORIGIN = "https://console.example";
let ensemble: MockEnsemble;
let guarded: Listening;
let guard: Horn;
let open: RawClient[] = [];

beforeAll(async () => {
  ensemble = await startMockEnsemble();
  guarded = await listen({ fetch: () => new Response("no") }, "127.0.0.1", 0);
  guard = new Horn(
    ensemble.orchestrator.ensemble,
    HornConfigSchema.parse({ origins: [ORIGIN], resumeMs: 300 }),
    oneToken(TOKEN),
  );
  guard.attach(guarded.server);
});
afterAll(async () => {
  guard.close();
  await guarded.drain(0);
  await ensemble.close();
});
afterEach(() => {
  for (const client of open) client.socket.terminate();
  open = [];
  for (const mock of Object.values(ensemble.mocks))
    Object.assign(mock.behaviour, { prefillMs: 0, fault: () => undefined });
});

const connect = async (options: Partial<RawOptions> = {}): Promise<RawClient> => {
  const client = await connectRaw({ url: ensemble.url, ...options });
  open.push(client);
  return client;
};

describe("the horn", () => {
  test("answers several questions at once on one socket, each with its frames in order and without a gap", async () => {
    const client = await connect();
    for (const id of ["one", "two", "three"]) client.send({ type: "ask", id, question: `Question ${id}?` });
    for (const id of ["one", "two", "three"]) await client.wait(over(id));
    for (const id of ["one", "two", "three"]) {
      expect(textOf(client, id)).toBe("An answer by llama here.");
      expect(eventsOf(client, id).map(({ seq }) => seq)).toEqual(eventsOf(client, id).map((_, index) => index + 1));
    }
  });

  test("goes on where a broken socket left off, with nothing lost and nothing twice", async () => {
    ensemble.mocks.llama.behaviour.prefillMs = 150;
    const first = await connect();
    const session = await sessionOf(first);
    first.send({ type: "ask", id: "q", question: "Why?" });
    await first.wait((frame) => frame.type === "event" && frame.seq === 3);
    first.socket.terminate();
    const seen = eventsOf(first, "q").length;
    const second = await connect({ hello: { type: "hello", session } });
    expect(await second.wait(({ type }) => type === "welcome")).toMatchObject({ resumed: true });
    second.send({ type: "resume", id: "q", after: seen });
    await second.wait(over("q"));
    const all = [...eventsOf(first, "q"), ...eventsOf(second, "q")];
    expect(all.map(({ seq }) => seq)).toEqual(all.map((_, index) => index + 1));
    expect(textOf(second, "q")).toBe("An answer by llama here.");
    second.send({ type: "resume", id: "q", after: seen });
    await expect.poll(() => eventsOf(second, "q").length).toBe(2 * (all.length - seen));
  });

  test("forgets what was acknowledged whole, and cancels what nobody comes back for", async () => {
    const client = await connect();
    client.send({ type: "ask", id: "q", question: "Why?" });
    await client.wait(over("q"));
    client.send({ type: "ack", id: "q", upTo: eventsOf(client, "q").length });
    client.send({ type: "resume", id: "q", after: 0 });
    expect(await client.wait(({ type }) => type === "refused")).toMatchObject({
      id: "q",
      error: { code: "not_found" },
    });

    ensemble.mocks.llama.behaviour.fault = () => "stall";
    const leaver = await connect({ url: guarded.url, hello: { type: "hello", token: TOKEN } });
    leaver.send({ type: "ask", id: "q", question: "Why?" });
    await leaver.wait((frame) => frame.type === "event");
    const call = () => ensemble.mocks.llama.calls.at(-1);
    await expect.poll(() => call()?.closedEarly).toBe(false);
    leaver.socket.terminate();
    await expect.poll(() => call()?.closedEarly, { timeout: 3_000 }).toBe(true);
  });

  test("cancels a question and says so", async () => {
    ensemble.mocks.llama.behaviour.fault = () => "stall";
    const client = await connect();
    client.send({ type: "ask", id: "q", question: "Why?" });
    await client.wait((frame) => frame.type === "event");
    client.send({ type: "cancel", id: "q" });
    expect(await client.wait(over("q"))).toMatchObject({ event: { event: "error", error: { code: "cancelled" } } });
  });

  test("keeps frames back beyond the window until they are acknowledged", async () => {
    ensemble.mocks.llama.behaviour.answer = () => `by llama ${`${"wörd".repeat(50)} `.repeat(1_500)}end`;
    const client = await connect();
    client.send({ type: "ask", id: "q", question: "Why?" });
    const size = () => eventsOf(client, "q").reduce((sum, { event }) => sum + JSON.stringify(event).length, 0);
    await expect.poll(size, { timeout: 10_000 }).toBeGreaterThan(262_000);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(size()).toBeLessThan(262_144 + 100_000);
    const stopped = eventsOf(client, "q").length;
    client.send({ type: "ack", id: "q", upTo: stopped });
    await expect.poll(() => eventsOf(client, "q").length, { timeout: 10_000 }).toBeGreaterThan(stopped);
    ensemble.mocks.llama.behaviour.answer = () => "An answer by llama here.";
  });

  test.each([
    ["no JSON", "{"],
    ["an unknown type", { type: "shout" }],
    ["an unknown field", { type: "ask", id: "q", question: "Why?", stream: true }],
    ["a bad id", { type: "ask", id: "a b", question: "Why?" }],
    ["an acknowledgement of what was never sent", { type: "ack", id: "none", upTo: 1 }],
    ["hello twice", { type: "hello" }],
  ])("refuses %s and stays open", async (_, frame) => {
    const client = await connect();
    await sessionOf(client);
    client.send(frame);
    expect(await client.wait(({ type }) => type === "refused")).toMatchObject({ error: { retryable: false } });
    client.send({ type: "ping", nonce: "n" });
    expect(await client.wait(({ type }) => type === "pong")).toEqual({ type: "pong", nonce: "n" });
  });

  test("closes on a first frame that is not hello", async () => {
    const client = await connect({ hello: { type: "ping", nonce: "n" } });
    expect(await client.closed).toBe(4400);
  });
});

describe("the horn's guard", () => {
  const url = () => guarded.url;

  test("lets in only pages of the origins it knows", async () => {
    await expect(connect({ url: url(), origin: "https://evil.example" })).rejects.toThrow(/403/);
    await expect(connect({ url: url(), origin: "null" })).rejects.toThrow(/403/);
    const client = await connect({ url: url(), origin: ORIGIN, hello: { type: "hello", token: TOKEN } });
    expect(await sessionOf(client)).not.toBe("");
  });

  test("wants the token in the header or in the first frame", async () => {
    await expect(connect({ url: url(), headers: { authorization: "Bearer wrong" } })).rejects.toThrow(/401/);
    expect(await (await connect({ url: url(), hello: { type: "hello", token: "wrong" } })).closed).toBe(4401);
    expect(await (await connect({ url: url(), hello: { type: "hello" } })).closed).toBe(4401);
    const client = await connect({ url: url(), headers: { authorization: `Bearer ${TOKEN}` } });
    expect(await sessionOf(client)).not.toBe("");
  });

  test("wants its subprotocol and its path", async () => {
    await expect(connect({ url: url(), protocol: "chat" })).rejects.toThrow(/400/);
    await expect(connect({ url: `${url()}/other` })).rejects.toThrow(/404/);
  });

  test("gives a stranger's session id nothing", async () => {
    const client = await connect({ hello: { type: "hello", session: "AAAAAAAAAAAAAAAAAAAAAA" } });
    expect(await client.wait(({ type }) => type === "welcome")).toMatchObject({ resumed: false });
  });
});
