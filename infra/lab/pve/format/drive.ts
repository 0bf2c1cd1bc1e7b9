import { FormatError, parseBoolean, parseProperties, renderProperties } from "./property-string.ts";
import { parseSize, renderSize } from "./size.ts";

/** Most drives of each bus (PVE::QemuServer::Drive, `$MAX_*_DISKS`). */
const BUSES = { ide: 4, sata: 6, scsi: 31, virtio: 16 } as const;

/** Every key a drive can have in a VM's configuration: `ide0` to `virtio15`, `efidisk0`, `tpmstate0`. */
export const DRIVE_KEYS: readonly string[] = [
  ...Object.entries(BUSES).flatMap(([bus, count]) => Array.from({ length: count }, (_, index) => `${bus}${index}`)),
  "efidisk0",
  "tpmstate0",
];

const FLAGS: ReadonlySet<string> = new Set(
  "backup detect_zeroes iothread replicate ro scsiblock shared snapshot ssd pre-enrolled-keys".split(" "),
);
const CHOICES: Readonly<Record<string, readonly string[]>> = {
  aio: ["native", "threads", "io_uring"],
  cache: ["none", "writethrough", "writeback", "unsafe", "directsync"],
  discard: ["ignore", "on"],
  format: ["raw", "qcow", "qed", "qcow2", "vmdk", "cloop"],
  media: ["cdrom", "disk"],
  rerror: ["ignore", "report", "stop"],
  werror: ["enospc", "ignore", "report", "stop"],
  trans: ["none", "lba", "auto"],
  efitype: ["2m", "4m"],
  version: ["v1.2", "v2.0"],
};
const TEXTS: ReadonlySet<string> = new Set(["serial", "model", "product", "vendor", "wwn", "import-from"]);
/** Whole numbers and throttles: `bps`, `iops_rd_max`, `mbps_wr`, `cyls`, … */
const NUMBER = /^(?:(?:bps|iops|mbps)(?:_rd|_wr)?(?:_max)?(?:_length)?|cyls|heads|secs|queues)$/;
/** Settings that only some buses have (PVE::QemuServer::Drive, the per-bus formats). */
const ONLY_ON: Readonly<Record<string, RegExp>> = {
  iothread: /^(scsi|virtio)/,
  ro: /^(scsi|virtio)/,
  ssd: /^(ide|sata|scsi)/,
  queues: /^scsi/,
  scsiblock: /^scsi/,
  product: /^scsi/,
  vendor: /^scsi/,
  model: /^ide/,
  wwn: /^(ide|sata|scsi)/,
  efitype: /^efidisk/,
  "pre-enrolled-keys": /^efidisk/,
  version: /^tpmstate/,
};

/** One drive of a VM. */
export interface Drive {
  /** A volume id, `none`, `cdrom`, an absolute path, or an order for a new one: `local-lvm:32`, `local-lvm:cloudinit`. */
  file: string;
  /** Volume id to copy into the new one; only in requests, never stored. */
  importFrom: string | undefined;
  /** Size in bytes; undefined when the text does not say. */
  sizeBytes: number | undefined;
  /** Wanted format of a new volume; only in requests, never stored. */
  format: string | undefined;
  /** The other settings by Proxmox' own names, booleans as 1 or 0. */
  settings: ReadonlyMap<string, string>;
}

/**
 * Reads a drive as a request or a configuration gives it: `[file=]VOLUME,key=value,…`.
 * @param key which drive (`scsi0`), since some settings exist on some buses only
 * @throws FormatError that names the property, with Proxmox' words
 */
