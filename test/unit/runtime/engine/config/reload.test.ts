import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EngineConfig } from "../../../../../runtime/contracts/engine-config.ts";
import { LiveConfig } from "../../../../../runtime/engine/config/reload.ts";
import { resolveConfig } from "../../../../../runtime/engine/config/sources.ts";
import type { Logger } from "../../../../../runtime/support/log.ts";

/** A change that a file system tells of, on a busy machine. */
const HEARD = { timeout: 15_000 };

let folder: string;
let live: LiveConfig | undefined;
let applied: EngineConfig[];
let said: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "reload-"));
  [applied, said] = [[], []];
});
afterEach(async () => {
  live?.close();
  await rm(folder, { recursive: true });
});

const log = Object.fromEntries(
  ["info", "warn", "error"].map((level) => [
    level,
    (fields: unknown, words: string) => void said.push(`${level} ${words} ${JSON.stringify(fields)}`),
  ]),
) as unknown as Logger;

/** A ConfigMap as the kubelet mounts it: the file is a link through `..data`, which is turned as a whole. */
async function configMap(text: string, generation: number): Promise<string> {
  const data = join(folder, `..${generation}`);
  await mkdir(data);
  await writeFile(join(data, "engine.yaml"), text);
  await symlink(`..${generation}`, join(folder, "..data_tmp"));
  await rename(join(folder, "..data_tmp"), join(folder, "..data"));
  const file = join(folder, "engine.yaml");
  if (generation === 1) await symlink(join("..data", "engine.yaml"), file);
  return file;
}

async function open(file: string, secrets?: string): Promise<LiveConfig> {
  const sources = { file, env: {}, flags: { slots: "3" }, ...(secrets === undefined ? {} : { secrets }) };
  live = new LiveConfig(sources, await resolveConfig(sources), (config) => void applied.push(config), log);
  return live;
}

test("a turned ConfigMap is taken over without being asked", async () => {
  const file = await configMap("models: [a:1]", 1);
  (await open(file)).watch();
  await configMap("models: [a:1, b:1]\nresidency: { keepAliveSeconds: 60 }\nlogLevel: debug", 2);
  await expect.poll(() => applied.length, HEARD).toBe(1);
  expect(applied[0]).toMatchObject({
    models: [{ name: "a:1" }, { name: "b:1" }],
    residency: { keepAliveSeconds: 60 },
    logLevel: "debug",
    slots: 3,
  });
}, 30_000);

test("a Secret's new token is taken over, and is not in the log", async () => {
  const file = await configMap("models: [a:1]", 1);
  const secrets = await mkdtemp(join(tmpdir(), "tokens-"));
  await writeFile(join(secrets, "adminToken"), "first sesame");
  (await open(file, secrets)).watch();
  await writeFile(join(secrets, "adminToken"), "second sesame");
  await expect.poll(() => applied.at(-1)?.adminToken, HEARD).toBe("second sesame");
  expect(said.join()).not.toContain("sesame");
  await rm(secrets, { recursive: true });
}, 30_000);

test("what takes a restart keeps its old value and says so once; what may change with it does", async () => {
  const file = await configMap("port: 5000", 1);
  const config = await open(file);
  await configMap("port: 6000\nresidency: { dwellMs: 1 }", 2);
  await config.reload();
  await config.reload();
  expect(applied).toHaveLength(1);
  expect(applied[0]).toMatchObject({ port: 5000, residency: { dwellMs: 1 } });
  const restarts = said.filter((line) => line.includes("takes a restart"));
  expect(restarts).toEqual([expect.stringContaining('{"setting":"port","kept":"5000","wanted":"6000"}')]);
});

test("a wrong file changes nothing, says why once, and the next right one is taken over", async () => {
  const file = await configMap("residency: { dwellMs: 5 }", 1);
  const config = await open(file);
  await configMap("residency: { dwellMs: never }", 2);
  await config.reload();
  await config.reload();
  expect(applied).toEqual([]);
  expect(said).toEqual([expect.stringMatching(/^error configuration is wrong, the old one is kept .*got \\"never\\"/)]);
  await configMap("residency: { dwellMs: 6 }", 3);
  await config.reload();
  expect(applied).toMatchObject([{ residency: { dwellMs: 6 } }]);
});

test("nothing is done where nothing has changed, unless somebody asks", async () => {
  const config = await open(await configMap("slots: 4", 1));
  await config.reload();
  expect(applied).toEqual([]);
  await config.reload(true);
  expect(applied).toHaveLength(1);
});

test("a flag still wins over a changed file", async () => {
  const file = await configMap("slots: 4", 1);
  const config = await open(file);
  await configMap("slots: 9\ngraceMs: 1", 2);
  await config.reload();
  expect(applied).toMatchObject([{ slots: 3, graceMs: 1 }]);
});
