import { access, mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { namespaceOf } from "./network.ts";
import type { GuestSize } from "./guest-view.ts";

const ROOT = "/sys/fs/cgroup";

/** Period of the processor quota, microseconds; the kernel's default. */
const PERIOD_US = 100_000;

/** One cgroup hierarchy of this host. */
export interface Hierarchy {
  /** Directory of the hierarchy, or with version 1 the one below it that this process is in: new groups go there. */
  base: string;
  /** `cpu`, `memory`, `systemd` …; several for one directory with version 1 when they are mounted together; empty for version 2. */
  controllers: string[];
}

/**
 * The hierarchies of version 1 in the text of `/proc/self/cgroup`; version 2's own line (`0::`) is left out.
 * @param mounted directory names below `/sys/fs/cgroup`
 */
export function parseHierarchies(selfCgroup: string, mounted: readonly string[]): Hierarchy[] {
  return selfCgroup.split("\n").flatMap((line) => {
    const [id, names, path] = [line.split(":")[0], line.split(":")[1], line.split(":").slice(2).join(":")];
    if (id === undefined || id === "0" || names === undefined || names === "") return [];
    const controllers = names.split(",").map((name) => name.replace(/^name=/, ""));
    const dir =
      mounted.find((name) => name === controllers.join(",")) ?? mounted.find((name) => controllers.includes(name));
    return dir === undefined ? [] : [{ base: join(ROOT, dir, path).replace(/\/$/, ""), controllers }];
  });
}

async function isUnified(): Promise<boolean> {
  return access(join(ROOT, "cgroup.controllers")).then(
    () => true,
    () => false,
  );
}

/**
 * The hierarchies that groups are made in: all of version 1 below this process's own group, so that limits on it hold for the machines too;
 * or the one of version 2 at its top, since a group with processes cannot have groups with limits there.
 */
export async function hierarchies(): Promise<Hierarchy[]> {
  if (await isUnified()) return [{ base: ROOT, controllers: [] }];
  return parseHierarchies(await readFile("/proc/self/cgroup", "utf8"), await readdir(ROOT));
}

/** Cgroups of one machine, one in each hierarchy. */
export class MachineCgroup {
  readonly #paths: { path: string; controllers: string[] }[];

  private constructor(paths: { path: string; controllers: string[] }[]) {
    this.#paths = paths;
  }

  /**
   * Makes a machine's groups with its limits: memory, and as many processors as it has, or as the host has.
   * A machine with fewer processors than the host is kept to so many of them, as its own count says.
   */
  static async create(lab: string, vmId: number, size: GuestSize): Promise<MachineCgroup> {
    const paths: { path: string; controllers: string[] }[] = [];
    for (const { base, controllers } of await hierarchies()) {
      const group = join(base, namespaceOf(lab));
      const path = join(group, String(vmId));
      await mkdir(path, { recursive: true });
      paths.push({ path, controllers });
      if (controllers.length === 0) {
        for (const dir of [base, group]) await delegate(dir);
      }
      if (controllers.includes("cpuset")) {
        // Without both no process can enter a new group of version 1.
        for (const dir of [group, path]) {
          for (const file of ["cpuset.cpus", "cpuset.mems"])
            await writeFile(join(dir, file), await readFile(join(dir, "..", file), "utf8"));
        }
      }
    }
    const cgroup = new MachineCgroup(paths);
    await cgroup.limit(vmId, size);
    return cgroup;
  }

  /** Sets the limits anew. */
  async limit(vmId: number, size: GuestSize): Promise<void> {
    const host = cpus().length;
    const quotaUs = Math.min(size.cores, host) * PERIOD_US;
    const bytes = size.memoryMib * 1024 ** 2;
    for (const { path, controllers } of this.#paths) {
      const unified = controllers.length === 0;
      if (unified) {
        await writeFile(join(path, "memory.max"), String(bytes));
        await writeFile(join(path, "cpu.max"), `${quotaUs} ${PERIOD_US}`);
      }
      if (controllers.includes("memory")) await writeFile(join(path, "memory.limit_in_bytes"), String(bytes));
      if (controllers.includes("cpu")) {
        await writeFile(join(path, "cpu.cfs_period_us"), String(PERIOD_US));
        await writeFile(join(path, "cpu.cfs_quota_us"), String(quotaUs));
      }
      if (size.cores < host && (unified || controllers.includes("cpuset"))) {
        await writeFile(join(path, "cpuset.cpus"), pickCpus(vmId, size.cores, host).join(","));
      }
    }
  }

  /** Files that a process writes its id to, to enter. */
  get procsFiles(): string[] {
    return this.#paths.map(({ path }) => join(path, "cgroup.procs"));
  }

  /** Memory in use and the part of it that is page cache, bytes; undefined when the kernel does not count it. */
  async memory(): Promise<{ usedBytes: number; cacheBytes: number } | undefined> {
    for (const { path, controllers } of this.#paths) {
      if (controllers.length > 0 && !controllers.includes("memory")) continue;
      const file = controllers.length === 0 ? "memory.current" : "memory.usage_in_bytes";
      const used = await readFile(join(path, file), "utf8").catch(() => undefined);
      const stat = await readFile(join(path, "memory.stat"), "utf8").catch(() => "");
      const cache = /^(?:total_inactive_file|inactive_file) (\d+)$/m.exec(stat)?.[1];
      if (used !== undefined) return { usedBytes: Number(used), cacheBytes: Number(cache ?? 0) };
    }
    return undefined;
  }

  /** Ends whatever is still in the groups and removes them. @throws Error naming a group that cannot be removed */
  async remove(): Promise<void> {
    for (const { path } of this.#paths) await removeGroup(path);
    // The lab's own group goes with its last machine.
    for (const { path } of this.#paths) await rmdir(join(path, "..")).catch(() => undefined);
  }
}

/** Hands every controller that matters to the groups below. */
async function delegate(dir: string): Promise<void> {
  const available = (await readFile(join(dir, "cgroup.controllers"), "utf8")).split(/\s+/);
  for (const name of ["cpu", "cpuset", "memory", "pids", "io"].filter((each) => available.includes(each))) {
    await writeFile(join(dir, "cgroup.subtree_control"), `+${name}`);
  }
}

/** Processors for a machine that has fewer than the host: neighbours get others, as far as there are. */
export function pickCpus(vmId: number, cores: number, hostCpus: number): number[] {
  return Array.from({ length: cores }, (_, index) => (vmId * cores + index) % hostCpus).sort((a, b) => a - b);
}

/**
 * The groups of a lab, wherever they are: found by name, so also those that a crashed lab left behind.
 * @returns directories, one for each hierarchy at most
 */
export async function labGroups(lab: string, root = ROOT): Promise<string[]> {
  const name = namespaceOf(lab);
  const found: string[] = [];
  // Groups of version 1 lie below the group of whoever started the lab; that is a few levels, not many.
  const walk = async (dir: string, depth: number): Promise<void> => {
    const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (!entry.isDirectory()) continue;
      if (entry.name === name) found.push(join(dir, entry.name));
      else if (depth < 6 && !entry.name.startsWith("gorkheavy-")) await walk(join(dir, entry.name), depth + 1);
    }
  };
  await walk(root, 0);
  return found;
}

/** Ids of the processes in a group and all groups below it, as this process's own namespace counts them. */
export async function processesIn(group: string): Promise<number[]> {
  const own = await readFile(join(group, "cgroup.procs"), "utf8").catch(() => "");
  const ids = own
    .split("\n")
    .filter((line) => line !== "" && line !== "0")
    .map(Number);
  for (const entry of await readdir(group, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) ids.push(...(await processesIn(join(group, entry.name))));
  }
  return ids;
}

/**
 * Kills what is in a group and below, and removes them all. A group that is gone is no error.
 * @throws Error naming the group when something in it does not die within 10 s
 */
export async function removeGroup(group: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    for (const id of await processesIn(group)) {
      try {
        process.kill(id, "SIGKILL");
      } catch {
        // Gone between reading and killing.
      }
    }
    const left = await removeTree(group);
    if (left === undefined) return;
    if (Date.now() > deadline)
      throw new Error(
        `cgroup ${group} cannot be removed: ${left}; processes ${(await processesIn(group)).join(", ") || "none"}`,
      );
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function removeTree(group: string): Promise<string | undefined> {
  for (const entry of await readdir(group, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) await removeTree(join(group, entry.name));
  }
  try {
    await rmdir(group);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    return error instanceof Error ? error.message : String(error);
  }
  return undefined;
}
