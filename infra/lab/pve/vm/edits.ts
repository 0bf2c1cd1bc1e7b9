import { randomInt, randomUUID } from "node:crypto";
import { badParameters, failure } from "../api-error.ts";
import { isCloudInit, parseDrive } from "../format/drive.ts";
import { parseNet, renderNet } from "../format/net.ts";
import { parseProperties, renderProperties } from "../format/property-string.ts";
import { VM_OPTIONS, hotplugs } from "./options.ts";
import type { VmConfig } from "../format/vm-config-file.ts";
import { withPending } from "../format/vm-config-file.ts";

/** Prefix of the addresses that Proxmox gives its cards: Proxmox Server Solutions GmbH's own. */
const MAC_PREFIX = "BC:24:11";

/** A card's address that nobody has been given. */
export function newMacAddress(): string {
  const byte = () => randomInt(256).toString(16).toUpperCase().padStart(2, "0");
  return `${MAC_PREFIX}:${byte()}:${byte()}:${byte()}`;
}

/** A `netN` value as it is stored: in Proxmox' own order, with an address. */
export function normalizeNet(value: string): string {
  const net = parseNet(value);
  return renderNet({ ...net, macAddress: net.macAddress ?? newMacAddress() });
}

/** A random value for `smbios1` and `vmgenid`. */
export function newUuid(): string {
  return randomUUID();
}

/** Reads a `delete` parameter: options between commas, semicolons or blanks, each checked. @throws ApiError 400 */
export function parseDeletes(keys: readonly string[], sets: Readonly<Record<string, string>>): string[] {
  const resolved = keys.map((key) => (key === "cdrom" ? "ide2" : key));
  for (const key of resolved) {
    if (Object.hasOwn(sets, key))
      throw badParameters({ delete: `you can't use '-${key}' and -delete ${key}' at the same time` });
    if (VM_OPTIONS[key] === undefined) throw badParameters({ delete: `unknown option '${key}'` });
  }
  return [...new Set(resolved)];
}

/** Drive options that a running VM takes only at its next cold start (PVE::QemuServer, vmconfig_update_disk). */
const COLD_DRIVE_SETTINGS = [
  "aio",
  "cache",
  "detect_zeroes",
  "discard",
  "iothread",
  "queues",
  "ro",
  "scsiblock",
  "ssd",
  "serial",
  "wwn",
];

/** Whether a running VM takes this change at once. `next` is undefined when the option goes away. */
export function isLiveChange(config: VmConfig, key: string, next: string | undefined): boolean {
  const option = VM_OPTIONS[key];
  if (option === undefined) return false;
  const before = config.values[key];
  const isDrive = option.hotplug === "disk" || /^(ide|sata)\d+$/.test(key);
  if (isDrive && before !== undefined && next !== undefined) {
    const [from, to] = [parseDrive(key, before), parseDrive(key, next)];
    // Swapping the disc of a drive works on any bus; so do throttles and backup flags of the disk that is in.
    if (from.settings.get("media") === "cdrom" && to.settings.get("media") === "cdrom") return true;
    if (from.file === to.file)
      return COLD_DRIVE_SETTINGS.every((name) => from.settings.get(name) === to.settings.get(name));
  }
  return hotplugs(config.values["hotplug"], option.hotplug);
}

/** Pending values that are in force already, and deletions of what is not set, are no changes. */
export function cleanPending(config: VmConfig): void {
  for (const [key, value] of Object.entries(config.pending))
    if (config.values[key] === value) delete config.pending[key];
  config.pendingDelete = config.pendingDelete.filter((key) => config.values[key] !== undefined);
}

/** What putting changes into force frees or detaches. */
export interface Applied {
  /** Volume ids that nothing refers to any more. */
  freed: string[];
}

/**
 * Puts pending changes into force: all of them, or with `onlyLive` those that a running VM takes.
 * A disk that is taken off becomes `unusedN`; a cloud-init drive and a deleted `unusedN` are freed.
 * @param owns whether a volume id is one of this VM's disks
 */
export function applyPending(config: VmConfig, onlyLive: boolean, owns: (volumeId: string) => boolean): Applied {
  cleanPending(config);
  const freed: string[] = [];
  for (const key of [...config.pendingDelete]) {
    if (onlyLive && !isLiveChange(config, key, undefined)) continue;
    const value = config.values[key];
    config.pendingDelete = config.pendingDelete.filter((other) => other !== key);
    delete config.values[key];
    if (value === undefined) continue;
    if (/^unused\d+$/.test(key)) freed.push(value);
    else if (isDriveKey(key)) detach(config, key, value, owns, freed);
  }
  for (const [key, value] of Object.entries(config.pending)) {
    if (onlyLive && !isLiveChange(config, key, value)) continue;
    const before = config.values[key];
    config.values[key] = value;
    delete config.pending[key];
    if (before !== undefined && isDriveKey(key) && parseDrive(key, before).file !== parseDrive(key, value).file) {
      detach(config, undefined, before, owns, freed);
    }
    if (isDriveKey(key)) forgetUnused(config, parseDrive(key, value).file);
  }
  return { freed };
}

function isDriveKey(key: string): boolean {
  return /^(ide|sata|scsi|virtio|efidisk|tpmstate)\d+$/.test(key);
}

function detach(
  config: VmConfig,
  key: string | undefined,
  value: string,
  owns: (volumeId: string) => boolean,
  freed: string[],
): void {
  const drive = parseDrive(key ?? "scsi0", stripBusSettings(value));
  if (key !== undefined) dropFromBootOrder(config, key);
  if (isCloudInit(drive)) freed.push(drive.file);
  else if (owns(drive.file) && drive.settings.get("media") !== "cdrom") {
    let number = 0;
    while (config.values[`unused${number}`] !== undefined) number += 1;
    config.values[`unused${number}`] = drive.file;
  }
}

// Only volume and media matter for a drive that leaves; its other settings may not exist on the bus it is read with.
function stripBusSettings(value: string): string {
  const parts = parseProperties(value, "file");
  return renderProperties(new Map([...parts].filter(([key]) => key === "file" || key === "media")), "file");
}

/** A volume that is attached again is no longer unused. */
function forgetUnused(config: VmConfig, file: string): void {
  for (const [key, value] of Object.entries(config.values))
    if (/^unused\d+$/.test(key) && value === file) delete config.values[key];
}

/** Takes a device out of `boot: order=…`. */
function dropFromBootOrder(config: VmConfig, device: string): void {
  const boot = config.values["boot"];
  if (boot === undefined) return;
  const order = parseProperties(boot, "legacy").get("order");
  if (order === undefined) return;
  config.values["boot"] = `order=${order
    .split(";")
    .filter((one) => one !== device)
    .join(";")}`;
}

/** @throws ApiError 500 when the boot order names a device that the VM does not have (checked at updates, not at creation) */
export function assertBootOrder(config: VmConfig, boot: string | undefined): void {
  const order = boot === undefined ? undefined : parseProperties(boot, "legacy").get("order");
  if (order === undefined || order === "") return;
  const values = withPending(config);
  for (const device of order.split(";")) {
    if (values[device] === undefined) throw failure(`invalid bootorder: device '${device}' does not exist'`);
  }
}
