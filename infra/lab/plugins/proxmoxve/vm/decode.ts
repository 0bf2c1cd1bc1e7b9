import { z } from "zod";
import { MASKED_PASSWORD } from "./encode.ts";
import { normalizeTags, vmStateSchema } from "./model.ts";
import type { Disk, Initialization, NetworkDevice, Vm, VmState } from "./model.ts";

/** The answer to `GET nodes/N/qemu/ID/config`: flat, numbers and strings. */
export const configSchema = z.record(z.string(), z.union([z.string(), z.number()]));
export type VmConfig = z.output<typeof configSchema>;

/** The answer to `GET nodes/N/qemu/ID/status/current`, as far as it is needed. */
export const statusSchema = z.looseObject({ status: z.string() });

/** The answer to `GET …/agent/network-get-interfaces`. */
export const interfacesSchema = z.looseObject({
  result: z.array(
    z.looseObject({
      name: z.string(),
      "hardware-address": z.string().default(""),
      "ip-addresses": z.array(z.looseObject({ "ip-address": z.string(), "ip-address-type": z.string() })).default([]),
    }),
  ),
});
export type GuestInterfaces = z.output<typeof interfacesSchema>["result"];

/** A property string (`a,k=v,k=v`): the part without `=` is `first`. */
function parseProperties(text: string): { first: string; options: Map<string, string> } {
  const options = new Map<string, string>();
  let first = "";
  for (const part of text.split(",")) {
    const [key = "", ...rest] = part.trim().split("=");
    if (rest.length > 0) options.set(key, rest.join("="));
    else if (key !== "") first = key;
  }
  return { first: options.get("file") ?? first, options };
}

/** Keys that hold a drive. */
const DRIVE = /^(ide|sata|scsi|virtio)\d+$/;

/** One drive of a config: its volume and its options. */
export interface Drive {
  interface: string;
  volume: string;
  options: Map<string, string>;
}

/** Every drive of a config, by interface. */
export function drivesOf(config: VmConfig): Map<string, Drive> {
  const drives = new Map<string, Drive>();
  for (const [key, value] of Object.entries(config)) {
    if (!DRIVE.test(key)) continue;
    const { first, options } = parseProperties(String(value));
    drives.set(key, { interface: key, volume: first, options });
  }
  return drives;
}

/** The drive that holds the host's own cloud-init data, if there is one. */
export function cloudInitDrive(config: VmConfig, vmId: number): Drive | undefined {
  return [...drivesOf(config).values()].find((drive) => drive.volume.includes(`vm-${vmId}-cloudinit`));
}

/** True for volumes of this VM; others may be attached but are never moved, grown or deleted. */
export function isOwnedBy(volume: string, vmId: number): boolean {
  const path = volume.slice(volume.indexOf(":") + 1);
  return path.startsWith(`vm-${vmId}-`) || path.startsWith(`${vmId}/vm-${vmId}-`);
}

/** True when the config has the guest agent on. */
export function agentEnabled(config: VmConfig): boolean {
  const { first, options } = parseProperties(String(config["agent"] ?? ""));
  return (options.get("enabled") ?? first) === "1";
}

const GIB: Record<string, number> = { K: 1024 ** -2, M: 1024 ** -1, G: 1, T: 1024 };

/** `32G`, `32768M` or plain bytes as GiB; 0 when absent. */
function gibOf(size: string | undefined): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)$/.exec(size ?? "");
  if (match === null) return 0;
  const [, amount = "0", unit = ""] = match;
  return unit === "" ? Number(amount) / 1024 ** 3 : Number(amount) * (GIB[unit] ?? 0);
}

