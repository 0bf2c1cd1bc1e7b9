import type { Parameters } from "../client.ts";
import { runTask } from "../task.ts";
import { cloudInitDrive, isOwnedBy } from "./decode.ts";
import type { VmConfig } from "./decode.ts";
import { diskBytes } from "./encode.ts";
import type { Disk, Vm, VmState } from "./model.ts";
import { ensureRunning, ensureStopped, readConfig, readStatus, restart, vmPath, withDeadline } from "./power.ts";
import type { VmHandle } from "./power.ts";
import { readVm } from "./read.ts";
import { planUpdateForm } from "./update-form.ts";
import type { UpdateForm } from "./update-form.ts";

/** What an update has done to the VM's power so far. */
interface Power {
  stoppedByUs: boolean;
  warned: boolean;
}

/**
 * Brings a VM from `state` to `wanted` in place, in the provider's order: pool, settings, cloud-init, moved and grown
 * disks, and then one restart when something needs it. Source: bpg provider v0.111.1, vmUpdate.
 */
export async function updateVm(
  handle: VmHandle,
  state: VmState,
  wanted: Vm,
  changed: ReadonlySet<keyof Vm>,
): Promise<VmState> {
  const power: Power = { stoppedByUs: false, warned: false };
  if (changed.has("nodeName")) {
    throw new Error(`nodeName: moving VM ${handle.vmId} from ${state.nodeName} to ${wanted.nodeName} needs a cluster`);
  }
  if (state.template && !wanted.template) throw new Error("template: a template cannot become a VM again");
  if (changed.has("poolId")) await movePool(handle, state.poolId, wanted.poolId);
  const config = await readConfig(handle);
  const plan = planUpdateForm(state, wanted, changed, config);
  if (changed.has("initialization")) await placeCloudInitDrive(handle, state, wanted, config, plan, power);
  await putConfig(handle, { ...plan.form }, plan.deletes);
  if (changed.has("initialization") && !wanted.template) {
    await handle.client.put(vmPath(handle, "cloudinit"), undefined, handle.signal);
  }
  const diskPlan = changed.has("disks") ? await planDiskMoves(handle, state, wanted) : { moves: [], growths: [] };
  let rebootRequired = plan.rebootRequired && !wanted.template;
  if (diskPlan.moves.length > 0) {
    await powerOff(handle, wanted, power, "move disks between datastores");
    for (const disk of diskPlan.moves) await moveDisk(handle, disk, wanted);
  }
  if (rebootRequired && (await powerOffForPending(handle, wanted, power))) rebootRequired = false;
  for (const disk of diskPlan.growths) await growDisk(handle, disk);
  await refreshPending(handle, plan, diskPlan.growths);
  await finishPower(handle, state, wanted, power, rebootRequired);
  const after = await readVm(handle, wanted);
  if (after === undefined) throw new Error(`VM ${handle.vmId}: is not there any more`);
  return after;
}

async function putConfig(handle: VmHandle, form: Parameters, deletes: readonly string[]): Promise<void> {
  if (deletes.length > 0) form["delete"] = deletes.join(",");
  if (Object.keys(form).length === 0) return;
  await handle.client.put(vmPath(handle, "config"), form, handle.signal);
}

async function movePool({ client, vmId, signal }: VmHandle, from: string, to: string): Promise<void> {
  if (from !== "") await client.put(`pools?poolid=${encodeURIComponent(from)}`, { vms: vmId, delete: true }, signal);
  await client.put(`pools?poolid=${encodeURIComponent(to)}`, { vms: vmId }, signal);
}

/** Moves the cloud-init drive when its interface or datastore changes, for which the VM must be off. */
async function placeCloudInitDrive(
  handle: VmHandle,
  state: VmState,
  wanted: Vm,
  config: VmConfig,
  plan: UpdateForm,
  power: Power,
): Promise<void> {
  if (wanted.initialization === undefined) return;
  const existing = cloudInitDrive(config, handle.vmId);
  const at = wanted.initialization.interface || (existing?.interface ?? "ide2");
  const sameStore = state.initialization?.datastoreId === wanted.initialization.datastoreId;
  if (existing?.interface === at && sameStore) return;
  await powerOff(handle, wanted, power, "move the cloud-init drive");
  const deletes = existing !== undefined && existing.interface !== at ? [at, existing.interface] : [at];
  await putConfig(handle, {}, deletes);
  plan.form[at] = `file=${wanted.initialization.datastoreId}:cloudinit,`;
}

interface DiskMoves {
  moves: Disk[];
  growths: Disk[];
}

