// What no client library would send, over bare sockets: the right status, nothing of the inside in it, and the service goes on.
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type MockEnsemble, startMockEnsemble } from "../../../support/ensemble.ts";
import { exchange, post, type RawExchange } from "../../../support/raw-http.ts";
import { type Ask, ASKS, expectAnswerOrRefusal, expectNothingInside, expectRefusal } from "./requests.ts";

/** How long clients may take here, ms. */
const HEAD_MS = 300;
const REQUEST_MS = 600;
const MEGABYTE = 1_048_576;

let ensemble: MockEnsemble;
let port: number;

beforeAll(async () => {
  ensemble = await startMockEnsemble({}, { limits: { headMs: HEAD_MS, requestMs: REQUEST_MS } });
  port = ensemble.orchestrator.listening.port;
});
afterAll(() => ensemble.close());
afterEach(async () => {
  // Whatever was sent, others are still answered and nothing is left in work.
  const answer = await exchange(port, [post("/ask", '{"question":"Why?"}')]);
  expect(answer.answers[0]?.status).toBe(200);
  await expect.poll(() => ensemble.orchestrator.ensemble.inFlight).toBe(0);
});

const raw = (text: string, end = false): Promise<RawExchange> => exchange(port, [text], { end });
const bodyOf = ({ body }: Ask): string => JSON.stringify(body);

