import type { VmConfig } from "../format/vm-config-file.ts";
import { withPending } from "../format/vm-config-file.ts";
import type { Lab } from "../lab.ts";
import type { MachineState } from "../machines.ts";
import { drivesOf } from "./drives.ts";
import { bootDriveOf, coresOf, hasAgent, memoryMibOf } from "./machine-spec.ts";
import { jsonValue } from "./options.ts";
import { isOn } from "./store.ts";

const MIB = 1024 ** 2;

/** `GET status/current`. */
export async function currentStatus(lab: Lab, vmId: number): Promise<Record<string, unknown>> {
  const config = lab.vms.read(vmId);
  const state = await lab.machines.state(vmId);
  return {
    ...summary(vmId, config, state),
    agent: hasAgent(config.values) ? 1 : undefined,
    qmpstatus: state.status,
    ha: { managed: 0 },
  };
}

/** One VM as `GET nodes/{node}/qemu` lists it. */
export async function listedStatus(lab: Lab, vmId: number): Promise<Record<string, unknown>> {
  return summary(vmId, lab.vms.read(vmId), await lab.machines.state(vmId));
}

function summary(vmId: number, config: VmConfig, state: MachineState): Record<string, unknown> {
  const running = state.status === "running";
  const { values } = config;
  return {
    vmid: vmId,
    status: state.status,
    name: values["name"] ?? `VM ${vmId}`,
    cpus: coresOf(values),
    cpu: 0,
    maxmem: memoryMibOf(values) * MIB,
    mem: running ? (state.memoryBytes ?? 0) : 0,
    maxdisk: bootDiskBytes(values),
    disk: 0,
    diskread: 0,
    diskwrite: 0,
    netin: 0,
    netout: 0,
    uptime: running ? (state.uptimeSeconds ?? 0) : 0,
    pid: running ? state.pid : undefined,
    lock: values["lock"],
    tags: values["tags"],
    template: isOn(config, "template") ? 1 : undefined,
  };
}

function bootDiskBytes(values: Readonly<Record<string, string>>): number {
  const key = bootDriveOf(values);
  return drivesOf(values).find((one) => one.key === key)?.drive.sizeBytes ?? 0;
}

/** One VM as `GET cluster/resources` lists it. */
export async function resourceOf(lab: Lab, vmId: number): Promise<Record<string, unknown>> {
  const config = lab.vms.read(vmId);
  const { vmid, status, name, cpus, cpu, maxmem, mem, maxdisk, disk, uptime, tags, lock } = await listedStatus(
    lab,
    vmId,
  );
  return {
    id: `qemu/${vmId}`,
    type: "qemu",
    vmid,
    node: lab.node,
    name,
    status,
    maxcpu: cpus,
    cpu,
    maxmem,
    mem,
    maxdisk,
    disk,
    uptime,
    template: isOn(config, "template") ? 1 : 0,
    tags,
    lock,
    pool: lab.pools.poolOf(vmId),
  };
}

/** A password is never answered. */
const HIDDEN = "**********";

/** Options as `GET config` answers them: each in its JSON type. @param live without what is pending */
export function answerConfig(config: VmConfig, live: boolean): Record<string, string | number> {
  const values = live ? config.values : withPending(config);
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, key === "cipassword" ? HIDDEN : jsonValue(key, value)]),
  );
}

/** `GET pending`: each option with its value in force, the one that waits, and whether it is going away. */
export function answerPending(config: VmConfig): Record<string, unknown>[] {
  const keys = new Set([...Object.keys(config.values), ...Object.keys(config.pending)]);
  const shown = (key: string, value: string | undefined) =>
    value === undefined ? undefined : key === "cipassword" ? HIDDEN : jsonValue(key, value);
  return [...keys].sort().map((key) => ({
    key,
    value: shown(key, config.values[key]),
    pending: shown(key, config.pending[key]),
    delete: config.pendingDelete.includes(key) ? 1 : undefined,
  }));
}
