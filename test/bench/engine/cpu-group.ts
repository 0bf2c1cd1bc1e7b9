import { mkdir, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { hierarchies } from "../../../infra/lab/nodes/cgroup.ts";

/** Period of the processor quota, microseconds; the kernel's default, and what Kubernetes takes. */
const PERIOD_US = 100_000;
/** How often and how long an empty group is tried to be removed: its last process may still be dying. */
const REMOVE_EVERY_MS = 100;
const REMOVE_TRIES = 50;

/** A control group whose processes together get a share of the CPUs, as a container with a CPU limit has it. */
export interface CpuGroup {
  /** Words before a command that start it in the group. */
  prefix: readonly string[];
  /** Removes it; its processes have ended. */
  remove(): Promise<void>;
}

/** Makes one. @param cpus such as 0.9. @throws Error when this user may not, or the kernel has no such controller */
export async function cpuGroup(name: string, cpus: number): Promise<CpuGroup> {
  const found = (await hierarchies()).find(
    ({ controllers }) => controllers.length === 0 || controllers.includes("cpu"),
  );
  if (found === undefined) throw new Error("no control group has a CPU controller here: the limited run needs one");
  const path = join(found.base, `gorkheavy-bench-${name}-${process.pid}`);
  await mkdir(path);
  const quotaUs = Math.round(cpus * PERIOD_US);
  if (found.controllers.length === 0) await writeFile(join(path, "cpu.max"), `${quotaUs} ${PERIOD_US}`);
  else {
    await writeFile(join(path, "cpu.cfs_period_us"), `${PERIOD_US}`);
    await writeFile(join(path, "cpu.cfs_quota_us"), `${quotaUs}`);
  }
  return {
    prefix: ["sh", "-c", 'echo $$ > "$0" && exec "$@"', join(path, "cgroup.procs")],
    remove: async () => {
      for (let tries = 1; ; tries++) {
        try {
          return await rmdir(path);
        } catch (error) {
          if (tries === REMOVE_TRIES) throw error;
          await delay(REMOVE_EVERY_MS);
        }
      }
    },
  };
}
