// Handshakes of every kind, as bytes: whoever does not show the token gets no session, and nothing breaks.
import { connect as connectTcp } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HornConfigSchema } from "../../../runtime/contracts/horn-config.ts";
import { oneToken } from "../../../runtime/orchestrator/horn/guard.ts";
import { Horn } from "../../../runtime/orchestrator/horn/horn.ts";
import { listen, type Listening } from "../../../runtime/support/listen.ts";
import { type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";
import { connectRaw, sessionOf } from "../../support/horn-client.ts";

const TOKEN = "only-for-this-test";
const ORIGIN = "https://console.example";

let ensemble: MockEnsemble;
let listening: Listening;
let horn: Horn;
beforeAll(async () => {
  ensemble = await startMockEnsemble();
  listening = await listen({ fetch: () => new Response("no") }, "127.0.0.1", 0);
  horn = new Horn(
    ensemble.orchestrator.ensemble,
    HornConfigSchema.parse({ origins: [ORIGIN], helloMs: 100 }),
    oneToken(TOKEN),
  );
  horn.attach(listening.server);
});
afterAll(async () => {
  horn.close();
  await listening.drain(0);
  await ensemble.close();
});

describe("handshakes of every kind", () => {
  const target = fc.constantFrom(
    "/horn",
    "/horn",
    "/horn",
    "//",
    "/",
    "/horn/",
    "/horn?token=x",
    "/HORN",
    "http://[",
    "*",
    "/%68orn",
    "",
  );
  const method = fc.constantFrom("GET", "GET", "GET", "POST", "CONNECT", "PUT");
  const header = fc.constantFrom(
    "Upgrade: websocket",
    "Upgrade: h2c",
    "Connection: Upgrade",
    "Connection: close",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Version: 8",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Key: short",
    "Sec-WebSocket-Protocol: gorkheavy.json.v1",
    "Sec-WebSocket-Protocol: gorkheavy.json.v2, chat",
    "Sec-WebSocket-Protocol: ,,",
    "Sec-WebSocket-Protocol: gorkheavy.json.v1, gorkheavy.json.v1",
    'Sec-WebSocket-Extensions: permessage-deflate; x="',
    "Origin: https://evil.example",
    "Origin: null",
    `Origin: ${ORIGIN}`,
    `Origin: ${ORIGIN}, https://evil.example`,
    "Authorization: Bearer wrong",
    `Authorization: Basic ${TOKEN}`,
    `Authorization: Bearer ${TOKEN} `,
    `Authorization: bearer\t${TOKEN}`,
    `X-Forwarded-For: 127.0.0.1`,
    `Cookie: token=${TOKEN}`,
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
  );
  const frame = fc.oneof(
    fc.constant(Buffer.alloc(0)),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    // Masked text frames: {"type":"hello"} with a wrong token, and without any.
    fc.constantFrom('{"type":"hello","token":"wrong"}', '{"type":"hello"}', '{"type":"ask"}', "\u0000").map(masked),
  );

  test("open no session without the token, and break nothing", { timeout: 60_000 }, async () => {
    const { port } = new URL(listening.url);
    let tried = 0;
    let opened = 0;
    await fc.assert(
      fc.asyncProperty(
        method,
        target,
        fc.uniqueArray(header, { maxLength: 12 }),
        frame,
        async (verb, path, headers, first) => {
          // The right token, in the right form and from no wrong page, is what may come in: it is left out here.
          const sent = headers.filter((one) => !/^authorization: bearer\s/i.test(one) || one.includes("wrong"));
          const head = `${verb} ${path} HTTP/1.1\r\nHost: x\r\n${sent.map((one) => `${one}\r\n`).join("")}\r\n`;
          const said = await exchange(Number(port), Buffer.concat([Buffer.from(head), first]));
          tried++;
          if (said.includes("101 Switching")) opened++;
          expect(said).not.toContain("welcome");
          expect(horn.size.sessions).toBe(0);
        },
      ),
      {
        numRuns: 1_000,
        examples: [
          ["GET", "/horn", GOOD_HEADERS, masked('{"type":"hello"}')],
          ["GET", "//", GOOD_HEADERS, Buffer.alloc(0)],
          ["GET", "http://[", GOOD_HEADERS, Buffer.alloc(0)],
        ],
      },
    );
    expect(tried).toBeGreaterThanOrEqual(1_000);
    // Some get so far that only the missing token stops them, else this would prove nothing of it.
    expect(opened).toBeGreaterThan(0);
    const good = await connectRaw({ url: listening.url, origin: ORIGIN, hello: { type: "hello", token: TOKEN } });
    expect(await sessionOf(good)).not.toBe("");
    await expect.poll(() => horn.size.sockets, { timeout: 5_000 }).toBe(1);
    good.socket.terminate();
  });
});

const GOOD_HEADERS = [
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Protocol: gorkheavy.json.v1",
];

/** A text frame of a client, with a mask of zeros. */
function masked(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}

/** Sends bytes and gives what came back within a short while of its first part, or until the other side ended it. */
function exchange(port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, "127.0.0.1");
    let said = "";
    const done = (): void => {
      clearTimeout(patience);
      socket.destroy();
      resolve(said);
    };
    // What is whole is answered, however busy the machine is; the rest may be waited for by the server for long.
    const whole = GOOD_HEADERS.every((one) => bytes.includes(one));
    let patience = setTimeout(done, whole ? 10_000 : 25);
    socket.on("data", (data) => {
      said += data.toString("latin1");
      clearTimeout(patience);
      patience = setTimeout(done, 25);
    });
    socket.on("error", done);
    socket.on("close", done);
    socket.write(bytes);
  });
}
