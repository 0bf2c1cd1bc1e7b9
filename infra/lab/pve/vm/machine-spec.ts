import { failure } from "../api-error.ts";
import { isCdrom, isCloudInit } from "../format/drive.ts";
import { parseNet } from "../format/net.ts";
import { parseProperties } from "../format/property-string.ts";
import type { VmConfig } from "../format/vm-config-file.ts";
import type { Lab } from "../lab.ts";
import type { MachineSpec } from "../machines.ts";
import { drivesOf } from "./drives.ts";

/** Memory of a VM that does not say, MiB (PVE::QemuServer, `memory`). */
const DEFAULT_MEMORY_MIB = 512;

/** Virtual CPUs: `vcpus`, else sockets times cores. */
export function coresOf(values: Readonly<Record<string, string>>): number {
  return Number(values["vcpus"] ?? Number(values["sockets"] ?? 1) * Number(values["cores"] ?? 1));
}

/** Memory in MiB. */
export function memoryMibOf(values: Readonly<Record<string, string>>): number {
  return Number(parseProperties(values["memory"] ?? "", "current").get("current") ?? DEFAULT_MEMORY_MIB);
}

/** Key of the drive that a VM boots from: the first disk in its boot order, else the first disk there is. */
export function bootDriveOf(values: Readonly<Record<string, string>>): string | undefined {
  const disks = drivesOf(values)
    .filter(({ key, drive }) => !isCdrom(drive) && /^(ide|sata|scsi|virtio)/.test(key))
    .map(({ key }) => key);
  const boot = values["boot"];
  const order = boot === undefined ? [] : (parseProperties(boot, "legacy").get("order") ?? "").split(";");
  return order.find((key) => disks.includes(key)) ?? disks[0];
}

/** Whether the options say that a guest agent is there. */
export function hasAgent(values: Readonly<Record<string, string>>): boolean {
  const agent = values["agent"];
  return agent !== undefined && parseProperties(agent, "enabled").get("enabled") === "1";
}

/**
 * What the machine driver needs to boot a VM as it is configured now.
 * @throws ApiError 500 for a bridge or a volume that does not exist, or when there is no disk to boot from
 */
export async function machineSpecOf(lab: Lab, vmId: number, config: VmConfig): Promise<MachineSpec> {
  const { values } = config;
  const nics = Object.keys(values)
    .filter((key) => /^net\d+$/.test(key))
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)))
    .map((name) => {
      const net = parseNet(values[name] ?? "");
      return { name, macAddress: net.macAddress ?? "", bridge: net.settings.get("bridge") ?? "" };
    });
  for (const { bridge } of nics) {
    if (!lab.bridges.some(({ name }) => name === bridge)) throw failure(`bridge '${bridge}' does not exist`);
  }
  const cdromPaths: string[] = [];
  for (const { drive } of drivesOf(values)) {
    if (!isCdrom(drive) || isCloudInit(drive) || !drive.file.includes(":")) continue;
    cdromPaths.push((await lab.datastores.volume(drive.file)).path);
  }
  const bootKey = bootDriveOf(values);
  const boot = drivesOf(values).find(({ key }) => key === bootKey);
  if (boot === undefined) throw failure(`VM ${vmId} has no disk to boot from`);
  const volume = await lab.datastores.volume(boot.drive.file);
  return {
    vmId,
    name: values["name"] ?? `VM ${vmId}`,
    cores: coresOf(values),
    memoryMib: memoryMibOf(values),
    bootDiskPath: volume.path,
    diskSizeBytes: volume.sizeBytes,
    nics,
    cdromPaths,
  };
}