describe.each(ASKS)("$path", (ask) => {
  test("a body declared with 100 MB is refused before it comes", async () => {
    const { answers } = await raw(post(ask.path, "", { "content-length": String(100 * MEGABYTE) }));
    expectRefusal(answers[0], ask.api, [413]);
  });

  test("a body declared with more than any number is refused", async () => {
    const { answers } = await raw(post(ask.path, "", { "content-length": "9".repeat(30) }));
    expect([400, 413]).toContain(answers[0]?.status);
  });

  test("100 MB in chunks are refused while they come", async () => {
    const part = Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(65_536, "x"), Buffer.from("\r\n")]);
    let sent = 0;
    const more = (): Buffer | undefined => (++sent > 1_600 ? undefined : part);
    const head = post(ask.path, "", { "content-length": undefined, "transfer-encoding": "chunked" });
    const { answers } = await exchange(port, [head, more]);
    expectRefusal(answers[0], ask.api, [413]);
    expect(sent).toBeLessThan(1_600);
  });

  test("a body shorter than declared ends without an answer of the ensemble", async () => {
    const body = bodyOf(ask);
    const { answers } = await raw(post(ask.path, body, { "content-length": String(body.length + 10) }), true);
    expect([400, 408, undefined]).toContain(answers[0]?.status);
  });

  test("a body longer than declared is no second request", async () => {
    const body = bodyOf(ask);
    const { answers } = await exchange(
      port,
      [post(ask.path, `${body}GARBAGE`, { "content-length": String(body.length) })],
      {
        answers: 2,
        waitMs: 3_000,
      },
    );
    // The first may not be answered any more: the connection is closed at the garbage.
    expect([[200, 400], [400]]).toContainEqual(answers.map(({ status }) => status));
  });

  test.each([
    ["arrays", "[".repeat(100_000)],
    ["closed arrays", "[".repeat(100_000) + "]".repeat(100_000)],
    ["objects", '{"a":'.repeat(100_000) + "1" + "}".repeat(100_000)],
  ])("JSON 100,000 deep (%s) is refused, as a body and within one", async (_, deep) => {
    expectRefusal((await raw(post(ask.path, deep))).answers[0], ask.api, [400]);
    const within = `${bodyOf(ask).slice(0, -1)},"options":${deep}}`;
    expectRefusal((await raw(post(ask.path, within))).answers[0], ask.api, [400]);
  });

  test.each([
    ["a byte that begins nothing", [0xff]],
    ["an overlong slash", [0xc0, 0xaf]],
    ["half a surrogate pair", [0xed, 0xa0, 0x80]],
    ["a character cut short", [0xe2, 0x82]],
  ])("bad UTF-8 (%s) is refused", async (_, bytes) => {
    const [before = "", after = ""] = bodyOf(ask).split("Why?");
    const body = Buffer.concat([Buffer.from(`${before}Why`), Buffer.from(bytes), Buffer.from(after)]);
    const head = post(ask.path, "", { "content-length": String(body.length) });
    expectRefusal((await exchange(port, [head, body])).answers[0], ask.api, [400]);
  });

  test("a byte order mark is taken or refused in the API's own way", async () => {
    const { answers } = await raw(post(ask.path, `\ufeff${bodyOf(ask)}`));
    expectAnswerOrRefusal(answers[0], ask.api);
  });

  test("NUL is refused bare, and taken as the character that it is when escaped", async () => {
    expectRefusal((await raw(post(ask.path, bodyOf(ask).replace("Why", "W\0hy")))).answers[0], ask.api, [400]);
    expectRefusal((await raw(post(ask.path, `${bodyOf(ask)}\0`))).answers[0], ask.api, [400]);
    const { answers } = await raw(post(ask.path, bodyOf(ask).replace("Why", "W\\u0000hy")));
    expectAnswerOrRefusal(answers[0], ask.api);
  });

  test("half a surrogate pair as an escape is taken or refused", async () => {
    const { answers } = await raw(post(ask.path, bodyOf(ask).replace("Why", "W\\ud800hy")));
    expectAnswerOrRefusal(answers[0], ask.api);
  });

  test.each([
    "",
    " ",
    "null",
    "true",
    "1",
    '"text"',
    "[]",
    "{",
    "{}",
    '{"a":1}{"a":1}',
    "NaN",
    "{'question':1}",
  ])("a body that is %j is refused", async (body) =>
    expectRefusal((await raw(post(ask.path, body))).answers[0], ask.api, [400]));

  test.each([
    "multipart/form-data; boundary=x",
    "text/html",
    "application/xml",
  ])("the content type %s is refused", async (type) =>
    expectRefusal((await raw(post(ask.path, bodyOf(ask), { "content-type": type }))).answers[0], ask.api, [415]));

  test.each(["gzip", "br", "deflate", "zstd", "x"])("the content encoding %s is refused", async (encoding) =>
    expectRefusal(
      (await raw(post(ask.path, bodyOf(ask), { "content-encoding": encoding }))).answers[0],
      ask.api,
      [415],
    ));

  test.each(["PUT", "DELETE", "PATCH", "GET"])("the method %s is refused", async (method) => {
    const { answers } = await raw(`${method} ${ask.path} HTTP/1.1\r\nhost: x\r\n\r\n`);
    expectRefusal(answers[0], ask.api, [404, 405]);
  });

  test("keys of prototypes change no prototype", async () => {
    const evil = '"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}';
    const body = `${bodyOf(ask).slice(0, -1)},${evil},"options":{${evil}}}`;
    const { answers } = await raw(post(ask.path, body));
    expectAnswerOrRefusal(answers[0], ask.api);
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  });

  test("a slow body is cut off with 408", async () => {
    const head = post(ask.path, "", { "content-length": "100" });
    const { answers, closed } = await exchange(port, [head, "{", 50, '"', 50, "q"], { untilClosed: true });
    expect([answers[0]?.status, closed]).toEqual([408, true]);
  });

  test("Expect: 100-continue is answered, and a body too large is refused with it", async () => {
    const { text, answers } = await exchange(port, [
      post(ask.path, "", { expect: "100-continue", "content-length": String(bodyOf(ask).length) }),
      20,
      bodyOf(ask),
    ]);
    expect(text).toMatch(/^HTTP\/1\.1 100 /);
    expect(answers[0]?.status).toBe(200);
    const large = await raw(post(ask.path, "", { expect: "100-continue", "content-length": String(100 * MEGABYTE) }));
    expectRefusal(large.answers[0], ask.api, [413]);
  });

  test("HTTP/1.0 is answered and closed", async () => {
    const body = bodyOf(ask);
    const head = `POST ${ask.path} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
    const { answers, closed } = await exchange(port, [head + body], { untilClosed: true, waitMs: 5_000 });
    expect([answers[0]?.status, closed]).toEqual([200, true]);
  });

  test("requests sent at once are answered in their order", async () => {
    const one = post(ask.path, bodyOf(ask));
    const { answers } = await exchange(port, [one + post(ask.path, "{}") + one], { answers: 3 });
    expect(answers.map(({ status }) => status)).toEqual([200, 400, 200]);
  });

  test("uploads that are broken off leave nothing", async () => {
    const head = post(ask.path, bodyOf(ask).slice(0, 9), { "content-length": "5000" });
    await delay(20);
    const before = openSockets();
    await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => undefined);
        socket.write(head);
        await delay(index % 7);
        if (index % 2 === 0) socket.resetAndDestroy();
        else socket.destroy();
      }),
    );
    await expect.poll(openSockets, { timeout: 5_000 }).toBeLessThanOrEqual(before);
  });
});

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((one) => one === "TCPSocketWrap").length;
}

describe("heads", () => {
  const get = (lines: string): Promise<RawExchange> => raw(`GET /healthz HTTP/1.1\r\nhost: x\r\n${lines}\r\n`);

  test("10,000 headers are refused", async () => {
    const { answers } = await get(Array.from({ length: 10_000 }, (_, at) => `h${at}: v\r\n`).join(""));
    expect(answers[0]?.status).toBe(431);
  });

  test("a header of 1 MB is refused", async () => {
    expect((await get(`x-long: ${"y".repeat(MEGABYTE)}\r\n`)).answers[0]?.status).toBe(431);
  });

  test("an address of 1 MB is refused", async () => {
    const { answers } = await raw(`GET /${"y".repeat(MEGABYTE)} HTTP/1.1\r\nhost: x\r\n\r\n`);
    expect([414, 431]).toContain(answers[0]?.status);
  });

  test.each([
    ["both lengths and chunks", "content-length: 5\r\ntransfer-encoding: chunked\r\n"],
    ["two lengths", "content-length: 5\r\ncontent-length: 6\r\n"],
    ["a list of lengths", "content-length: 5, 6\r\n"],
    ["a negative length", "content-length: -5\r\n"],
    ["a length with a sign", "content-length: +5\r\n"],
    ["a hexadecimal length", "content-length: 0x5\r\n"],
    ["an encoding that does not end in chunks", "transfer-encoding: chunked, identity\r\n"],
    ["an unknown encoding", "transfer-encoding: xchunked\r\n"],
    ["chunks twice", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"],
    ["a blank before the colon", "content-length : 5\r\n"],
    ["a folded line", "content-length: 5\r\n x: y\r\n"],
    ["a bare line feed in it", "x: y\nz: 1\r\n"],
    ["a NUL", "x: y\0z\r\n"],
    ["no name", ": y\r\n"],
  ])("smuggling (%s) is refused and the connection closed", async (_, lines) => {
    const hidden = "GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    const request = `POST /ask HTTP/1.1\r\nhost: x\r\n${lines}\r\n0\r\n\r\n${hidden}`;
    const { answers, closed, text } = await exchange(port, [request], { untilClosed: true, waitMs: 3_000 });
    expect(answers[0]?.status, text).toBe(400);
    expect([answers.length, closed]).toEqual([1, true]);
  });

  test.each([
    "zz\r\n",
    "-1\r\n",
    "fffffffffffffffff\r\n",
    "5;ext=\0\r\n",
  ])("a bad chunk (%j) is refused", async (chunk) => {
    const head = post("/ask", "", { "content-length": undefined, "transfer-encoding": "chunked" });
    const { answers } = await raw(`${head}${chunk}`);
    expect([400, 413]).toContain(answers[0]?.status);
  });

  test.each([
    ["no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["an unknown version", "GET / HTTP/7.3\r\nhost: x\r\n\r\n"],
    ["no host", "GET / HTTP/1.1\r\n\r\n"],
    ["an unknown method", "BREW / HTTP/1.1\r\nhost: x\r\n\r\n"],
  ])("%s is refused", async (_, text) => {
    const { answers, text: got } = await raw(text);
    expect([400, 404, 405, 426, 505], got).toContain(answers[0]?.status);
  });

  test.each([
    "//evil.example/ask",
    "http://evil.example/nothing",
    "/%",
    "/%00",
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/ask/",
    "/v1/models/%ff",
    "*",
  ])("the address %s is refused", async (target) => {
    const { answers, text } = await raw(`GET ${target} HTTP/1.1\r\nhost: x\r\n\r\n`);
    expect([400, 404, 405], text).toContain(answers[0]?.status);
    expectNothingInside(answers[0]?.body ?? "");
  });

  test.each(["a b", "[::1", "x:99999", "", "x/y", "@"])("the host %j is answered or refused", async (host) => {
    const { answers } = await raw(`GET /v1/models HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
    expect([200, 400]).toContain(answers[0]?.status);
    expectNothingInside(answers[0]?.body ?? "");
  });

  test("CONNECT, TRACE and an unknown Expect are refused", async () => {
    const asked = async (text: string): Promise<number | undefined> => (await raw(text, false)).answers[0]?.status;
    expect([400, 404, 405, undefined]).toContain(await asked("CONNECT evil.example:443 HTTP/1.1\r\nhost: x\r\n\r\n"));
    expect([400, 404, 405]).toContain(await asked("TRACE /ask HTTP/1.1\r\nhost: x\r\n\r\n"));
    expect([400, 417]).toContain(await asked("GET /healthz HTTP/1.1\r\nhost: x\r\nexpect: nothing\r\n\r\n"));
  });

  test("a slow head is cut off with 408, byte by byte too", async () => {
    const drip = Array.from({ length: 60 }, (_, at) => ["x", 20, ...(at === 59 ? ["\r\n"] : [])]).flat();
    const { answers, closed } = await exchange(port, ["GET / HTTP/1.1\r\nhost: x\r\nx-slow: ", ...drip], {
      untilClosed: true,
    });
    expect([answers[0]?.status, closed]).toEqual([408, true]);
  });

  test("500 slow clients hold nobody up", async () => {
    const slow = Array.from({ length: 500 }, () => connect(port, "127.0.0.1"));
    for (const socket of slow)
      socket
        .on("error", () => undefined)
        .resume()
        .write("GET / HT");
    const { answers } = await raw(post("/ask", '{"question":"Why?"}'));
    expect(answers[0]?.status).toBe(200);
    await expect.poll(() => slow.every(({ destroyed }) => destroyed), { timeout: 10_000 }).toBe(true);
  });
});

