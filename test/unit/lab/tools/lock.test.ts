import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { acquireLock, LockHeld, readLock, writeLock } from "../../../../infra/lab/tools/lock.ts";

let dir: string;
let path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lock-test-"));
  path = join(dir, "a.lock");
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test("says who holds it", async () => {
  await acquireLock(path, "first");
  const error = await acquireLock(path, "second").catch((e: unknown) => e);
  expect(error).toBeInstanceOf(LockHeld);
  expect(String(error)).toContain(`process ${process.pid} (first`);
});

test("can be taken again once it is given back", async () => {
  const release = await acquireLock(path, "first");
  await release();
  await acquireLock(path, "second");
  expect((await readLock(path))?.purpose).toBe("second");
});

test("is taken over from a process that died", async () => {
  const child = spawn("sleep", ["60"]);
  await writeLock(path, child.pid ?? 0, "doomed");
  expect((await readLock(path))?.purpose).toBe("doomed");
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(await readLock(path)).toBeUndefined();
  await acquireLock(path, "heir");
  expect((await readLock(path))?.purpose).toBe("heir");
});

test("of many who find a dead owner's lock one gets it", async () => {
  const child = spawn("sleep", ["60"]);
  child.kill("SIGKILL");
  await once(child, "exit");
  for (let round = 0; round < 20; round++) {
    await writeLock(path, child.pid ?? 0, "doomed");
    const takers = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => acquireLock(path, `heir ${i}`)));
    const held = takers.filter(({ status }) => status === "fulfilled");
    expect(held).toHaveLength(1);
    for (const one of takers) {
      if (one.status === "fulfilled") await one.value();
      else expect(one.reason).toBeInstanceOf(LockHeld);
    }
  }
  expect(await readdir(dir)).toEqual([]);
});

test("is taken over by somebody else when who was taking it over died", async () => {
  const child = spawn("sleep", ["60"]);
  child.kill("SIGKILL");
  await once(child, "exit");
  await writeLock(path, child.pid ?? 0, "doomed");
  const taking = `${path}.taking`;
  await writeFile(taking, "");
  await utimes(taking, new Date(Date.now() - 60_000), new Date(Date.now() - 60_000));
  await acquireLock(path, "heir");
  expect((await readLock(path))?.purpose).toBe("heir");
});
