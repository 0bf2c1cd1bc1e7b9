import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createReleaseServer, parseRange } from "../../../../infra/lab/release/server.ts";

let dir: string;
let base: string;
const servers: Server[] = [];

async function start(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "release-test-"));
  await writeFile(join(dir, "file"), "0123456789");
  const upstream = await start(
    createServer((request, response) => response.end(`upstream ${request.url} ${request.headers.range ?? ""}`)),
  );
  base = await start(
    createReleaseServer({
      files: async () => ({ "/file": join(dir, "file") }),
      passThroughHosts: ["example.test"],
      originOf: () => upstream,
    }),
  );
});
afterAll(async () => {
  for (const server of servers) server.close();
  await rm(dir, { recursive: true, force: true });
});

test("serves a part of a file", async () => {
  const response = await fetch(`${base}/file`, { headers: { range: "bytes=4-6" } });
  expect([response.status, response.headers.get("content-range"), await response.text()]).toEqual([
    206,
    "bytes 4-6/10",
    "456",
  ]);
});

test("refuses a range past the end", async () => {
  expect((await fetch(`${base}/file`, { headers: { range: "bytes=10-" } })).status).toBe(416);
});

test("serves only what it was told to", async () => {
  expect((await fetch(`${base}/../../etc/passwd`)).status).toBe(404);
  expect((await fetch(`${base}/constructor`)).status).toBe(404);
  expect((await fetch(`${base}/%ff`)).status).toBe(400);
  expect((await fetch(`${base}/file`, { method: "POST" })).status).toBe(405);
});

test("passes downloads through from listed hosts only", async () => {
  const passed = await fetch(`${base}/pass/example.test/v1/blob?x=1`, { headers: { range: "bytes=5-" } });
  expect(await passed.text()).toBe("upstream /v1/blob?x=1 bytes=5-");
  expect((await fetch(`${base}/pass/evil.test/`)).status).toBe(403);
});

describe("parseRange", () => {
  test.each([
    ["bytes=0-", { start: 0, end: 9 }],
    ["bytes=-3", { start: 7, end: 9 }],
    ["bytes=2-99", { start: 2, end: 9 }],
    ["bytes=5-4", "unsatisfiable"],
    ["bytes=-", undefined],
    ["items=1-2", undefined],
    [undefined, undefined],
  ])("%s", (header, expected) => {
    expect(parseRange(header, 10)).toEqual(expected);
  });
});
