import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

/** Where the kernel shows control groups. */
const CGROUP_ROOT = "/sys/fs/cgroup";

/**
 * CPUs that this process may use at a time by its control group's limit, such as 0.9; undefined where there is no limit.
 * Reads version 2 (`cpu.max`) and version 1 (`cpu.cfs_quota_us`), and of nested groups the tightest. Source: the kernel's
 * Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.
 * @param read gives a file's text; undefined where there is none. For tests.
 */
export function cpuLimit(read: (path: string) => string | undefined = readText): number | undefined {
  const limits: number[] = [];
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers = "", group = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (line === "") continue;
    if (controllers === "") {
      for (const folder of upwards(CGROUP_ROOT, group)) limits.push(...versionTwo(read(join(folder, "cpu.max"))));
    } else if (controllers.split(",").includes("cpu")) {
      for (const root of [join(CGROUP_ROOT, "cpu"), join(CGROUP_ROOT, "cpu,cpuacct")]) {
        for (const folder of upwards(root, group)) {
          limits.push(...versionOne(read(join(folder, "cpu.cfs_quota_us")), read(join(folder, "cpu.cfs_period_us"))));
        }
      }
    }
  }
  return limits.length === 0 ? undefined : Math.min(...limits);
}

/**
 * Threads for work whose threads wait for each other without sleeping, at least one: as many as the limit has whole CPUs; without a limit one CPU
 * of the machine is left to everything else, as a thread that has to share its CPU holds up all the others.
 * @param cpus of the machine, as far as this process may run on them
 */
export function threadsWithin(limit: number | undefined, cpus: number = availableParallelism()): number {
  return Math.max(1, limit === undefined ? cpus - 1 : Math.min(cpus, Math.floor(limit)));
}

/** A group's folder and those above it. In a container the group's own path does not exist below its root; the root is then its folder. */
function upwards(root: string, group: string): string[] {
  const names = group.split("/").filter((name) => name !== "" && name !== "..");
  return names
    .reduceRight<string[]>((folders, _, index) => [...folders, join(root, ...names.slice(0, index + 1))], [])
    .concat(root);
}

function versionTwo(text: string | undefined): number[] {
  const [quota = "max", period = "100000"] = (text ?? "").trim().split(/\s+/);
  return share(Number(quota), Number(period));
}

function versionOne(quota: string | undefined, period: string | undefined): number[] {
  return share(Number(quota ?? -1), Number(period ?? 100_000));
}

/** `max`, -1 and whatever is no number mean that there is no limit. */
function share(quota: number, period: number): number[] {
  return quota > 0 && period > 0 ? [quota / period] : [];
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
