import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { stringify } from "yaml";
import { ModelStore } from "../../../runtime/engine/store/store.ts";
import { ggufOf } from "../../support/gguf-bytes.ts";
import { startModels } from "../../support/model-puller.ts";
import { type Registry, sha256, startRegistry } from "../../support/registry.ts";
import { filesOf, pull } from "../../support/store.ts";

const CHUNK_BYTES = 8_388_608;
const KILLS = 20;
/** Longest wait for a process to come as far as it is to be killed at, ms. */
const SLOW_MS = 600_000;

let folder: string;
let store: string;
let registry: Registry;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "kill-"));
  store = join(folder, "store");
  registry = await startRegistry();
  await writeFile(
    join(folder, "engine.yaml"),
    stringify({ store: { chunkBytes: CHUNK_BYTES, registry: registry.host, reserveBytes: 0 } }),
  );
});
afterEach(async () => {
  await registry.close();
  await rm(folder, { recursive: true });
});

const models = (...args: string[]) => startModels([...args, "--store", store, "--config", join(folder, "engine.yaml")]);

test(
  "killed twenty times, a pull ends whole, with at most one chunk fetched again for each kill",
  async () => {
    const weights = ggufOf(12 * CHUNK_BYTES);
    registry.model("library/tiny", "1b", [{ content: weights }]);
    registry.faults.pauseMs = 1;
    let before = 0;
    for (let kill = 1; kill <= KILLS; kill++) {
      const at = Math.floor((weights.length * kill) / (KILLS + 1));
      const puller = models("pull", "tiny:1b");
      let ended = false;
      void puller.ended.then(() => (ended = true));
      // Past what the last one had, so that each brings something.
      while (registry.served() < Math.max(at, before + 65_536) && !ended) await new Promise((r) => setTimeout(r, 2));
      puller.kill("SIGKILL");
      const { status, stderr } = await puller.ended;
      expect({ status, stderr: status === "SIGKILL" ? "" : stderr }).toEqual({ status: "SIGKILL", stderr: "" });
      before = registry.served();
    }
    registry.faults.pauseMs = undefined;
    const last = await models("pull", "tiny:1b").ended;
    expect(last).toMatchObject({ status: 0 });
    const again = registry.served() - weights.length;
    process.stdout.write(`${KILLS} kills: ${again} of ${weights.length} bytes fetched again\n`);
    expect(again).toBeLessThanOrEqual(KILLS * CHUNK_BYTES);
    expect((await models("verify").ended).stdout).toBe("tiny:1b: ok\n");
    const left = (await filesOf(store)).filter((name) => /partial|lock|tmp/.test(name));
    expect(left).toEqual([]);
  },
  SLOW_MS,
);

test(
  "two processes bring one model by one download, also when the one that fetches is killed",
  async () => {
    const weights = ggufOf(3 * CHUNK_BYTES);
    registry.model("library/tiny", "1b", [{ content: weights }]);
    registry.faults.pauseMs = 3;
    const first = models("pull", "tiny:1b");
    while (registry.served() < CHUNK_BYTES) await new Promise((r) => setTimeout(r, 5));
    const others = [models("pull", "tiny:1b"), models("pull", "tiny:1b", "--json")];
    while (registry.served() < 2 * CHUNK_BYTES) await new Promise((r) => setTimeout(r, 5));
    first.kill("SIGKILL");
    await first.ended;
    for (const one of others) expect(await one.ended).toMatchObject({ status: 0 });
    expect(registry.served()).toBeLessThanOrEqual(weights.length + CHUNK_BYTES);
  },
  SLOW_MS,
);

test(
  "Ctrl-C ends it in order, and the same command goes on from there",
  async () => {
    const weights = ggufOf(2 * CHUNK_BYTES);
    registry.model("library/tiny", "1b", [{ content: weights }]);
    registry.faults.pauseMs = 3;
    const stopped = models("pull", "tiny:1b");
    while (registry.served() < CHUNK_BYTES) await new Promise((r) => setTimeout(r, 5));
    stopped.kill("SIGINT");
    expect(await stopped.ended).toMatchObject({
      status: 130,
      stderr: expect.stringContaining("goes on from there") as string,
    });
    expect((await filesOf(store)).filter((name) => name.endsWith(".lock"))).toEqual([]);
    const pin = `tiny:1b@sha256:${sha256(weights)}`;
    expect(await models("pull", pin).ended).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("tiny:1b is here: ") as string,
    });
    expect(registry.served()).toBeLessThanOrEqual(weights.length + CHUNK_BYTES);
    const asked = registry.seen.length;
    expect((await models("pull", pin).ended).stdout).toBe("tiny:1b is here already\n");
    expect(registry.seen).toHaveLength(asked);
  },
  SLOW_MS,
);

test(
  "a disk that fills up is a clear error, and what came is gone on with when there is room",
  async () => {
    const run = promisify(execFile);
    await mkdir(store);
    await run("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", store]);
    try {
      const weights = ggufOf(6_000_000);
      registry.model("library/tiny", "1b", [{ content: weights }]);
      registry.faults.pauseMs = 20;
      const settings = { registry: registry.host, reserveBytes: 0, retries: 1 };
      const one = await ModelStore.open(store, { settings });
      const pulling = pull(one, "tiny:1b").then(
        () => undefined,
        (error: unknown) => error,
      );
      await expect.poll(() => registry.served()).toBeGreaterThan(1_000_000);
      await writeFile(join(store, "other"), Buffer.alloc(8_388_608)).catch(() => undefined);
      expect(await pulling).toMatchObject({
        code: "store_full",
        message: expect.stringMatching(/ has \d+ bytes free, \d+ more are needed; free some/) as string,
      });
      expect((await filesOf(store)).filter((name) => name !== "other").every((name) => name.includes(".partial"))).toBe(
        true,
      );
      expect(await one.list()).toEqual([]);
      await rm(join(store, "other"));
      await pull(one, "tiny:1b");
      expect(await one.facts("tiny:1b")).toMatchObject({ digest: sha256(weights) });
      await one.close();
      await run("mount", ["-o", "remount,ro", store]);
      const readOnly = await ModelStore.open(store, { settings });
      expect(readOnly.writable).toBe(false);
      expect((await readOnly.list()).map(({ name }) => name)).toEqual(["tiny:1b"]);
      (await readOnly.weights("tiny:1b", new AbortController().signal)).release();
      for (const change of [
        () => pull(readOnly, "tiny:2b"),
        () => readOnly.remove("tiny:1b"),
        () => readOnly.copy("tiny:1b", "x:1"),
      ])
        await expect(change()).rejects.toMatchObject({
          code: "forbidden",
          message: expect.stringContaining("for reading only") as string,
        });
      await readOnly.close();
    } finally {
      await run("umount", [store]);
    }
  },
  SLOW_MS,
);
