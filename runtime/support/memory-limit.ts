import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";

/** Where the kernel shows control groups. */
const CGROUP_ROOT = "/sys/fs/cgroup";

/**
 * Bytes of memory that this process may have by its control group's limit, and at most those of the machine. Reads version 2 (`memory.max`) and
 * version 1 (`memory.limit_in_bytes`), and of nested groups the tightest. Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and
 * cgroup-v1/memory.rst.
 * @param read gives a file's text; undefined where there is none. For tests.
 */
export function memoryLimit(
  read: (path: string) => string | undefined = readText,
  machineBytes: number = totalmem(),
): number {
  const limits = [machineBytes];
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers, group = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined) continue;
    const old = controllers.split(",").includes("memory");
    if (controllers !== "" && !old) continue;
    const root = old ? join(CGROUP_ROOT, "memory") : CGROUP_ROOT;
    for (const folder of upwards(root, group)) {
      // Version 1 writes a number near 2^63 where there is no limit, version 2 the word `max`.
      const limit = Number((read(join(folder, old ? "memory.limit_in_bytes" : "memory.max")) ?? "max").trim());
      if (limit > 0) limits.push(limit);
    }
  }
  return Math.min(...limits);
}

/** A group's folder and those above it. In a container the group's own path does not exist below its root; the root is then its folder. */
function upwards(root: string, group: string): string[] {
  const names = group.split("/").filter((name) => name !== "" && name !== "..");
  return [...names.map((_, index) => join(root, ...names.slice(0, index + 1))), root];
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
