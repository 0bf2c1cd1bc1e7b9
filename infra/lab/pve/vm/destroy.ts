import { failure } from "../api-error.ts";
import { ownerOf, renderVolumeId } from "../format/volume-id.ts";
import type { Lab } from "../lab.ts";
import { freeVolumes, ownedVolumes } from "./drives.ts";
import { isRunning } from "./lifecycle.ts";
import { assertUnlocked, isOn } from "./store.ts";

/** How thorough a removal is. */
export interface DestroyOrder {
  vmId: number;
  /** Frees volumes of the VM that its configuration does not name, too. */
  unreferencedDisks: boolean;
  skipLock: boolean;
}

/** @throws ApiError 500 for a VM that is protected, locked or running */
export async function assertDestroyable(lab: Lab, order: DestroyOrder): Promise<void> {
  const config = lab.vms.read(order.vmId);
  if (isOn(config, "protection")) throw failure(`can't remove VM ${order.vmId} - protection mode enabled`);
  if (!order.skipLock) assertUnlocked(config);
  if (await isRunning(lab, order.vmId)) throw failure(`VM ${order.vmId} is running - destroy failed`);
}

/** Removes a VM and its disks. The configuration goes last, so an interrupted removal can be asked for again. */
export async function destroyVm(lab: Lab, order: DestroyOrder, log: (line: string) => void): Promise<void> {
  await lab.locks.run(order.vmId, async () => {
    await assertDestroyable(lab, order);
    await removeVm(lab, order.vmId, order.unreferencedDisks, log);
  });
}

/** Frees what belongs to a VM and forgets it, whatever state it is in. The VM's lock, if one is needed, is held by the caller. */
export async function removeVm(
  lab: Lab,
  vmId: number,
  unreferencedDisks: boolean,
  log: (line: string) => void,
): Promise<void> {
  const config = lab.vms.read(vmId);
  await freeVolumes(lab, ownedVolumes(vmId, { ...config.values, ...config.pending }), log);
  await freeVolumes(lab, ownedVolumes(vmId, config.values), () => undefined);
  if (unreferencedDisks) await freeVolumes(lab, await strayVolumes(lab, vmId), log);
  await lab.pools.forget(vmId);
  await lab.firewalls.remove(`vm/${vmId}`);
  await lab.vms.remove(vmId);
}

async function strayVolumes(lab: Lab, vmId: number): Promise<string[]> {
  const found: string[] = [];
  for (const store of lab.datastores.all()) {
    for (const volume of await store.list()) {
      if (volume.content === "images" && ownerOf(volume.name) === vmId)
        found.push(renderVolumeId({ storage: store.name, name: volume.name }));
    }
  }
  return found;
}
