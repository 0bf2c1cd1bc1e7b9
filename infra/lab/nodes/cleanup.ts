import { readdir, readFile, readlink, rm, rmdir, stat } from "node:fs/promises";
import { sep } from "node:path";
import { execa } from "execa";
import { processStart } from "../tools/process-start.ts";
import { labGroups, processesIn, removeGroup } from "./cgroup.ts";
import { labNamespaceExists, namespaceOf, namespacePath, removeLabNetwork } from "./network.ts";

/** How long processes may take to die after SIGKILL, ms: one in an uninterruptible wait for the disk needs a while. */
const DEATH_TIMEOUT_MS = 15_000;

/** A process that is told apart from a later one with the same id. */
export interface RecordedProcess {
  pid: number;
  /** When it started, clock ticks after the host's boot: {@link processStart}. */
  startTicks: number;
}

/** What is known of a lab that is to be swept. */
export interface SweepOptions {
  /** The lab's directory, removed with everything in it. Absolute; must exist only if the lab got that far. */
  stateDir: string;
  /** Processes outside of the lab's namespaces that belong to it. Default none. */
  processes?: readonly RecordedProcess[];
}

/** Ids of all processes in a lab's network or in its cgroups, and of those in process namespaces that began there. */
export async function labProcesses(lab: string): Promise<Set<number>> {
  const found = new Set<number>();
  for (const group of await labGroups(lab)) for (const pid of await processesIn(group)) found.add(pid);
  const network = await stat(namespacePath(lab)).catch(() => undefined);
  const namespaces = new Set<string>();
  const own = await readlink("/proc/self/ns/pid");
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of pids) {
    const net = network ? await stat(`/proc/${pid}/ns/net`).catch(() => undefined) : undefined;
    const inNetwork = net !== undefined && net.ino === network?.ino && net.dev === network.dev;
    if (inNetwork) found.add(pid);
    const pidNamespace = inNetwork || found.has(pid) ? await readlink(`/proc/${pid}/ns/pid`).catch(() => own) : own;
    if (pidNamespace !== own) namespaces.add(pidNamespace);
  }
  for (const pid of pids) {
    if (namespaces.has((await readlink(`/proc/${pid}/ns/pid`).catch(() => "")) || "none")) found.add(pid);
  }
  found.delete(process.pid);
  return found;
}

/** Mount points of this namespace at or below a directory, innermost first. */
export function mountsBelow(mountinfo: string, dir: string): string[] {
  return mountinfo
    .split("\n")
    .flatMap((line) => {
      const field = line.split(" ")[4];
      return field === undefined
        ? []
        : [field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))];
    })
    .filter((point) => point === dir || point.startsWith(dir + sep))
    .reverse();
}

/**
 * Takes down everything that a lab left, also one that was killed at any moment: processes, mounts, network, cgroups, and its directory.
 * Touches nothing that is not in the lab's network, its cgroups or below its directory. Caches stay. A lab that does not exist is no error.
 * @returns what was removed, one phrase each; empty when nothing was there
 * @throws Error that names everything that could not be removed; the rest is removed nevertheless
 */
export async function sweep(lab: string, options: SweepOptions): Promise<string[]> {
  const removed: string[] = [];
  const failed: string[] = [];
  const attempt = async (what: string, work: () => Promise<boolean>) => {
    try {
      if (await work()) removed.push(what);
    } catch (error) {
      failed.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };

  const killed = new Set<number>();
  await attempt("processes", async () => {
    const deadline = Date.now() + DEATH_TIMEOUT_MS;
    for (;;) {
      const living = await labProcesses(lab);
      for (const { pid, startTicks } of options.processes ?? [])
        if ((await processStart(pid))?.ticks === startTicks) living.add(pid);
      const mortal = [...living].filter((pid) => pid !== process.pid);
      for (const pid of mortal) {
        killed.add(pid);
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // Ended by itself, or with the first of its namespace.
        }
      }
      if (await allDead(mortal)) return false;
      if (Date.now() > deadline)
        throw new Error(`still there ${DEATH_TIMEOUT_MS / 1000} s after SIGKILL: ${mortal.join(", ")}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  if (killed.size > 0) removed.push(`${killed.size} processes`);

  for (const group of await labGroups(lab)) {
    await attempt(`cgroup ${group}`, async () => {
      await removeGroup(group);
      return true;
    });
  }
  for (const point of mountsBelow(await readFile("/proc/self/mountinfo", "utf8"), options.stateDir)) {
    await attempt(`mount ${point}`, async () => {
      await execa("umount", ["--lazy", point], { stdin: "ignore" });
      return true;
    });
  }
  await attempt(`network namespace ${namespaceOf(lab)}`, async () => {
    if (!(await labNamespaceExists(lab))) return false;
    await removeLabNetwork(lab);
    return true;
  });
  // nspawn's scratch directory is only a mount point for the lab; it goes when nobody else has something there.
  await rmdir("/run/systemd/nspawn").catch(() => undefined);
  await attempt(`directory ${options.stateDir}`, async () => {
    // Only with nothing mounted there: the files behind a mount are somebody else's.
    if (mountsBelow(await readFile("/proc/self/mountinfo", "utf8"), options.stateDir).length > 0)
      throw new Error("something is still mounted there");
    const there = await stat(options.stateDir).catch(() => undefined);
    await rm(options.stateDir, { recursive: true, force: true });
    return there !== undefined;
  });
  if (failed.length > 0) {
    throw new Error(
      `lab ${lab}: not everything could be removed. ${failed.join("; ")}. Removed: ${removed.join(", ") || "nothing"}.`,
    );
  }
  return removed;
}

/** A zombie counts as dead: it holds nothing, and only its parent can take it away. */
async function allDead(pids: readonly number[]): Promise<boolean> {
  for (const pid of pids) {
    const start = await processStart(pid);
    if (start !== undefined && !start.zombie) return false;
  }
  return true;
}
