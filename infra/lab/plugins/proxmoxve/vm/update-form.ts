import type { Parameters } from "../client.ts";
import type { VmConfig } from "./decode.ts";
import { drivesOf, networkKeys } from "./decode.ts";
import {
  encodeAgent,
  encodeCdrom,
  encodeCpu,
  encodeExistingDisk,
  encodeInitialization,
  encodeNetworkDevice,
  encodeNewDisk,
  encodeStartup,
  encodeVga,
} from "./encode.ts";
import { normalizeTags } from "./model.ts";
import type { Vm, VmState } from "./model.ts";

/** What an update sends to `PUT config`, and whether the guest must be restarted for it. */
export interface UpdateForm {
  form: Parameters;
  deletes: string[];
  rebootRequired: boolean;
  /** Drives in `form` that exist already, by interface: sent once more after a resize. */
  existingDisks: Record<string, string>;
}

/** Changes that only take effect when the VM starts. Source: bpg provider v0.111.1, vmUpdate. */
const COLD = new Set<keyof Vm>([
  "acpi",
  "agent",
  "bios",
  "bootOrders",
  "initialization",
  "keyboardLayout",
  "machine",
  "operatingSystem",
  "scsiHardware",
  "serialDevices",
  "tabletDevice",
  "vga",
]);

/** Decides the form of an update from what changed and from what the host has. */
export function planUpdateForm(
  state: VmState,
  wanted: Vm,
  changed: ReadonlySet<keyof Vm>,
  config: VmConfig,
): UpdateForm {
  const form: Parameters = {};
  const deletes: string[] = [];
  const plan: UpdateForm = {
    form,
    deletes,
    rebootRequired: [...changed].some((key) => COLD.has(key)),
    existingDisks: {},
  };
  const has = (key: keyof Vm): boolean => changed.has(key);
  // The provider always sends the name.
  if (wanted.name === "") deletes.push("name");
  else form["name"] = wanted.name;
  if (has("acpi")) form["acpi"] = wanted.acpi;
  if (has("agent")) form["agent"] = encodeAgent(wanted.agent);
  if (has("bios")) form["bios"] = wanted.bios;
  if (has("bootOrders")) form["boot"] = `order=${(wanted.bootOrders ?? []).join(";")}`;
  if (has("description")) form["description"] = wanted.description;
  if (has("hotplug") && wanted.hotplug !== undefined) form["hotplug"] = wanted.hotplug;
  if (has("keyboardLayout")) form["keyboard"] = wanted.keyboardLayout;
  if (has("machine")) form["machine"] = wanted.machine;
  if (has("onBoot")) form["onboot"] = wanted.onBoot;
  if (has("operatingSystem")) form["ostype"] = wanted.operatingSystem.type;
  if (has("protection")) form["protection"] = wanted.protection;
  if (has("scsiHardware")) form["scsihw"] = wanted.scsiHardware;
  if (has("tabletDevice")) form["tablet"] = wanted.tabletDevice;
  if (has("tags")) form["tags"] = normalizeTags(wanted.tags).join(";");
  if (has("vga") && wanted.vga !== undefined) form["vga"] = encodeVga(wanted.vga);
  if (has("cpu")) planCpu(plan, state, wanted);
  if (has("memory")) planMemory(plan, state, wanted);
  if (has("cdrom")) planCdrom(plan, state, wanted);
  if (has("disks")) planDisks(plan, state, wanted, config);
  if (has("networkDevices")) planNetwork(plan, wanted, config);
  if (has("serialDevices")) {
    wanted.serialDevices.forEach(({ device }, index) => (form[`serial${index}`] = device));
    for (let index = wanted.serialDevices.length; index < 4; index += 1) deletes.push(`serial${index}`);
  }
  if (has("startup")) {
    const startup = wanted.startup === undefined ? undefined : encodeStartup(wanted.startup);
    if (startup === undefined) deletes.push("startup");
    else form["startup"] = startup;
  }
  if (has("initialization") && wanted.initialization !== undefined) {
    Object.assign(form, encodeInitialization(wanted.initialization));
    if (wanted.initialization.upgrade === state.initialization?.upgrade) delete form["ciupgrade"];
  }
  return plan;
}

