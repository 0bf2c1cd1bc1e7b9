import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { processes, treeOf, treeUse, untilIdle } from "../../bench/peers/process-tree.ts";

let proc: string;
beforeEach(async () => {
  proc = await mkdtemp(join(tmpdir(), "gorkheavy-proc-"));
});
afterEach(() => rm(proc, { recursive: true, force: true }));

async function show(pid: number, parent: number, rssKib: number | undefined, userTicks = 0): Promise<void> {
  await mkdir(join(proc, `${pid}`));
  const rss = rssKib === undefined ? "" : `VmRSS:\t   ${rssKib} kB\n`;
  await writeFile(join(proc, `${pid}`, "status"), `Name:\tx (y)\nPid:\t${pid}\nPPid:\t${parent}\n${rss}Threads:\t1\n`);
  // State, parent, nine more, then utime and stime; the name holds brackets and a space on purpose.
  await writeFile(
    join(proc, `${pid}`, "stat"),
    `${pid} (x (y) z) S ${parent} 4 5 6 7 8 9 10 11 12 ${userTicks} 3 0 0 20`,
  );
}

test("memory and CPU time are those of the process and all its descendants, and of nobody else", async () => {
  await show(10, 1, 2048, 100);
  await show(11, 10, 1024, 5);
  await show(12, 11, 512);
  await show(20, 1, 99_999, 99_999);
  await mkdir(join(proc, "sys"));
  expect(treeOf(10, await processes(proc)).map(({ pid }) => pid)).toEqual([10, 11, 12]);
  expect(await treeUse(10, proc)).toEqual({ rssMib: 3.5, cpuMs: 1140 });
});

test("a process that has ended, or ends meanwhile, counts nothing", async () => {
  await show(10, 1, undefined);
  await mkdir(join(proc, "11"));
  expect((await treeUse(10, proc)).rssMib).toBe(0);
  expect(await treeUse(404, proc)).toEqual({ rssMib: 0, cpuMs: 0 });
});

test("this process has memory and has used a CPU", async () => {
  const { rssMib, cpuMs } = await treeUse(process.pid);
  expect(rssMib).toBeGreaterThan(10);
  expect(cpuMs).toBeGreaterThan(0);
});

test("a process that is gone is idle", async () => {
  await untilIdle(2 ** 22 + 1, 60_000);
  expect(await treeUse(2 ** 22 + 1)).toEqual({ rssMib: 0, cpuMs: 0 });
});