/** A VM as its host shows it. `asked` says what the host cannot: timeouts, import source, order of the disks. */
export function decodeVm(
  nodeName: string,
  vmId: number,
  config: VmConfig,
  running: boolean,
  extra: { asked: Vm; poolId: string; guest: GuestInterfaces; formats: ReadonlyMap<string, string> },
): VmState {
  const { asked, guest } = extra;
  const text = (key: string, absent = ""): string => (config[key] === undefined ? absent : String(config[key]));
  const number = (key: string, absent: number): number => Number(config[key] ?? absent);
  const flag = (key: string, absent: boolean): boolean => Number(config[key] ?? (absent ? 1 : 0)) === 1;
  const agent = parseProperties(text("agent")).options;
  const cpu = parseProperties(text("cpu"));
  const vga = config["vga"] === undefined ? undefined : parseProperties(text("vga")).options;
  const macs = networkKeys(config).map((key) => decodeNetworkDevice(text(key)).macAddress);
  return vmStateSchema.parse({
    ...asked,
    nodeName,
    vmId,
    name: text("name"),
    description: text("description"),
    tags: normalizeTags(text("tags").split(";")),
    onBoot: flag("onboot", false),
    started: asked.template ? asked.started : running,
    template: flag("template", false),
    protection: flag("protection", false),
    acpi: flag("acpi", true),
    bios: text("bios", "seabios"),
    bootOrders: parseProperties(text("boot")).options.get("order")?.split(";") ?? [],
    hotplug: config["hotplug"] === undefined ? undefined : text("hotplug"),
    keyboardLayout: text("keyboard", "en-us"),
    machine: text("machine"),
    scsiHardware: text("scsihw", asked.scsiHardware),
    tabletDevice: flag("tablet", true),
    poolId: extra.poolId,
    agent: {
      ...asked.agent,
      enabled: agentEnabled(config),
      trim: agent.get("fstrim_cloned_disks") === "1",
      type: agent.get("type") ?? "virtio",
    },
    cpu: {
      cores: number("cores", 1),
      sockets: number("sockets", 1),
      type: cpu.options.get("cputype") ?? (cpu.first === "" ? "qemu64" : cpu.first),
      flags: cpu.options.get("flags")?.split(";") ?? [],
      hotplugged: number("vcpus", 0),
      limit: number("cpulimit", 0),
      numa: flag("numa", false),
      units: number("cpuunits", 0),
    },
    memory: { dedicated: number("memory", 0), floating: number("balloon", 0) },
    cdrom: decodeCdrom(config, asked),
    disks: decodeDisks(config, vmId, asked, extra.formats),
    networkDevices: networkKeys(config).map((key) => decodeNetworkDevice(text(key))),
    initialization: decodeInitialization(config, vmId, asked.initialization),
    operatingSystem: { type: text("ostype", "other") },
    serialDevices: [0, 1, 2, 3]
      .filter((i) => config[`serial${i}`] !== undefined)
      .map((i) => ({ device: text(`serial${i}`) })),
    startup: decodeStartup(config),
    vga:
      vga === undefined
        ? undefined
        : {
            type: vga.get("type") ?? "std",
            memory: Number(vga.get("memory") ?? 16),
            clipboard: vga.get("clipboard") ?? "",
          },
    ipv4Addresses: guest.map((nic) => addressesOf(nic, "ipv4")),
    ipv6Addresses: guest.map((nic) => addressesOf(nic, "ipv6")),
    macAddresses: guest.length > 0 ? guest.map((nic) => nic["hardware-address"].toUpperCase()) : macs,
    networkInterfaceNames: guest.map((nic) => nic.name),
  });
}

function addressesOf(nic: GuestInterfaces[number], type: string): string[] {
  return nic["ip-addresses"].filter((ip) => ip["ip-address-type"] === type).map((ip) => ip["ip-address"]);
}

/** `net0`, `net1`, … as far as they are there, in order. */
export function networkKeys(config: VmConfig): string[] {
  return Object.keys(config)
    .filter((key) => /^net\d+$/.test(key))
    .sort((left, right) => Number(left.slice(3)) - Number(right.slice(3)));
}

