// The horn's spec is run: its vectors against the codec and the real service, and its client as it stands there.
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { HORN_PROTOCOLS, type HornProtocol, HornReply, HornRequest } from "../../../runtime/contracts/horn.ts";
import { CODECS, readFrame } from "../../../runtime/orchestrator/horn/codec.ts";
import { type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";
import { connectRaw, type RawClient } from "../../support/horn-client.ts";

const FOLDER = new URL("../../../runtime/orchestrator/horn/", import.meta.url);
const TOKEN = "only-for-this-test";
const ORIGIN = "https://console.example";

const Step = z.union([
  z.strictObject({ send: z.looseObject({ type: z.string() }) }),
  z.strictObject({ want: z.looseObject({ type: z.string() }) }),
  z.strictObject({ reconnect: z.literal(true) }),
  z.strictObject({ closed: z.int() }),
]);
const Vectors = z.strictObject({
  about: z.string(),
  handshakes: z.array(
    z.strictObject({
      name: z.string(),
      path: z.string().default("/horn"),
      headers: z.record(z.string(), z.string()),
      status: z.int(),
      code: z.string().optional(),
      protocol: z.enum(HORN_PROTOCOLS).optional(),
    }),
  ),
  frames: z.array(
    z.strictObject({ name: z.string(), from: z.enum(["client", "service"]), json: z.unknown(), cbor: z.string() }),
  ),
  refusals: z.array(
    z.strictObject({
      name: z.string(),
      protocol: z.enum(HORN_PROTOCOLS),
      text: z.string().optional(),
      hex: z.string().optional(),
      reply: z.unknown(),
    }),
  ),
  conversations: z.array(z.strictObject({ name: z.string(), steps: z.array(Step) })),
});
const vectors = Vectors.parse(JSON.parse(readFileSync(new URL("vectors.json", FOLDER), "utf8")));

let open: MockEnsemble;
let guarded: MockEnsemble;
beforeAll(async () => {
  const answers = {
    fault: ({ prompt }: { prompt: string }) => (prompt.includes("never end") ? ("stall" as const) : undefined),
  };
  open = await startMockEnsemble({ llama: answers, qwen: answers });
  guarded = await startMockEnsemble({}, { horn: { origins: [ORIGIN], tokenEnv: "HORN_TOKEN" } }, { HORN_TOKEN: TOKEN });
});
afterAll(async () => {
  await open.close();
  await guarded.close();
});

/** Whether a value is what a vector wants; `…` stands for anything that is there. */
function fits(want: unknown, got: unknown): boolean {
  if (want === "…") return got !== undefined;
  if (typeof want !== "object" || want === null) return Object.is(want, got);
  if (typeof got !== "object" || got === null || Array.isArray(want) !== Array.isArray(got)) return false;
  const [wanted, there] = [Object.entries(want), got as Record<string, unknown>];
  return wanted.length === Object.keys(got).length && wanted.every(([key, value]) => fits(value, there[key]));
}

describe("handshakes", () => {
  test.each(vectors.handshakes)("$name: $status", async ({ path, headers, status, code, protocol }) => {
    const { hostname, port } = new URL(guarded.url);
    const good = (text: string): string => text.replace("{token}", TOKEN).replace("{origin}", ORIGIN);
    const upgrade = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    };
    const got = await new Promise<{ status: number; body: string; protocol?: string }>((resolve, reject) => {
      const asked = request({
        hostname,
        port,
        path: good(path),
        headers: {
          ...upgrade,
          ...Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, good(value)])),
        },
      });
      asked.on("upgrade", (response, socket) => {
        resolve({ status: 101, body: "", protocol: response.headers["sec-websocket-protocol"] });
        socket.destroy();
      });
      asked.on("response", (response) => {
        text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
      });
      asked.on("error", reject);
      asked.end();
    });
    expect({ status: got.status, protocol: got.protocol }).toEqual({ status, protocol });
    if (code !== undefined) expect(JSON.parse(got.body)).toMatchObject({ error: { code, retryable: false } });
  });
});

