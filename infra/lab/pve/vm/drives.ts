import { failure } from "../api-error.ts";
import { DRIVE_KEYS, isCdrom, isCloudInit, orderOf, parseDrive, renderDrive } from "../format/drive.ts";
import type { Drive } from "../format/drive.ts";
import { ownerOf, renderVolumeId } from "../format/volume-id.ts";
import type { Lab } from "../lab.ts";
import { readQcow2VirtualSize } from "../storage/qcow2.ts";

/** Size of the drive with cloud-init data, bytes (qemu-server, `CLOUDINIT_DISK_SIZE`). */
const CLOUD_INIT_BYTES = 4 * 1024 * 1024;
const GIB = 1024 ** 3;
const SECTOR_BYTES = 512;

/** The drives among some options, string-sorted by key: `scsi0` before `virtio0`, but `scsi10` before `scsi2`, as Proxmox allocates them. */
export function drivesOf(values: Readonly<Record<string, string>>): { key: string; drive: Drive }[] {
  const keys = Object.keys(values).filter((key) => DRIVE_KEYS.includes(key));
  return keys.sort().map((key) => ({ key, drive: parseDrive(key, values[key] ?? "") }));
}

/** What `realizeDrives` made. */
export interface RealizedDrives {
  /** Drive key to the text that the configuration stores. */
  values: Record<string, string>;
  /** Volume ids of what is new, to be freed if the rest of the work fails. */
  created: string[];
}

/**
 * Makes or checks the volumes that a request's drives name, and gives the drives as they are stored.
 * On failure everything it made is freed again.
 * @throws ApiError 500 for a datastore or volume that does not exist or cannot hold a disk
 */
export async function realizeDrives(
  lab: Lab,
  vmId: number,
  options: Readonly<Record<string, string>>,
  log: (line: string) => void,
): Promise<RealizedDrives> {
  const values: Record<string, string> = {};
  const created: string[] = [];
  try {
    for (const { key, drive } of drivesOf(options)) {
      const made = await realize(lab, vmId, drive);
      if (made.isNew) {
        created.push(made.drive.file);
        log(`${key}: successfully created disk '${renderDrive({ ...made.drive, settings: new Map() })}'`);
      }
      values[key] = renderDrive(made.drive);
    }
    return { values, created };
  } catch (error) {
    await freeVolumes(lab, created);
    throw error;
  }
}

async function realize(lab: Lab, vmId: number, drive: Drive): Promise<{ drive: Drive; isNew: boolean }> {
  const order = orderOf(drive);
  if (order === undefined) return { drive: await existing(lab, drive), isNew: false };
  const store = lab.datastores.get(order.storage);
  store.assertHolds("images");
  const bare = { importFrom: undefined, format: undefined };
  if (order.kind === "cloudinit") {
    const file = renderVolumeId({ storage: store.name, name: await store.allocateCloudInit(vmId, CLOUD_INIT_BYTES) });
    return { drive: { ...bare, file, sizeBytes: undefined, settings: new Map([["media", "cdrom"]]) }, isNew: true };
  }
  if (order.kind === "new") {
    const sizeBytes = Math.floor(order.sizeGib * GIB);
    const name = await store.allocateDisk(vmId, drive.format, sizeBytes);
    return {
      drive: { ...drive, ...bare, file: renderVolumeId({ storage: store.name, name }), sizeBytes },
      isNew: true,
    };
  }
  const source = await lab.datastores.volume(drive.importFrom ?? "");
  if (source.content !== "images" && source.content !== "import") {
    throw failure(`cannot import from volume '${drive.importFrom ?? ""}' - its content type is '${source.content}'`);
  }
  const sizeBytes =
    source.content === "images" ? source.sizeBytes : await imageSize(source.path, source.format, source.sizeBytes);
  const name = await store.copyIntoDisk(vmId, source.path, sizeBytes, drive.format);
  return { drive: { ...drive, ...bare, file: renderVolumeId({ storage: store.name, name }), sizeBytes }, isNew: true };
}

/** A drive that names a volume which is there already, with the size that it has. */
async function existing(lab: Lab, drive: Drive): Promise<Drive> {
  if (drive.file === "none" || drive.file === "cdrom" || drive.file.startsWith("/")) {
    if (drive.file.startsWith("/")) throw failure("Only root can pass arbitrary filesystem paths.");
    return { ...drive, sizeBytes: undefined };
  }
  const volume = await lab.datastores.volume(drive.file);
  if (volume.content !== "images" && !isCdrom(drive))
    throw failure(`volume '${drive.file}' of type '${volume.content}' needs a drive with media=cdrom`);
  return { ...drive, format: undefined, sizeBytes: isCloudInit(drive) ? undefined : volume.sizeBytes };
}

/** Bytes of the disk within an image file. */
async function imageSize(path: string, format: string, fileBytes: number): Promise<number> {
  if (format !== "qcow2") return Math.ceil(fileBytes / SECTOR_BYTES) * SECTOR_BYTES;
  const size = await readQcow2VirtualSize(path);
  if (size === undefined) throw failure(`the image is not in format 'qcow2'`);
  return size;
}

/** Frees disks, and what the machine driver keeps beside them. One that is gone is no error; an ISO file is left alone. */
export async function freeVolumes(
  lab: Lab,
  volumeIds: readonly string[],
  log: (line: string) => void = () => undefined,
): Promise<void> {
  for (const volumeId of volumeIds) {
    const { store, name } = lab.datastores.resolve(volumeId);
    if (ownerOf(name) === undefined) continue;
    await lab.machines.discardDisk(store.pathOf(name));
    if (!(await store.free(name))) log(`volume '${volumeId}' does not exist`);
  }
}

/** Volume ids of a VM's own disks in these values, its cloud-init drive and `unusedN` included; discs of others are not. */
export function ownedVolumes(vmId: number, values: Readonly<Record<string, string>>): string[] {
  const files = drivesOf(values).map(({ drive }) => drive.file);
  for (const [key, value] of Object.entries(values)) if (/^unused\d+$/.test(key)) files.push(value);
  return [
    ...new Set(files.filter((file) => file.includes(":") && ownerOf(file.slice(file.indexOf(":") + 1)) === vmId)),
  ];
}