async function planDiskMoves(handle: VmHandle, state: VmState, wanted: Vm): Promise<DiskMoves> {
  const plan: DiskMoves = { moves: [], growths: [] };
  await readConfig(handle);
  for (const disk of wanted.disks) {
    const before = state.disks.find(({ interface: at }) => at === disk.interface);
    if (before === undefined) continue;
    const volume = `${before.datastoreId}:${before.pathInDatastore ?? ""}`;
    const owned = isOwnedBy(volume, handle.vmId);
    if (before.datastoreId !== disk.datastoreId) {
      if (!owned) throw new Error(`${disk.interface}: cannot move ${volume}: VM ${handle.vmId} does not own it`);
      plan.moves.push(disk);
    }
    if (disk.size < before.size) {
      throw new Error(`${disk.interface}: cannot shrink from ${before.size} to ${disk.size} GiB; disks only grow`);
    }
    if (disk.size > before.size) {
      if (!owned) throw new Error(`${disk.interface}: cannot resize ${volume}: VM ${handle.vmId} does not own it`);
      plan.growths.push(disk);
    }
  }
  return plan;
}

async function moveDisk(handle: VmHandle, disk: Disk, wanted: Vm): Promise<void> {
  const limited = withDeadline(handle, wanted.timeoutMoveDisk);
  const form = { delete: true, disk: disk.interface, storage: disk.datastoreId };
  const { client, node, vmId, signal } = limited;
  try {
    const move = (): Promise<unknown> => client.post(vmPath(handle, "move_disk"), form, signal);
    await runTask(client, node, `VM ${vmId}: move ${disk.interface}`, move, signal);
  } catch (error) {
    // The move had happened before.
    if (!(error instanceof Error && error.message.includes("can't move to the same storage with same format")))
      throw error;
  }
}

async function growDisk(handle: VmHandle, disk: Disk): Promise<void> {
  const { client, node, vmId, signal } = handle;
  const form = { disk: disk.interface, size: diskBytes(disk) };
  const resize = (): Promise<unknown> => client.put(vmPath(handle, "resize"), form, signal);
  await runTask(client, node, `VM ${vmId}: resize ${disk.interface}`, resize, signal);
}

/** A pending change of a drive holds its old size, and the next start would shrink it back: send it once more. */
async function refreshPending(handle: VmHandle, plan: UpdateForm, grown: readonly Disk[]): Promise<void> {
  const form: Parameters = {};
  for (const disk of grown) {
    const text = plan.existingDisks[disk.interface];
    if (text !== undefined) form[disk.interface] = text;
  }
  await putConfig(handle, form, []);
}

/** Powers off for something that cannot be done while the VM runs. @throws Error when `rebootAfterUpdate` forbids it. */
async function powerOff(handle: VmHandle, wanted: Vm, power: Power, operation: string): Promise<void> {
  if ((await readStatus(handle)) === "stopped" || power.stoppedByUs) return;
  if (!wanted.rebootAfterUpdate) {
    throw new Error(
      `cannot ${operation} while VM ${handle.vmId} runs, and rebootAfterUpdate is false: stop it, or set it to true`,
    );
  }
  power.stoppedByUs = (await ensureStopped(handle, wanted)) || power.stoppedByUs;
}

/** Powers off so that pending settings apply at the next start. False when `rebootAfterUpdate` forbids it. */
async function powerOffForPending(handle: VmHandle, wanted: Vm, power: Power): Promise<boolean> {
  if ((await readStatus(handle)) === "stopped" || power.stoppedByUs) return true;
  if (!wanted.rebootAfterUpdate) {
    if (!power.warned) {
      handle.log(
        "warning",
        `VM ${handle.vmId}: a reboot is needed for the new settings, and rebootAfterUpdate is false: reboot it yourself`,
      );
    }
    power.warned = true;
    return true;
  }
  power.stoppedByUs = (await ensureStopped(handle, wanted)) || power.stoppedByUs;
  return true;
}

async function finishPower(
  handle: VmHandle,
  state: VmState,
  wanted: Vm,
  power: Power,
  rebootRequired: boolean,
): Promise<void> {
  if (wanted.template) {
    await ensureStopped(handle, wanted);
    return;
  }
  const stopped = (await readStatus(handle)) === "stopped";
  if (!wanted.started) {
    if (state.started && !stopped) await ensureStopped(handle, wanted);
    return;
  }
  if (stopped) await ensureRunning(handle, wanted);
  else if (rebootRequired && !power.stoppedByUs && wanted.rebootAfterUpdate) await restart(handle, wanted);
}