describe("frames", () => {
  test.each(vectors.frames)("$name, in both forms", ({ from, json, cbor }) => {
    const bytes = Buffer.from(cbor, "hex");
    const written = Buffer.from(JSON.stringify(json));
    if (from === "client") {
      const want = HornRequest.parse(json);
      expect(readFrame(CODECS["gorkheavy.cbor.v1"], bytes, true)).toEqual(want);
      expect(readFrame(CODECS["gorkheavy.json.v1"], written, false)).toEqual(want);
      return;
    }
    const reply = HornReply.parse(json);
    expect(CODECS["gorkheavy.cbor.v1"].encode(reply).toString("hex")).toBe(cbor);
    expect(JSON.parse(CODECS["gorkheavy.json.v1"].encode(reply).toString())).toEqual(json);
    if (reply.type !== "event") return;
    const { id, seq, event } = reply;
    expect(CODECS["gorkheavy.cbor.v1"].encodeEvent(id, seq, event).toString("hex")).toBe(cbor);
    expect(JSON.parse(CODECS["gorkheavy.json.v1"].encodeEvent(id, seq, event).toString())).toEqual(json);
  });
});

describe("refusals", () => {
  test.each(vectors.refusals)("$protocol: $name", async ({ protocol, text: words, hex, reply }) => {
    const client = await connectRaw({ url: open.url, protocol });
    try {
      await client.wait(({ type }) => type === "welcome");
      client.send(words ?? Buffer.from(hex ?? "", "hex"));
      expect(await client.wait(({ type }) => type === "refused")).toSatisfy((got) => fits(reply, got));
      // The socket is still good.
      client.send({ type: "ping", nonce: "after" });
      expect(await client.wait(({ type }) => type === "pong")).toEqual({ type: "pong", nonce: "after" });
    } finally {
      client.socket.terminate();
    }
  });
});

describe("conversations", () => {
  const both = vectors.conversations.flatMap((one) => HORN_PROTOCOLS.map((protocol) => ({ ...one, protocol })));
  test.each(both)("$protocol: $name", async ({ steps, protocol }) => {
    let client = await connectRaw({ url: open.url, protocol, hello: null });
    let session = "";
    let seq = 0;
    let read = 0;
    const filled = (value: object): object =>
      JSON.parse(JSON.stringify(value).replaceAll("{session}", session).replaceAll('"{seq}"', String(seq))) as object;
    for (const step of steps) {
      if ("send" in step) client.send(filled(step.send));
      else if ("want" in step) {
        const want = filled(step.want);
        const found = await next(client, read, (frame) => fits(want, frame));
        read = found.at + 1;
        if (found.frame.type === "welcome") ({ session } = found.frame);
        if (found.frame.type === "event") ({ seq } = found.frame);
      } else if ("closed" in step) expect(await client.closed).toBe(step.closed);
      else {
        client.socket.terminate();
        client = await connectRaw({ url: open.url, protocol, hello: null });
        read = 0;
      }
    }
    client.socket.terminate();
    expect(steps.length).toBeGreaterThan(0);
  });
});

/** The first frame from a place on that fits. @throws Error with what came instead, when nothing does */
async function next(
  client: RawClient,
  from: number,
  match: (frame: HornReply) => boolean,
): Promise<{ frame: HornReply; at: number }> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const at = client.frames.findIndex((frame, index) => index >= from && match(frame));
    const frame = client.frames[at];
    if (frame !== undefined) return { frame, at };
    if (Date.now() > deadline) throw new Error(`did not come; got ${JSON.stringify(client.frames.slice(from))}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("the client in the spec works as it stands there", async () => {
  const [, code = ""] = /```js\n([\s\S]*?)```/.exec(readFileSync(new URL("SPEC.md", FOLDER), "utf8")) ?? [];
  expect(code).toContain("ws://127.0.0.1:8080/horn");
  const here = code.replace("ws://127.0.0.1:8080", open.url.replace("http", "ws"));
  const { stdout } = await execa(process.execPath, ["--input-type=module", "--eval", here], { timeout: 15_000 });
  expect(stdout).toBe("An answer by llama here.");
});

test("the spec names every frame and close code that there is", () => {
  const spec = readFileSync(new URL("SPEC.md", FOLDER), "utf8");
  for (const type of [...HornRequest.options, ...HornReply.options].map(({ shape }) => shape.type.value))
    expect(spec).toContain(`\`${type}\``);
  for (const code of ["4400", "4401", "4408", "4409", "1013", "1001", "1009"]) expect(spec).toContain(code);
  const protocols: readonly HornProtocol[] = HORN_PROTOCOLS;
  for (const protocol of protocols) expect(spec).toContain(protocol);
});
