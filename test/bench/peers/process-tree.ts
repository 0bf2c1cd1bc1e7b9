import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

/** One process as `/proc` shows it. */
export interface ProcessMemory {
  pid: number;
  parent: number;
  /** Resident set, KiB; 0 of a process that has ended. */
  rssKib: number;
}

/** Every process that can be read now. @param proc where the kernel shows processes; tests name a folder of their own */
export async function processes(proc = "/proc"): Promise<ProcessMemory[]> {
  const found = await Promise.all(
    (await readdir(proc)).filter((name) => /^\d+$/.test(name)).map((pid) => readProcess(proc, Number(pid))),
  );
  return found.filter((one) => one !== undefined);
}

/** Fields of /proc/PID/status are in KiB, also where they say kB; proc(5). */
async function readProcess(proc: string, pid: number): Promise<ProcessMemory | undefined> {
  const status = await readFile(join(proc, `${pid}`, "status"), "utf8").catch(() => undefined);
  const parent = status?.match(/^PPid:\s+(\d+)$/m)?.[1];
  if (status === undefined || parent === undefined) return undefined;
  return { pid, parent: Number(parent), rssKib: Number(status.match(/^VmRSS:\s+(\d+) kB$/m)?.[1] ?? 0) };
}

/** A process and all its descendants. */
export function treeOf(root: number, all: readonly ProcessMemory[]): ProcessMemory[] {
  const tree = all.filter(({ pid }) => pid === root);
  for (const one of tree) tree.push(...all.filter(({ parent }) => parent === one.pid));
  return tree;
}

/** Resident memory of a process and all its descendants, MiB. What they share counts once for each. */
export async function treeRssMib(root: number, proc?: string): Promise<number> {
  return treeOf(root, await processes(proc)).reduce((sum, { rssKib }) => sum + rssKib, 0) / 1024;
}