function hotplugs(state: VmState, wanted: Vm, feature: string): boolean {
  const setting = wanted.hotplug ?? state.hotplug ?? "network,disk,usb";
  return (setting === "1" ? "network,disk,usb" : setting).split(",").includes(feature);
}

function planCpu(plan: UpdateForm, state: VmState, wanted: Vm): void {
  const { form, deletes } = plan;
  const { cpu } = wanted;
  form["cores"] = cpu.cores;
  form["sockets"] = cpu.sockets;
  form["numa"] = cpu.numa;
  form["cpu"] = encodeCpu(cpu);
  if (cpu.units > 0) form["cpuunits"] = cpu.units;
  if (cpu.hotplugged > 0) form["vcpus"] = cpu.hotplugged;
  else deletes.push("vcpus");
  if (cpu.limit > 0) form["cpulimit"] = cpu.limit;
  else deletes.push("cpulimit");
  const onlyHotplugged =
    cpu.hotplugged !== state.cpu.hotplugged &&
    JSON.stringify({ ...cpu, hotplugged: 0 }) === JSON.stringify({ ...state.cpu, hotplugged: 0 });
  if (!(onlyHotplugged && hotplugs(state, wanted, "cpu"))) plan.rebootRequired = true;
}

function planMemory(plan: UpdateForm, state: VmState, wanted: Vm): void {
  plan.form["memory"] = wanted.memory.dedicated;
  plan.form["balloon"] = wanted.memory.floating;
  const grows = wanted.memory.dedicated >= state.memory.dedicated && wanted.memory.floating >= state.memory.floating;
  if (!(grows && hotplugs(state, wanted, "memory"))) plan.rebootRequired = true;
}

function planCdrom({ form, deletes }: UpdateForm, state: VmState, wanted: Vm): void {
  const at = wanted.cdrom?.interface ?? "ide3";
  if (state.cdrom !== undefined && state.cdrom.interface !== at) deletes.push(state.cdrom.interface);
  // Without a cdrom block the provider falls back to the block's defaults: an empty drive at ide3.
  form[at] = encodeCdrom(wanted.cdrom ?? { interface: at, fileId: "" });
}

function planDisks(plan: UpdateForm, state: VmState, wanted: Vm, config: VmConfig): void {
  const drives = drivesOf(config);
  for (const disk of state.disks) {
    if (wanted.disks.some(({ interface: at }) => at === disk.interface)) continue;
    if (wanted.bootOrders?.includes(disk.interface) === true) {
      throw new Error(
        `cannot delete boot disk "${disk.interface}": remove it from bootOrders first, or change the boot order`,
      );
    }
    plan.deletes.push(disk.interface);
  }
  for (const disk of wanted.disks) {
    const drive = drives.get(disk.interface);
    if (drive === undefined) {
      plan.form[disk.interface] = encodeNewDisk(disk);
      continue;
    }
    const before = state.disks.find(({ interface: at }) => at === disk.interface);
    if (before !== undefined && sameOptions(before, disk)) continue;
    const text = encodeExistingDisk(disk, drive.volume);
    plan.form[disk.interface] = text;
    plan.existingDisks[disk.interface] = text;
    if (before?.aio !== disk.aio) plan.rebootRequired = true;
  }
}

function sameOptions(before: VmState["disks"][number], after: VmState["disks"][number]): boolean {
  const plain = (disk: VmState["disks"][number]): string =>
    JSON.stringify([
      disk.size,
      disk.aio,
      disk.backup,
      disk.cache,
      disk.discard,
      disk.iothread,
      disk.replicate,
      disk.serial,
      disk.ssd,
    ]);
  return plain(before) === plain(after);
}

function planNetwork({ form, deletes }: UpdateForm, wanted: Vm, config: VmConfig): void {
  const kept = new Set<string>();
  (wanted.networkDevices ?? []).forEach((device, index) => {
    if (!device.enabled) return;
    kept.add(`net${index}`);
    form[`net${index}`] = encodeNetworkDevice(device);
  });
  for (const key of networkKeys(config)) if (!kept.has(key)) deletes.push(key);
}