export function parseDrive(key: string, text: string): Drive {
  const settings = parseProperties(text, "file");
  const file = take(settings, "file");
  if (file === undefined || file === "")
    throw new FormatError("format error\nfile: property is missing and it is not optional");
  const importFrom = take(settings, "import-from");
  const size = take(settings, "size");
  const sizeBytes = size === undefined ? undefined : parseSize(size);
  if (size !== undefined && sizeBytes === undefined)
    throw new FormatError("format error\nsize: invalid format - value does not look like a valid disk size");
  if (settings.has("volume"))
    throw new FormatError(
      "format error\nvolume: property is not defined in schema and the schema does not allow additional properties",
    );
  for (const [name, value] of [...settings]) settings.set(name, checkedSetting(key, name, value));
  const format = take(settings, "format");
  return { file, importFrom, sizeBytes, format, settings };
}

function take(properties: Map<string, string>, key: string): string | undefined {
  const value = properties.get(key);
  properties.delete(key);
  return value;
}

function checkedSetting(drive: string, name: string, value: string): string {
  if (ONLY_ON[name]?.test(drive) === false) throw unknownProperty(name);
  if (FLAGS.has(name)) {
    const flag = parseBoolean(value);
    if (flag === undefined)
      throw new FormatError(`format error\n${name}: type check ('boolean') failed - got '${value}'`);
    return flag ? "1" : "0";
  }
  const choices = CHOICES[name];
  if (choices !== undefined) {
    if (choices.includes(value)) return value;
    throw new FormatError(
      `format error\n${name}: value '${value}' does not have a value in the enumeration '${choices.join(", ")}'`,
    );
  }
  if (NUMBER.test(name)) {
    if (/^\d+(\.\d+)?$/.test(value)) return value;
    throw new FormatError(`format error\n${name}: type check ('number') failed - got '${value}'`);
  }
  if (!TEXTS.has(name)) throw unknownProperty(name);
  return value;
}

function unknownProperty(name: string): FormatError {
  return new FormatError(
    `format error\n${name}: property is not defined in schema and the schema does not allow additional properties`,
  );
}

/** Writes a drive as Proxmox answers it: volume first without `file=`, keys sorted, exact size; what only a request has is left out. */
export function renderDrive(drive: Drive): string {
  const parts = new Map(drive.settings);
  parts.set("file", drive.file);
  if (drive.sizeBytes !== undefined) parts.set("size", renderSize(drive.sizeBytes));
  return renderProperties(parts, "file");
}

/** What a request orders at a drive: a new volume of a size, a copy of an image, a cloud-init drive; undefined for one that exists. */
export type DriveOrder =
  | { kind: "new"; storage: string; sizeGib: number }
  | { kind: "import"; storage: string }
  | { kind: "cloudinit"; storage: string };

/** Reads the order in `STORE:32`, `STORE:0` with import-from, or `STORE:cloudinit` (NEW_DISK_RE, PVE::QemuServer::Drive). @throws FormatError on import-from with another form */
export function orderOf(drive: Drive): DriveOrder | undefined {
  const match = /^([a-z][a-z0-9\-_.]*[a-z0-9]):(cloudinit|\d+(?:\.\d+)?)$/i.exec(drive.file);
  if (match?.[1] === undefined || match[2] === undefined) {
    if (drive.importFrom !== undefined)
      throw new FormatError("'import-from' requires special syntax - use <storage ID>:0,import-from=<source>");
    return undefined;
  }
  if (match[2] === "cloudinit") return { kind: "cloudinit", storage: match[1] };
  const sizeGib = Number(match[2]);
  if (drive.importFrom === undefined) return { kind: "new", storage: match[1], sizeGib };
  if (sizeGib !== 0)
    throw new FormatError("'import-from' requires special syntax - use <storage ID>:0,import-from=<source>");
  return { kind: "import", storage: match[1] };
}

/** Whether the drive holds a disc instead of a disk. */
export function isCdrom(drive: Drive): boolean {
  return drive.settings.get("media") === "cdrom";
}

/** Whether the drive is the one that carries cloud-init data, by its volume's name. */
export function isCloudInit(drive: Drive): boolean {
  return /[:/]vm-\d+-cloudinit(?:\.\w+)?$/.test(drive.file);
}
