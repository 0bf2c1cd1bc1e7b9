import { setTimeout as sleep } from "node:timers/promises";
import { PveError } from "../client.ts";
import { runTask } from "../task.ts";
import type { Vm } from "./model.ts";
import { ensureStopped, forceStop, readStatus, withDeadline } from "./power.ts";
import type { VmHandle } from "./power.ts";

/** Stops a VM and deletes it with its disks. A VM that is gone already is no error. */
export async function deleteVm(handle: VmHandle, vm: Vm): Promise<void> {
  const limited = withDeadline(handle, Math.max(vm.timeoutStopVm, vm.timeoutShutdownVm));
  const { client, node, vmId, signal } = limited;
  try {
    if ((await readStatus(limited)) !== "stopped") {
      if (vm.stopOnDestroy) await forceStop(limited, vm);
      else await ensureStopped(limited, vm);
    }
    const query = `destroy-unreferenced-disks=${vm.deleteUnreferencedDisksOnDestroy ? 1 : 0}&purge=${vm.purgeOnDestroy ? 1 : 0}`;
    await runTask(
      client,
      node,
      `VM ${vmId}: delete`,
      () => client.delete(`nodes/${node}/qemu/${vmId}/?${query}`, signal),
      signal,
    );
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  // The destruction is over when the host no longer knows the VM.
  for (;;) {
    try {
      await readStatus(limited);
    } catch (error) {
      if (error instanceof PveError) return;
      throw error;
    }
    await sleep(200, undefined, { signal });
  }
}

function isMissing(error: unknown): boolean {
  if (error instanceof PveError) return error.missing;
  return error instanceof Error && error.cause instanceof PveError && error.cause.missing;
}