function decodeNetworkDevice(text: string): NetworkDevice {
  const { options } = parseProperties(text);
  const [model = "virtio", address = ""] =
    [...options].find(([key]) => ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"].includes(key)) ?? [];
  return {
    bridge: options.get("bridge") ?? "",
    model: options.get("model") ?? model,
    enabled: true,
    disconnected: options.get("link_down") === "1",
    firewall: options.get("firewall") === "1",
    macAddress: options.get("macaddr") ?? address,
    mtu: Number(options.get("mtu") ?? 0),
    queues: Number(options.get("queues") ?? 0),
    rateLimit: Number(options.get("rate") ?? 0),
    trunks: options.get("trunks") ?? "",
    vlanId: Number(options.get("tag") ?? 0),
  };
}

function decodeCdrom(config: VmConfig, asked: Vm): Vm["cdrom"] {
  const at = asked.cdrom?.interface ?? "ide3";
  const drive = drivesOf(config).get(at);
  if (drive === undefined) return undefined;
  return { interface: at, fileId: asked.cdrom?.fileId === "" ? "" : drive.volume };
}

function decodeDisks(config: VmConfig, vmId: number, asked: Vm, formats: ReadonlyMap<string, string>): Disk[] {
  const order = asked.disks.map((disk) => disk.interface);
  const rank = (at: string): number => (order.includes(at) ? order.indexOf(at) : order.length);
  const disks: Disk[] = [];
  for (const drive of drivesOf(config).values()) {
    const { options, volume } = drive;
    if (volume === "none" || options.get("media") === "cdrom" || volume.includes(`vm-${vmId}-cloudinit`)) continue;
    const before = asked.disks.find((disk) => disk.interface === drive.interface);
    const [datastoreId = "", ...path] = volume.split(":");
    const size = gibOf(options.get("size"));
    disks.push({
      interface: drive.interface,
      datastoreId,
      pathInDatastore: path.join(":"),
      size: size === 0 ? (before?.size ?? 8) : size,
      // The host forgets where a disk came from.
      importFrom: before?.importFrom ?? "",
      fileFormat: options.get("format") ?? formats.get(volume) ?? /\.(qcow2|raw|vmdk)$/.exec(volume)?.[1],
      aio: options.get("aio") ?? "io_uring",
      backup: options.get("backup") !== "0",
      cache: options.get("cache") ?? "none",
      discard: options.get("discard") ?? "ignore",
      iothread: options.get("iothread") === "1",
      replicate: options.get("replicate") !== "0",
      serial: options.get("serial") ?? "",
      ssd: options.get("ssd") === "1",
    });
  }
  return disks.sort((a, b) => rank(a.interface) - rank(b.interface) || (a.interface < b.interface ? -1 : 1));
}

function decodeStartup(config: VmConfig): Vm["startup"] {
  if (config["startup"] === undefined) return undefined;
  const { options } = parseProperties(String(config["startup"]));
  return {
    order: Number(options.get("order") ?? -1),
    upDelay: Number(options.get("up") ?? -1),
    downDelay: Number(options.get("down") ?? -1),
  };
}

function decodeInitialization(
  config: VmConfig,
  vmId: number,
  asked: Initialization | undefined,
): Initialization | undefined {
  const drive = cloudInitDrive(config, vmId);
  const has = (key: string): boolean => config[key] !== undefined;
  const text = (key: string): string => String(config[key] ?? "");
  const ipKeys = Object.keys(config).filter((key) => /^ipconfig\d+$/.test(key));
  const settings = ["searchdomain", "nameserver", "ciuser", "cipassword", "sshkeys", "cicustom", "citype", "ciupgrade"];
  if (drive === undefined && ipKeys.length === 0 && !settings.some(has)) return undefined;
  const files = parseProperties(text("cicustom")).options;
  const ipCount = Math.max(0, ...ipKeys.map((key) => Number(key.slice("ipconfig".length)) + 1));
  return {
    datastoreId: drive?.volume.split(":")[0] ?? asked?.datastoreId ?? "local-lvm",
    interface: drive?.interface ?? "",
    dns:
      has("searchdomain") || has("nameserver")
        ? { domain: text("searchdomain"), servers: text("nameserver").split(" ").filter(Boolean) }
        : undefined,
    ipConfigs: Array.from({ length: ipCount }, (_, index) => {
      const { options } = parseProperties(text(`ipconfig${index}`));
      const pick = (address: string, gateway: string): { address: string; gateway: string } | undefined =>
        options.has(address) || options.has(gateway)
          ? { address: options.get(address) ?? "", gateway: options.get(gateway) ?? "" }
          : undefined;
      return { ipv4: pick("ip", "gw"), ipv6: pick("ip6", "gw6") };
    }),
    userAccount:
      has("ciuser") || has("cipassword") || has("sshkeys")
        ? {
            username: text("ciuser"),
            keys: decodeURIComponent(text("sshkeys")).split("\n").filter(Boolean),
            // The host only says that there is one.
            password:
              text("cipassword") === MASKED_PASSWORD ? (asked?.userAccount?.password ?? "") : text("cipassword"),
          }
        : undefined,
    type: text("citype"),
    upgrade: has("ciupgrade") ? text("ciupgrade") === "1" : undefined,
    userDataFileId: files.get("user") ?? "",
    vendorDataFileId: files.get("vendor") ?? "",
    networkDataFileId: files.get("network") ?? "",
    metaDataFileId: files.get("meta") ?? "",
  };
}
