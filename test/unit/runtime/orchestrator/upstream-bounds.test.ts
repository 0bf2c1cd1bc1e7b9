// A server that fails may send without end: what it says is read up to a bound, then its connection is closed.
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { MemberSchema } from "../../../../runtime/contracts/ensemble-config.ts";
import { Upstream } from "../../../../runtime/orchestrator/upstream.ts";

/** Far above what is read, and soon written over loopback. */
const SENT_BYTES = 256 * 1024 * 1024;
/** Above what is read and what the sockets of both sides hold, which Linux lets grow to some megabytes. */
const MOST_BYTES = 64 * 1024 * 1024;
const BLOCK = Buffer.alloc(65_536, "x");

let server: Server | undefined;
let upstream: Upstream | undefined;
afterEach(async () => {
  await upstream?.close();
  server?.closeAllConnections();
  server?.close();
});

/** Starts a server that answers with so much. @returns what it could write, bytes, told when the answer has ended */
async function sends(status: number, begin: string): Promise<{ url: string; ended: Promise<number> }> {
  let told: (bytes: number) => void = () => undefined;
  const ended = new Promise<number>((resolve) => {
    told = resolve;
  });
  const write = async (response: ServerResponse): Promise<void> => {
    let closed = false;
    const close = once(response, "close").then(() => (closed = true));
    response.writeHead(status, { "content-type": "application/json" }).write(begin);
    let bytes = 0;
    while (bytes < SENT_BYTES && !closed) {
      bytes += BLOCK.length;
      if (!response.write(BLOCK)) await Promise.race([once(response, "drain"), close]);
    }
    told(bytes);
    response.end();
  };
  server = createServer((request, response) => {
    request.resume();
    void write(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, ended };
}

function member(url: string, api: "ollama" | "openai") {
  return MemberSchema.parse({ name: "llama", role: "candidate", url, model: "llama:1b", api });
}

test.each(["ollama", "openai"] as const)("an error without end of a server of the %s API", async (api) => {
  const { url, ended } = await sends(500, '{"error":"');
  const asked = new Upstream({ connectMs: 5_000 });
  upstream = asked;
  const call = { member: member(url, api), messages: [{ role: "user" as const, content: "Why?" }], maxTokens: 8 };
  const read = (async () => {
    for await (const piece of asked.call(call, new AbortController().signal)) void piece;
  })();
  await expect(read).rejects.toMatchObject({
    code: "model_failed",
    message: `${url} answered 500`,
    upstreamStatus: 500,
  });
  expect(await ended).toBeLessThan(MOST_BYTES);
});

test("a document without end is none, and its server is alive", async () => {
  const { url, ended } = await sends(200, '{"version":"');
  upstream = new Upstream({ connectMs: 5_000, healthMs: 60_000 });
  const got = await upstream.get(member(url, "ollama"), "/api/version", new AbortController().signal);
  expect(got).toEqual({ status: 200, body: undefined });
  expect(await ended).toBeLessThan(MOST_BYTES);
  expect(await upstream.alive(member(url, "ollama"), url)).toBe(true);
});
