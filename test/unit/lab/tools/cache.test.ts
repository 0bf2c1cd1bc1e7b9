import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cached } from "../../../../infra/lab/tools/cache.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "cache-test-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const write = (text: string) => async (dir: string) => writeFile(join(dir, "tool"), text);

test("makes an entry once", async () => {
  const first = await cached("tool", "1", write("one"), { root });
  const second = await cached("tool", "1", write("two"), { root });
  expect([first.made, second.made]).toEqual([true, false]);
  expect(await readFile(join(second.dir, "tool"), "utf8")).toBe("one");
});

test("makes an entry once for many askers at the same time", async () => {
  let times = 0;
  const make = async (dir: string) => {
    times++;
    await writeFile(join(dir, "tool"), "x");
  };
  await Promise.all(Array.from({ length: 5 }, () => cached("tool", "1", make, { root })));
  expect(times).toBe(1);
});

test("makes an entry again when a file of it was cut short", async () => {
  const { dir } = await cached("tool", "1", write("whole"), { root });
  await writeFile(join(dir, "tool"), "who");
  const again = await cached("tool", "1", write("whole"), { root });
  expect(again.made).toBe(true);
  expect(await readFile(join(dir, "tool"), "utf8")).toBe("whole");
});

test("makes an entry again when its marker is missing or broken", async () => {
  const { dir } = await cached("tool", "1", write("whole"), { root });
  await writeFile(join(dir, ".complete.json"), "{");
  expect((await cached("tool", "1", write("whole"), { root })).made).toBe(true);
  await rm(join(dir, ".complete.json"));
  expect((await cached("tool", "1", write("whole"), { root })).made).toBe(true);
});

test("keeps nothing of a failed try but its scratch folder", async () => {
  const failing = async (dir: string, _report: unknown, scratch: string) => {
    await writeFile(join(dir, "half"), "");
    await writeFile(join(scratch, "download.partial"), "12345");
    throw new Error("broken off");
  };
  await expect(cached("tool", "1", failing, { root })).rejects.toThrow("broken off");
  expect(await readdir(join(root, "tool"))).toEqual([".1.scratch"]);
  let resumed = "";
  await cached(
    "tool",
    "1",
    async (_dir, _report, scratch) => {
      resumed = await readFile(join(scratch, "download.partial"), "utf8");
    },
    { root },
  );
  expect(resumed).toBe("12345");
  expect(await readdir(join(root, "tool"))).toEqual(["1"]);
});
