import type { Parameters } from "../client.ts";
import { normalizeTags } from "./model.ts";
import type { Disk, Initialization, NetworkDevice, Vm } from "./model.ts";

/** How the provider writes a VM into the API's form fields. Source: bpg provider v0.111.1, proxmox/nodes/vms/custom_*.go. */

const bit = (value: boolean): string => (value ? "1" : "0");

/** `enabled=1,fstrim_cloned_disks=0,type=virtio`. */
export function encodeAgent(agent: Vm["agent"]): string {
  return `enabled=${bit(agent.enabled)},fstrim_cloned_disks=${bit(agent.trim)},type=${agent.type}`;
}

/** The bare type, or `cputype=…,flags=…` where there are flags. */
export function encodeCpu(cpu: Vm["cpu"]): string {
  return cpu.flags.length > 0 ? `cputype=${cpu.type},flags=${cpu.flags.join(";")}` : cpu.type;
}

/** Options of a disk after its volume; each key only where the interface knows it. */
function diskOptions(disk: Disk): string[] {
  const options = [`aio=${disk.aio}`, `backup=${bit(disk.backup)}`];
  if (!/^(sata|ide)/.test(disk.interface)) options.push(`iothread=${bit(disk.iothread)}`);
  if (disk.serial !== "") options.push(`serial=${disk.serial}`);
  if (!disk.interface.startsWith("virtio")) options.push(`ssd=${bit(disk.ssd)}`);
  if (disk.discard !== "") options.push(`discard=${disk.discard}`);
  if (disk.cache !== "") options.push(`cache=${disk.cache}`);
  options.push(`replicate=${bit(disk.replicate)}`);
  return options;
}

/** A disk that does not exist yet: blank (`store:GiB`), or from an image (`store:0,import-from=…`). */
export function encodeNewDisk(disk: Disk): string {
  const parts =
    disk.importFrom === ""
      ? [`file=${disk.datastoreId}:${disk.size}`]
      : [`file=${disk.datastoreId}:0`, `import-from=${disk.importFrom}`];
  if (disk.fileFormat !== undefined) parts.push(`format=${disk.fileFormat}`);
  parts.push(`size=${diskBytes(disk)}`);
  return [...parts, ...diskOptions(disk)].join(",");
}

/** A disk that exists: its volume with new options, never its size or format. */
export function encodeExistingDisk(disk: Disk, volume: string): string {
  return [`file=${volume}`, ...diskOptions(disk)].join(",");
}

/** Size in bytes, as the resize call takes it. */
export function diskBytes(disk: Disk): number {
  return disk.size * 1024 ** 3;
}

/** `model=virtio,bridge=vmbr0,firewall=0`. */
export function encodeNetworkDevice(device: NetworkDevice): string {
  const parts = [`model=${device.model}`];
  if (device.bridge !== "") parts.push(`bridge=${device.bridge}`);
  parts.push(`firewall=${bit(device.firewall)}`);
  if (device.disconnected) parts.push("link_down=1");
  if (device.macAddress !== "") parts.push(`macaddr=${device.macAddress}`);
  if (device.queues !== 0) parts.push(`queues=${device.queues}`);
  if (device.rateLimit !== 0) parts.push(`rate=${device.rateLimit.toFixed(6)}`);
  if (device.vlanId !== 0) parts.push(`tag=${device.vlanId}`);
  if (device.mtu !== 0) parts.push(`mtu=${device.mtu}`);
  if (device.trunks !== "") parts.push(`trunks=${device.trunks}`);
  return parts.join(",");
}

/** The cloud-init fields, without the drive. `password` was masked by the host when it reads as asterisks. */
export function encodeInitialization(initialization: Initialization): Parameters {
  const form: Parameters = {};
  const files = [
    ["meta", initialization.metaDataFileId],
    ["network", initialization.networkDataFileId],
    ["user", initialization.userDataFileId],
    ["vendor", initialization.vendorDataFileId],
  ].filter(([, file]) => file !== "");
  if (files.length > 0) form["cicustom"] = files.map(([kind, file]) => `${kind}=${file}`).join(",");
  initialization.ipConfigs.forEach(({ ipv4, ipv6 }, index) => {
    const parts: string[] = [];
    if (ipv4?.gateway) parts.push(`gw=${ipv4.gateway}`);
    if (ipv6?.gateway) parts.push(`gw6=${ipv6.gateway}`);
    if (ipv4?.address) parts.push(`ip=${ipv4.address}`);
    if (ipv6?.address) parts.push(`ip6=${ipv6.address}`);
    if (parts.length > 0) form[`ipconfig${index}`] = parts.join(",");
  });
  const { dns, userAccount } = initialization;
  if (dns?.domain) form["searchdomain"] = dns.domain;
  if (dns !== undefined && dns.servers.length > 0) form["nameserver"] = dns.servers.join(" ");
  if (userAccount !== undefined) {
    if (userAccount.password !== "" && userAccount.password !== MASKED_PASSWORD) {
      form["cipassword"] = userAccount.password;
    }
    if (userAccount.keys.length > 0) form["sshkeys"] = escapeAll(userAccount.keys.join("\n"));
    if (userAccount.username !== "") form["ciuser"] = userAccount.username;
  }
  if (initialization.type !== "") form["citype"] = initialization.type;
  if (initialization.upgrade !== undefined) form["ciupgrade"] = initialization.upgrade;
  return form;
}

