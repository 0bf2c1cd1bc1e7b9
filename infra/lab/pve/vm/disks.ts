import { failure } from "../api-error.ts";
import { isCdrom, parseDrive, renderDrive } from "../format/drive.ts";
import type { Drive } from "../format/drive.ts";
import { parseSize } from "../format/size.ts";
import { ownerOf, renderVolumeId } from "../format/volume-id.ts";
import { digestOf } from "../format/vm-config-file.ts";
import type { VmConfig } from "../format/vm-config-file.ts";
import type { Lab } from "../lab.ts";
import { freeVolumes } from "./drives.ts";
import { isRunning } from "./lifecycle.ts";
import { assertUnlocked } from "./store.ts";

/** The drive of a key. @throws ApiError 500 `disk 'x' does not exist` */
export function driveOf(config: VmConfig, key: string): Drive {
  const value = config.values[key];
  if (value === undefined) throw failure(`disk '${key}' does not exist`);
  return parseDrive(key, value);
}

/** @throws ApiError 500 when a client's digest is not that of the configuration */
export function assertDigest(config: VmConfig, digest: string | undefined): void {
  if (digest !== undefined && digest !== digestOf(config))
    throw failure("checksum mismatch (file change by other user?)");
}

/** Checks what a resize can be refused for before its task starts. @throws ApiError 500 */
export function assertResizable(lab: Lab, vmId: number, key: string, digest: string | undefined): void {
  const config = lab.vms.read(vmId);
  assertDigest(config, digest);
  assertUnlocked(config);
  if (isCdrom(driveOf(config, key))) throw failure("you can't resize a cdrom");
}

/** Sets a disk's size: `34359738368`, `32G`, or `+8G` to add. @throws when that is smaller than it is, or the disk is gone */
export async function resizeDisk(lab: Lab, vmId: number, key: string, size: string): Promise<void> {
  await lab.locks.run(vmId, async () => {
    assertResizable(lab, vmId, key, undefined);
    const config = lab.vms.read(vmId);
    const drive = driveOf(config, key);
    const { store, name } = lab.datastores.resolve(drive.file);
    const now = (await store.volume(name)).sizeBytes;
    const amount = parseSize(size.replace(/^\+/, "")) ?? now;
    const sizeBytes = size.startsWith("+") ? now + amount : amount;
    await store.resizeDisk(name, sizeBytes);
    config.values[key] = renderDrive({ ...drive, sizeBytes });
    const pending = config.pending[key];
    if (pending !== undefined && parseDrive(key, pending).file === drive.file) {
      config.pending[key] = renderDrive({ ...parseDrive(key, pending), sizeBytes });
    }
    await lab.vms.write(vmId, config);
  });
}

/** Where a disk goes. */
export interface MoveOrder {
  vmId: number;
  key: string;
  storage: string;
  format: string | undefined;
  /** Frees the original instead of keeping it as `unusedN`. */
  deleteOriginal: boolean;
  digest: string | undefined;
}

/** Checks what a move can be refused for before its task starts. @throws ApiError 500 */
export function assertMovable(lab: Lab, order: MoveOrder): void {
  const config = lab.vms.read(order.vmId);
  assertDigest(config, order.digest);
  assertUnlocked(config);
  const drive = driveOf(config, order.key);
  if (isCdrom(drive)) throw failure(`you can't move a cdrom`);
  const { store } = lab.datastores.resolve(drive.file);
  const target = lab.datastores.get(order.storage);
  if (
    store.name === target.name &&
    (order.format === undefined || drive.file.endsWith(`.${order.format}`) || store.type === "lvmthin")
  ) {
    throw failure("you can't move to the same storage with same format");
  }
  target.assertHolds("images");
}

/** Copies a disk to another datastore and attaches the copy. The VM must be off: the lab's machines hold their disk open. */
export async function moveDisk(lab: Lab, order: MoveOrder, log: (line: string) => void): Promise<void> {
  await lab.locks.run(order.vmId, async () => {
    assertMovable(lab, order);
    if (await isRunning(lab, order.vmId))
      throw failure(`cannot move disk '${order.key}' of running VM ${order.vmId}: stop the VM first`);
    const config = lab.vms.read(order.vmId);
    const drive = driveOf(config, order.key);
    const source = await lab.datastores.volume(drive.file);
    const file = await copyDisk(
      lab,
      order.vmId,
      drive.file,
      order.storage,
      order.format ?? (source.format === "raw" ? undefined : source.format),
    );
    log(`create full clone of drive ${order.key} (${drive.file})`);
    config.values[order.key] = renderDrive({ ...drive, file, sizeBytes: source.sizeBytes });
    if (!order.deleteOriginal) {
      let number = 0;
      while (config.values[`unused${number}`] !== undefined) number += 1;
      config.values[`unused${number}`] = drive.file;
    }
    await lab.vms.write(order.vmId, config);
    if (order.deleteOriginal) await freeVolumes(lab, [drive.file], log);
  });
}

/** A full copy of a disk for a VM, with what the machine driver keeps beside it. Answers the new volume's id. */
export async function copyDisk(
  lab: Lab,
  vmId: number,
  volumeId: string,
  storage: string,
  format: string | undefined,
): Promise<string> {
  const source = await lab.datastores.volume(volumeId);
  const target = lab.datastores.get(storage);
  target.assertHolds("images");
  const wanted = target.type === "dir" ? format : undefined;
  const name = await target.copyIntoDisk(vmId, source.path, source.sizeBytes, wanted);
  await target.adoptOverlay(name, source.path);
  return renderVolumeId({ storage, name });
}

/** `vm-100-disk-0` to `base-100-disk-0`, with the folder that a `dir` datastore has. */
export function baseNameOf(name: string): string {
  return ownerOf(name) === undefined ? name : name.replace(/(^|\/)vm-/, "$1base-");
}
