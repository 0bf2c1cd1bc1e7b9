import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { Fault } from "../../core/fault.ts";

/** Limits of version 2 and version 1 of control groups, as a process in a container sees its own. Source: the kernel's cgroup-v2.rst and memory.rst. */
const LIMITS = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/** Memory that this process may use: its container's limit, else the machine's memory, bytes. @param read gives a file's text. For tests. */
export function memoryBytes(read: (path: string) => string | undefined = textOf, machineBytes = totalmem()): number {
  const limits = LIMITS.map((path) => Number(read(path)?.trim() ?? Number.NaN)).filter((one) => one > 0);
  return Math.min(machineBytes, ...limits);
}

/**
 * Refuses a model whose weights alone are larger than the memory.
 * @param what its name @param limitBytes what it may use
 * @throws Fault model_too_large with both figures
 */
export function requireFits(what: string, neededBytes: number, limitBytes: number): void {
  if (neededBytes <= limitBytes) return;
  throw new Fault(
    "model_too_large",
    `${what} needs at least ${mib(neededBytes)} MiB of memory, ${mib(limitBytes)} MiB may be used; raise the memory limit, or take a smaller quantization`,
  );
}

function mib(bytes: number): string {
  return (bytes / 1_048_576).toFixed(bytes < 10_485_760 ? 1 : 0);
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