describe("sockets of other origins", () => {
  const upgrade = (path: string, lines = ""): Promise<RawExchange> =>
    raw(
      `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: gorkheavy.json.v1\r\n${lines}\r\n`,
    );

  test("are refused on the horn", async () => {
    for (const origin of ["https://evil.example", "null", "http://127.0.0.1:1", "file://", "https://x.evil"])
      expect((await upgrade("/horn", `origin: ${origin}\r\n`)).answers[0]?.status).toBe(403);
  });

  test("are refused elsewhere, and bad handshakes too", async () => {
    for (const path of ["/", "/ask", "//", "/%", "/horn/", "http://x:y/horn"])
      expect([400, 403, 404]).toContain((await upgrade(path)).answers[0]?.status);
    const wrong = await raw("GET /horn HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: nothing\r\n\r\n");
    expect([400, 404, 426]).toContain(wrong.answers[0]?.status);
  });
});

describe("an offer of another protocol than a WebSocket's", () => {
  const offer = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";

  test("is declined by answering the request as it is, and the connection goes on", async () => {
    const get = await raw(`GET /healthz HTTP/1.1\r\nhost: x\r\n${offer}\r\n`);
    expect([get.answers[0]?.status, get.answers[0]?.body]).toEqual([200, '{"status":"ok"}']);
    const body = JSON.stringify({ model: "gorkheavy:latest" });
    const [first, second] = (
      await exchange(
        port,
        [
          `POST /api/show HTTP/1.1\r\nhost: x\r\n${offer}content-length: ${body.length}\r\n\r\n${body}`,
          200,
          "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        ],
        { answers: 2 },
      )
    ).answers;
    expect(first?.status).toBe(200);
    expect(first?.body).toContain('"capabilities":["completion"]');
    expect(second?.status).toBe(200);
  });
});
