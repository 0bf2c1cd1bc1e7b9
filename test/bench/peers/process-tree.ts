import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** One process as `/proc` shows it. */
export interface ProcessUse {
  pid: number;
  parent: number;
  /** Resident set, KiB; 0 of a process that has ended. */
  rssKib: number;
  /** Time on a CPU since its start, all threads, ms. */
  cpuMs: number;
}

/** The kernel's clock tick as programs see it, ms: USER_HZ is 100 on every architecture that Node runs on; proc(5). */
const TICK_MS = 10;

/** Every process that can be read now. @param proc where the kernel shows processes; tests name a folder of their own */
export async function processes(proc = "/proc"): Promise<ProcessUse[]> {
  const found = await Promise.all(
    (await readdir(proc)).filter((name) => /^\d+$/.test(name)).map((pid) => readProcess(proc, Number(pid))),
  );
  return found.filter((one) => one !== undefined);
}

/** VmRSS of /proc/PID/status is in KiB, though it says kB; utime and stime are fields 14 and 15 of /proc/PID/stat; proc(5). */
async function readProcess(proc: string, pid: number): Promise<ProcessUse | undefined> {
  const read = (file: string): Promise<string> => readFile(join(proc, `${pid}`, file), "utf8").catch(() => "");
  const [status, stat] = [await read("status"), await read("stat")];
  const parent = /^PPid:\s+(\d+)$/m.exec(status)?.[1];
  if (parent === undefined) return undefined;
  // The command name (field 2) may hold spaces and brackets; the fields after its last bracket do not.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    pid,
    parent: Number(parent),
    rssKib: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0),
    cpuMs: (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * TICK_MS,
  };
}

/** A process and all its descendants. */
export function treeOf(root: number, all: readonly ProcessUse[]): ProcessUse[] {
  const tree = all.filter(({ pid }) => pid === root);
  for (const one of tree) tree.push(...all.filter(({ parent }) => parent === one.pid));
  return tree;
}

/** Resident memory, MiB, and CPU time, ms, of a process and all its descendants. Memory that they share counts once for each. */
export async function treeUse(root: number, proc?: string): Promise<{ rssMib: number; cpuMs: number }> {
  const tree = treeOf(root, await processes(proc));
  return {
    rssMib: tree.reduce((sum, { rssKib }) => sum + rssKib, 0) / 1024,
    cpuMs: tree.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
  };
}

/** How long a process is watched for idleness, ms, and the CPU time that it may use in it. */
const WATCH_MS = 100;
const IDLE_CPU_MS = 10;

/** Waits until a process tree uses hardly any CPU: answers that nobody waits for any more must not slow down who is measured next. */
export async function untilIdle(root: number, mostMs: number): Promise<void> {
  const deadline = performance.now() + mostMs;
  let before = (await treeUse(root)).cpuMs;
  while (performance.now() < deadline) {
    await delay(WATCH_MS);
    const { cpuMs } = await treeUse(root);
    if (cpuMs - before <= IDLE_CPU_MS) return;
    before = cpuMs;
  }
}
