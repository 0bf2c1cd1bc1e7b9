import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { processes, treeOf, treeRssMib } from "../../bench/peers/process-tree.ts";

let proc: string;
beforeEach(async () => {
  proc = await mkdtemp(join(tmpdir(), "gorkheavy-proc-"));
});
afterEach(() => rm(proc, { recursive: true, force: true }));

async function show(pid: number, parent: number, rssKib: number | undefined): Promise<void> {
  await mkdir(join(proc, `${pid}`));
  const rss = rssKib === undefined ? "" : `VmRSS:\t   ${rssKib} kB\n`;
  await writeFile(join(proc, `${pid}`, "status"), `Name:\tx (y)\nPid:\t${pid}\nPPid:\t${parent}\n${rss}Threads:\t1\n`);
}

test("memory is that of the process and all its descendants, and of nobody else", async () => {
  await show(10, 1, 2048);
  await show(11, 10, 1024);
  await show(12, 11, 512);
  await show(20, 1, 99_999);
  await mkdir(join(proc, "sys"));
  expect(treeOf(10, await processes(proc)).map(({ pid }) => pid)).toEqual([10, 11, 12]);
  expect(await treeRssMib(10, proc)).toBe(3.5);
});

test("a process that has ended, or ends meanwhile, counts nothing", async () => {
  await show(10, 1, undefined);
  await mkdir(join(proc, "11"));
  expect(await treeRssMib(10, proc)).toBe(0);
  expect(await treeRssMib(404, proc)).toBe(0);
});

test("this process has memory", async () => {
  expect(await treeRssMib(process.pid)).toBeGreaterThan(10);
});
