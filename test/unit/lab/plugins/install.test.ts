import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { installPlugins } from "../../../../infra/lab/plugins/install.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), "gorkheavy plugins '"));
});
afterEach(() => rm(home, { recursive: true, force: true }));

test("puts each stand-in where the engine looks, under the version that the SDK asks for", async () => {
  const installed = await installPlugins(home, "/bin/echo");
  expect(installed.map(({ name, version }) => `${name} ${version}`)).toEqual([
    "command 1.2.1",
    "proxmoxve 8.6.0",
    "kubernetes 4.34.2",
  ]);
  for (const { name, version, executable } of installed) {
    expect(executable).toBe(path.join(home, "plugins", `resource-${name}-v${version}`, `pulumi-resource-${name}`));
    const { stdout } = await promisify(execFile)(executable, ["127.0.0.1:1"]);
    expect(stdout).toMatch(new RegExp(`plugins/${name}/main\\.ts 127\\.0\\.0\\.1:1\n$`));
  }
});

test("can run twice, and mends a plugin whose install was cut off", async () => {
  const [first] = await installPlugins(home, "/bin/echo");
  if (first === undefined) throw new Error("nothing was installed");
  const partial = `${path.dirname(first.executable)}.partial`;
  await writeFile(partial, "");
  await writeFile(first.executable, "");
  await installPlugins(home, "/bin/echo");
  expect(await readFile(first.executable, "utf8")).toMatch(/^#!\/bin\/sh\nexec '\/bin\/echo'/);
  await expect(readFile(partial)).rejects.toThrow(/ENOENT/);
});
