import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createCommandPlugin } from "../../../infra/lab/plugins/command/plugin.ts";
import { AssetValue, Secret } from "../../../infra/lab/plugins/provider.ts";
import type { CreateCall, Properties } from "../../../infra/lab/plugins/provider.ts";
import { makeKey, startSshServer } from "./ssh-server.ts";
import type { TestSshServer } from "./ssh-server.ts";

const COPY = "command:remote:CopyToRemote";
const LOCAL = "command:local:Command";
const plugin = createCommandPlugin();
let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "gorkheavy-command-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

function call(type: string, inputs: Properties): CreateCall & { lines: string[] } {
  const lines: string[] = [];
  const signal = new AbortController().signal;
  const log = (_level: string, text: string): void => void lines.push(text);
  return { urn: "u", type, name: "n", inputs, preview: false, timeoutMs: 0, signal, log, lines };
}

async function checked(type: string, news: Properties): Promise<Properties> {
  const { inputs, failures } = await plugin.check({ urn: "u", type, name: "n", news, randomSeed: new Uint8Array() });
  expect(failures).toEqual([]);
  return inputs;
}

describe("a copy to a machine", () => {
  const client = makeKey();
  let server: TestSshServer;
  let remote: string;
  beforeEach(async () => {
    remote = path.join(root, "remote");
    await mkdir(path.join(remote, "existing"), { recursive: true });
    server = await startSshServer({ clientKey: client.publicKey, sftpRoot: remote });
  });
  afterEach(() => server.close());

  const copy = async (source: AssetValue, remotePath: string) => {
    const { port, hostKey } = server;
    const connection = { host: "127.0.0.1", port, hostKey, privateKey: client.privateKey, dialErrorLimit: 0 };
    return plugin.create(call(COPY, await checked(COPY, { connection, source, remotePath })));
  };

  test("writes a text, and makes the folders on its way", async () => {
    const { id } = await copy(new AssetValue("asset", { text: "hello", hash: "1" }), "/a/b/c.txt");
    expect(id).toMatch(/^[0-9a-f]{16}$/);
    expect(await readFile(path.join(remote, "a/b/c.txt"), "utf8")).toBe("hello");
  });

  test("puts a file into a folder that is there, and refuses a text for it", async () => {
    const file = path.join(root, "f.bin");
    await writeFile(file, Buffer.alloc(100_000, 7));
    await copy(new AssetValue("asset", { path: file, hash: "2" }), "/existing");
    expect((await readFile(path.join(remote, "existing/f.bin"))).equals(await readFile(file))).toBe(true);
    const text = copy(new AssetValue("asset", { text: "x", hash: "3" }), "/existing");
    await expect(text).rejects.toThrow(/\/existing is a directory/);
  });

  test("copies a folder with what is in it", async () => {
    const folder = path.join(root, "tree");
    await mkdir(path.join(folder, "inner"), { recursive: true });
    await writeFile(path.join(folder, "inner", "leaf"), "x");
    await copy(new AssetValue("archive", { path: folder, hash: "4" }), "/existing");
    expect(await readFile(path.join(remote, "existing/tree/inner/leaf"), "utf8")).toBe("x");
  });

  test("runs again in an update only for another content or target", async () => {
    const { port, hostKey } = server;
    const connection = { host: "127.0.0.1", port, hostKey, privateKey: client.privateKey, dialErrorLimit: 0 };
    const olds = await checked(COPY, {
      connection,
      source: new AssetValue("asset", { text: "a", hash: "1" }),
      remotePath: "/x",
    });
    const update = (news: Properties) =>
      plugin.update({ ...call(COPY, news), id: "1", olds, oldInputs: olds, news, ignoreChanges: [] });
    await update({ ...olds, connection: new Secret({ ...connection, dialErrorLimit: 1 }) });
    expect(server.connections).toBe(0);
    await update({ ...olds, source: new AssetValue("asset", { text: "b", hash: "2" }) });
    expect(server.connections).toBe(1);
  });
});

describe("a command on this machine", () => {
  test("runs in its folder, with its environment, input and interpreter", async () => {
    const inputs = await checked(LOCAL, {
      create: 'cat; echo "$NAME in $(basename "$PWD")"',
      dir: root,
      environment: { NAME: "value" },
      stdin: "from stdin\n",
      interpreter: ["/bin/sh", "-eu", "-c"],
    });
    const { properties } = await plugin.create(call(LOCAL, inputs));
    expect(properties["stdout"]).toBe(`from stdin\nvalue in ${path.basename(root)}`);
  });

  test("collects files by glob, in order, with exclusions", async () => {
    await mkdir(path.join(root, "src"));
    for (const name of ["b.txt", "a.txt", "src/secret.js", "src/index.js"])
      await writeFile(path.join(root, name), name);
    const inputs = await checked(LOCAL, {
      create: "true",
      dir: root,
      assetPaths: ["*.txt", "src/**", "!src/secret*"],
      archivePaths: ["*.txt"],
    });
    const { properties } = await plugin.create(call(LOCAL, inputs));
    expect(Object.keys(properties["assets"] ?? {})).toEqual(["a.txt", "b.txt", "src/index.js"]);
    const { archive } = properties;
    if (!(archive instanceof AssetValue)) throw new Error("no archive");
    expect(Object.keys(archive.members ?? {})).toEqual(["a.txt", "b.txt"]);
  });

  test("fails with its status and its last words", async () => {
    const failing = plugin.create(call(LOCAL, await checked(LOCAL, { create: "echo why >&2; exit 3" })));
    await expect(failing).rejects.toThrow(/exit status 3: running "echo why >&2; exit 3":\nwhy/);
  });

  test("is also a function, which runs at once", async () => {
    const token = "command:local:run";
    const signal = new AbortController().signal;
    const result = await plugin.invoke?.({ token, args: { command: "echo now" }, preview: true, signal });
    expect(result?.properties).toMatchObject({ command: "echo now", stdout: "now" });
  });
});
