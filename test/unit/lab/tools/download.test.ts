import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createReleaseServer } from "../../../../infra/lab/release/server.ts";
import { digestIn, download, Unreachable } from "../../../../infra/lab/tools/download.ts";

const content = randomBytes(300_000);
const sha256 = createHash("sha256").update(content).digest("hex");
let dir: string;
let server: Server;
let requests: (string | undefined)[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "download-test-"));
  await writeFile(join(dir, "source"), content);
  requests = [];
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await rm(dir, { recursive: true, force: true });
});

async function serve(listener: RequestListener | Server): Promise<string> {
  server = typeof listener === "function" ? createServer(listener) : listener;
  server.prependListener("request", (request) => requests.push(request.headers.range));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const target = () => join(dir, "target");

test("brings a file whose digest is right", async () => {
  const base = await serve(createReleaseServer({ files: async () => ({ "/a+b/file": join(dir, "source") }) }));
  await download(`${base}/a%2Bb/file`, target(), { sha256 });
  expect(content.equals(await readFile(target()))).toBe(true);
});

test("goes on where an earlier run was killed", async () => {
  const base = await serve(createReleaseServer({ files: async () => ({ "/file": join(dir, "source") }) }));
  await writeFile(`${target()}.partial`, content.subarray(0, 200_000));
  await download(`${base}/file`, target(), { sha256 });
  expect(requests).toEqual(["bytes=200000-"]);
  expect(content.equals(await readFile(target()))).toBe(true);
});

test("goes on within one run when the connection breaks", async () => {
  let calls = 0;
  const base = await serve((request, response) => {
    const from = Number(/\d+/.exec(request.headers.range ?? "0")?.[0] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, { "content-length": content.length - from });
    if (calls++ === 0) response.write(content.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
    else response.end(content.subarray(from));
  });
  await download(`${base}/file`, target(), { sha256 });
  expect(requests[1]).toMatch(/^bytes=\d+-$/);
  expect(content.equals(await readFile(target()))).toBe(true);
});

test("throws a wrong file away and names both digests", async () => {
  const base = await serve((_request, response) => response.end("something else"));
  const error = await download(`${base}/file`, target(), { sha256 }).catch((e: unknown) => String(e));
  expect(error).toContain(sha256);
  expect(error).toContain(createHash("sha256").update("something else").digest("hex"));
  expect(await readdir(dir)).toEqual(["source"]);
});

test("tells a source that cannot be reached from a broken one", async () => {
  const base = await serve((_request, response) => response.writeHead(403).end());
  await expect(download(`${base}/file`, target())).rejects.toBeInstanceOf(Unreachable);
  server.close();
  await expect(download("http://127.0.0.1:9/file", target())).rejects.toBeInstanceOf(Unreachable);
});

test("gives up on a source that never answers", async () => {
  const base = await serve(() => {});
  await expect(download(`${base}/file`, target(), { answerTimeoutMs: 100 })).rejects.toBeInstanceOf(Unreachable);
});

test("reads one digest from a listing", () => {
  expect(digestIn(`${"a".repeat(64)}  k3s-arm64\n${sha256}  k3s\n`, "k3s")).toBe(sha256);
  expect(() => digestIn("", "k3s")).toThrow("names k3s 0 times");
});
