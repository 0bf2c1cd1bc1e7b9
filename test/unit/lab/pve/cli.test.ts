import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runPve } from "../../../../infra/lab/pve/cli.ts";
import { parseApiToken } from "../../../../infra/lab/pve/token.ts";

const SECRET = "5ec2e7aa-0000-4000-8000-00000000cafe";
const TOKEN = `root@pam!lab=${SECRET}`;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const bound = server.address();
  await new Promise((done) => server.close(done));
  return typeof bound === "object" && bound !== null ? bound.port : 0;
}

test("says where it is and what to trust, never the secret, and ends cleanly", async () => {
  const data = await mkdtemp(join(tmpdir(), "gorkheavy-cli-"));
  const stop = new AbortController();
  const lines: string[] = [];
  const port = await freePort();
  await runPve({
    port: String(port),
    token: TOKEN,
    data,
    signal: stop.signal,
    print: (line) => {
      lines.push(line);
      if (line.startsWith("Ctrl-C")) setImmediate(() => stop.abort());
    },
  });
  expect(lines[0]).toBe(`Proxmox VE API: https://127.0.0.1:${port}`);
  expect(lines.join("\n")).toContain(`CA file:        ${join(data, "certificates", "ca.pem")}`);
  expect(lines.at(-1)).toBe("stopped");
  expect(lines.join("\n")).not.toContain(SECRET);
  expect(await readdir(data)).not.toContain("lock");
  await rm(data, { recursive: true, force: true });
});

test.each([
  [{ token: undefined }, "--token: missing"],
  [{ token: `root@pam=${SECRET}` }, "it has no '!'"],
  [{ token: `root@pam!lab` }, "it has no '='"],
  [{ token: `lab=${SECRET}` }, "it has no '!' and it has no '@'"],
  [{ token: "root@pam!lab=hunter2" }, "the part after '=' must be a UUID"],
  [{ token: TOKEN, port: "80x" }, '--port: got "80x", want a whole number from 1 to 65535'],
  [{ token: TOKEN, port: 70_000 }, "--port: got 70000"],
  [{ token: TOKEN, machines: "qemu" }, "--machines: got 'qemu', want none"],
  [{ token: TOKEN, node: "a b" }, "--node: got 'a b'"],
])("refuses %o by name, without the secret", async (options, message) => {
  const failed = await runPve({ ...options, print: () => undefined }).catch((error: unknown) => error);
  expect(String(failed)).toContain(message);
  expect(String(failed)).not.toMatch(new RegExp(`${SECRET}|hunter2`));
});

test("a port that is in use is named, and no folder is left", async () => {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  await expect(runPve({ port, token: TOKEN, print: () => undefined })).rejects.toThrow(
    `cannot listen on 127.0.0.1 port ${port}: another program listens there`,
  );
  await new Promise((done) => server.close(done));
});

test("a token has a name and a secret", () => {
  expect(parseApiToken(TOKEN)).toEqual({ id: "root@pam!lab", secret: SECRET });
});