/** Percent-encodes all but letters, digits and `-_.~`; the form encodes the result again, and the API wants it so. */
function escapeAll(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** What the API answers instead of a password. */
export const MASKED_PASSWORD = "**********";

/** `order=1,up=30`; undefined where nothing is set. */
export function encodeStartup(startup: NonNullable<Vm["startup"]>): string | undefined {
  const parts: string[] = [];
  if (startup.order >= 0) parts.push(`order=${startup.order}`);
  if (startup.upDelay >= 0) parts.push(`up=${startup.upDelay}`);
  if (startup.downDelay >= 0) parts.push(`down=${startup.downDelay}`);
  return parts.length > 0 ? parts.join(",") : undefined;
}

/** `clipboard=vnc,memory=16,type=std`. */
export function encodeVga(vga: NonNullable<Vm["vga"]>): string {
  const parts: string[] = [];
  if (vga.clipboard !== "") parts.push(`clipboard=${vga.clipboard}`);
  if (vga.memory > 0) parts.push(`memory=${vga.memory}`);
  if (vga.type !== "") parts.push(`type=${vga.type}`);
  return parts.join(",");
}

function bootOrder(vm: Vm): string[] {
  if (vm.bootOrders !== undefined && vm.bootOrders.length > 0) return vm.bootOrders;
  const order = vm.cdrom === undefined ? [] : [vm.cdrom.interface];
  for (const first of ["ide0", "sata0", "scsi0", "virtio0"]) {
    if (vm.disks.some((disk) => disk.interface === first)) order.push(first);
  }
  if (vm.networkDevices !== undefined && vm.networkDevices.length > 0) order.push("net0");
  return order;
}

/** An ISO in a drive; without one, the drive is there with the host's own CD-ROM in it. */
export function encodeCdrom(cdrom: NonNullable<Vm["cdrom"]>): string {
  return `file=${cdrom.fileId === "" ? "cdrom" : cdrom.fileId},media=cdrom,`;
}

/** The form of `POST nodes/N/qemu`. */
export function encodeCreate(vm: Vm, vmId: number): Parameters {
  const form: Parameters = {
    acpi: vm.acpi,
    agent: encodeAgent(vm.agent),
    balloon: vm.memory.floating,
    bios: vm.bios,
    cores: vm.cpu.cores,
    cpu: encodeCpu(vm.cpu),
    keyboard: vm.keyboardLayout,
    memory: vm.memory.dedicated,
    numa: vm.cpu.numa,
    onboot: vm.onBoot,
    ostype: vm.operatingSystem.type,
    protection: vm.protection,
    scsihw: vm.scsiHardware,
    sockets: vm.cpu.sockets,
    tablet: vm.tabletDevice,
    template: false,
    vmid: vmId,
  };
  const order = bootOrder(vm);
  if (order.length > 0) form["boot"] = `order=${order.join(";")}`;
  if (vm.cpu.hotplugged > 0) form["vcpus"] = vm.cpu.hotplugged;
  if (vm.cpu.limit > 0) form["cpulimit"] = vm.cpu.limit;
  if (vm.cpu.units > 0) form["cpuunits"] = vm.cpu.units;
  if (vm.description !== "") form["description"] = vm.description;
  if (vm.hotplug !== undefined) form["hotplug"] = vm.hotplug;
  if (vm.machine !== "") form["machine"] = vm.machine;
  if (vm.name !== "") form["name"] = vm.name;
  if (vm.poolId !== "") form["pool"] = vm.poolId;
  if (vm.tags.length > 0) form["tags"] = normalizeTags(vm.tags).join(";");
  if (vm.startup !== undefined) form["startup"] = encodeStartup(vm.startup);
  if (vm.vga !== undefined) form["vga"] = encodeVga(vm.vga);
  for (const disk of vm.disks) form[disk.interface] = encodeNewDisk(disk);
  (vm.networkDevices ?? []).forEach((device, index) => {
    if (device.enabled) form[`net${index}`] = encodeNetworkDevice(device);
  });
  vm.serialDevices.forEach(({ device }, index) => {
    form[`serial${index}`] = device;
  });
  if (vm.initialization !== undefined) {
    Object.assign(form, encodeInitialization(vm.initialization));
    form[vm.initialization.interface || "ide2"] = `file=${vm.initialization.datastoreId}:cloudinit,`;
  }
  if (vm.cdrom !== undefined) form[vm.cdrom.interface] = encodeCdrom(vm.cdrom);
  return form;
}
