import { z } from "zod";
import { PartialFailure } from "../../provider.ts";
import { runTask } from "../task.ts";
import { diskBytes, encodeCreate } from "./encode.ts";
import type { Vm, VmState } from "./model.ts";
import { ensureRunning, restart, vmPath, withDeadline } from "./power.ts";
import type { VmHandle } from "./power.ts";
import { readVm } from "./read.ts";

/**
 * Makes a VM: create, grow the imported disks, start, read. @throws PartialFailure when it exists but could not be
 * brought to what was asked; Error when there is none.
 */
export async function createVm(
  scope: Omit<VmHandle, "vmId">,
  vm: Vm,
  encode: (state: Vm | VmState) => PartialFailure["properties"],
): Promise<VmState> {
  const limited = withDeadline({ ...scope, vmId: vm.vmId ?? 0 }, vm.timeoutCreate);
  const vmId = vm.vmId ?? (await nextId(limited));
  const handle: VmHandle = { ...limited, vmId };
  const { client, node, signal } = handle;
  const warnings = await runTask(
    client,
    node,
    `VM ${vmId}: create`,
    () => client.post(`nodes/${node}/qemu`, encodeCreate(vm, vmId), signal),
    signal,
  );
  for (const warning of warnings) scope.log("warning", warning);
  try {
    for (const disk of vm.disks.filter(({ importFrom }) => importFrom !== "")) {
      await runTask(
        client,
        node,
        `VM ${vmId}: resize ${disk.interface}`,
        () => client.put(vmPath(handle, "resize"), { disk: disk.interface, size: diskBytes(disk) }, signal),
        signal,
      );
    }
    if (vm.template) {
      await runTask(
        client,
        node,
        `VM ${vmId}: template`,
        () => client.post(vmPath(handle, "template"), undefined, signal),
        signal,
      );
    } else if (vm.started) {
      await ensureRunning(handle, vm);
      if (vm.reboot) await restart(handle, vm);
    }
    const state = await readVm(handle, vm);
    if (state === undefined) throw new Error(`VM ${vmId}: was created on ${node} but is not there any more`);
    return state;
  } catch (error) {
    const reason = error instanceof Error ? error.message : "unknown error";
    throw new PartialFailure(`VM ${vmId} was created on ${node}, but: ${reason}`, {
      id: String(vmId),
      properties: encode({ ...vm, vmId }),
      reasons: [reason],
      cause: error,
    });
  }
}

async function nextId({ client, signal }: VmHandle): Promise<number> {
  return z.coerce.number().parse(await client.get("cluster/nextid", undefined, signal));
}
