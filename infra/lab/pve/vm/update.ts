import { failure } from "../api-error.ts";
import { digestOf } from "../format/vm-config-file.ts";
import type { VmConfig } from "../format/vm-config-file.ts";
import type { Lab } from "../lab.ts";
import { assertMaySet, assertSshKeys, normalizeOptions } from "./create.ts";
import { freeVolumes, ownedVolumes, realizeDrives } from "./drives.ts";
import { applyPending, assertBootOrder, parseDeletes } from "./edits.ts";
import { assertUnlocked } from "./store.ts";

/** A change to a VM's options. */
export interface UpdateOrder {
  vmId: number;
  delete: readonly string[];
  /** Options whose pending change is dropped. */
  revert: readonly string[];
  digest: string | undefined;
  skipLock: boolean;
}

/**
 * Changes options (qemu-server, update_vm_api): deletes first, then sets. A stopped VM has them at once; on a running one what cannot be
 * changed while it runs waits for the next cold start.
 */
export async function updateVm(
  lab: Lab,
  user: string,
  order: UpdateOrder,
  options: Readonly<Record<string, string>>,
  log: (line: string) => void,
): Promise<void> {
  const { vmId } = order;
  const sets = normalizeOptions(options);
  const deletes = parseDeletes(order.delete, sets);
  assertMaySet(user, [...Object.keys(sets), ...deletes]);
  assertSshKeys(sets["sshkeys"]);
  await lab.locks.run(vmId, async () => {
    const config = lab.vms.read(vmId);
    if (order.digest !== undefined && order.digest !== digestOf(config))
      throw failure("checksum mismatch (file change by other user?)");
    if (!order.skipLock) assertUnlocked(config);
    for (const key of order.revert) {
      delete config.pending[key];
      config.pendingDelete = config.pendingDelete.filter((other) => other !== key);
    }
    for (const key of deletes) {
      if (config.values[key] === undefined && config.pending[key] === undefined)
        log(`cannot delete '${key}' - not set in current configuration!`);
      assertDetachable(config, key);
      const pendingValue = config.pending[key];
      delete config.pending[key];
      if (config.values[key] !== undefined) config.pendingDelete.push(key);
      else if (pendingValue !== undefined) await freeVolumes(lab, newlyOwned(vmId, key, pendingValue));
    }
    const disks = await realizeDrives(lab, vmId, sets, log);
    const wanted: Record<string, string> = { ...sets, ...disks.values };
    try {
      Object.assign(config.pending, wanted);
      config.pendingDelete = config.pendingDelete.filter((key) => wanted[key] === undefined);
      assertBootOrder(config, wanted["boot"]);
      const running = (await lab.machines.state(vmId)).status === "running";
      const owned = new Set(ownedVolumes(vmId, { ...config.values, ...config.pending }));
      const { freed } = applyPending(config, running, (volumeId) => owned.has(volumeId));
      await lab.vms.write(vmId, config);
      await freeVolumes(lab, freed, log);
    } catch (error) {
      await freeVolumes(lab, disks.created);
      throw error;
    }
  });
}

/** @throws ApiError 500 for a drive of a protected VM */
function assertDetachable(config: VmConfig, key: string): void {
  if (config.values["protection"] === "1" && /^(ide|sata|scsi|virtio|unused)\d+$/.test(key)) {
    throw failure(`can't remove drive '${key}' - protection mode enabled`);
  }
}

/** Volumes that only a pending drive refers to. */
function newlyOwned(vmId: number, key: string, value: string): string[] {
  return ownedVolumes(vmId, { [key]: value });
}
