import { z } from "zod";
import { DRIVE_KEYS, orderOf, parseDrive } from "../format/drive.ts";
import { parseNet } from "../format/net.ts";
import { FormatError, parseBoolean, parseProperties } from "../format/property-string.ts";
import { parseTags, renderTags } from "../format/tags.ts";
import { choice, common, decimal, flag, formatted, integer, lines, text } from "../http/parameters.ts";

/** How an option reads in JSON: Go clients decode strictly, so a number must be a number (a boolean is 1 or 0) and a text a text. */
type JsonForm = "number" | "string";

/** When a change reaches a running VM: at once, as the VM's `hotplug` list says, or at the next cold start. */
export type Hotplug = "now" | "network" | "disk" | "cpu" | "memory" | "usb" | "cold";

/** One option of a VM's configuration. */
export interface VmOption {
  /** Checks one value and gives the text that is stored. */
  schema: z.ZodType<string, string>;
  json: JsonForm;
  hotplug: Hotplug;
}

const asFlag = flag().transform((value) => (value ? "1" : "0"));
const whole = (min: number, max?: number) => integer(min, max).transform(String);

function numbered(name: string, count: number, option: VmOption): Record<string, VmOption> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`${name}${index}`, option]));
}
const string = (schema: z.ZodType<string, string>, hotplug: Hotplug = "cold"): VmOption => ({
  schema,
  json: "string",
  hotplug,
});
const number = (schema: z.ZodType<string, string>, hotplug: Hotplug = "cold"): VmOption => ({
  schema,
  json: "number",
  hotplug,
});

/** Accepts what `parseProperties` can read; the text is stored as given, as Proxmox does. */
const properties = (defaultKey: string) =>
  formatted((value) => {
    parseProperties(value, defaultKey);
    return value;
  });
const net = formatted((value) => {
  parseNet(value);
  return value;
});
const drive = (key: string) =>
  formatted((value) => {
    orderOf(parseDrive(key, value));
    return value;
  });
const ipConfig = formatted((value) => {
  for (const [key, address] of parseProperties(value)) {
    const bare = key === "gw" ? z.ipv4() : key === "gw6" ? z.ipv6() : undefined;
    const block =
      key === "ip"
        ? z.union([z.cidrv4(), z.literal("dhcp")])
        : key === "ip6"
          ? z.union([z.cidrv6(), z.literal(["dhcp", "auto"])])
          : undefined;
    const schema = bare ?? block;
    if (schema === undefined)
      throw new FormatError(
        `format error\n${key}: property is not defined in schema and the schema does not allow additional properties`,
      );
    if (!schema.safeParse(address).success)
      throw new FormatError(
        `format error\n${key}: invalid format - value does not look like a valid ${bare === undefined ? "CIDR network" : "IP address"}`,
      );
  }
  return value;
});
const memory = formatted((value) => {
  const size = parseProperties(value, "current").get("current") ?? "";
  if (!/^\d+$/.test(size) || Number(size) < 16)
    throw new FormatError("format error\ncurrent: value must have a minimum value of 16");
  return value;
});
const hotplugList = formatted((value) => {
  if (parseBoolean(value) !== undefined) return value;
  for (const item of value.split(",")) {
    if (!["network", "disk", "cpu", "memory", "usb", "cloudinit"].includes(item))
      throw new FormatError(`unknown hotplug feature '${item}'`);
  }
  return value;
});

/** Every option of `nodes/{node}/qemu/{vmid}/config` (PVE::QemuServer, `$confdesc`), by name. */
export const VM_OPTIONS: Readonly<Record<string, VmOption>> = {
  acpi: number(asFlag),
  affinity: string(text()),
  agent: string(properties("enabled"), "now"),
  "amd-sev": string(properties("type")),
  arch: string(choice("x86_64", "aarch64")),
  args: string(text()),
  audio0: string(properties("device")),
  autostart: number(asFlag),
  balloon: number(whole(0)),
  bios: string(choice("seabios", "ovmf")),
  boot: string(properties("legacy")),
  bootdisk: string(text()),
  cicustom: string(properties(""), "now"),
  cipassword: string(text(), "now"),
  citype: string(choice("configdrive2", "nocloud", "opennebula"), "now"),
  ciupgrade: number(asFlag, "now"),
  ciuser: string(text(), "now"),
  cores: number(whole(1)),
  cpu: string(properties("cputype")),
  cpulimit: string(decimal(0, 128), "now"),
  cpuunits: number(whole(1, 262_144), "now"),
  description: string(lines(), "now"),
  freeze: number(asFlag),
  hookscript: string(text(), "now"),
  hotplug: string(hotplugList),
  hugepages: string(choice("any", "2", "1024")),
  ivshmem: string(properties("size")),
  keephugepages: number(asFlag),
  keyboard: string(
    choice(
      ..."de de-ch da en-gb en-us es fi fr fr-be fr-ca fr-ch hu is it ja lt mk nl no pl pt pt-br sv sl tr".split(" "),
    ),
  ),
  kvm: number(asFlag),
  localtime: number(asFlag),
  lock: string(
    choice(
      "backup",
      "clone",
      "create",
      "migrate",
      "rollback",
      "snapshot",
      "snapshot-delete",
      "suspending",
      "suspended",
    ),
    "now",
  ),
  machine: string(properties("type")),
  memory: string(memory, "memory"),
  migrate_downtime: number(decimal(0, 1_000_000), "now"),
  migrate_speed: number(whole(0), "now"),
  name: string(common.dnsName, "now"),
  nameserver: string(text(), "now"),
  numa: number(asFlag),
  onboot: number(asFlag, "now"),
  ostype: string(choice(..."other wxp w2k w2k3 w2k8 wvista win7 win8 win10 win11 l24 l26 solaris".split(" "))),
  protection: number(asFlag, "now"),
  reboot: number(asFlag),
  rng0: string(properties("source")),
  scsihw: string(choice("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi")),
  searchdomain: string(text(), "now"),
  shares: number(whole(0, 50_000), "now"),
  smbios1: string(properties("uuid")),
  smp: number(whole(1)),
  sockets: number(whole(1)),
  spice_enhancements: string(properties("foldersharing")),
  sshkeys: string(text(), "now"),
  startdate: string(text()),
  startup: string(properties("order"), "now"),
  tablet: number(asFlag),
  tags: string(
    formatted((value) => renderTags(parseTags(value))),
    "now",
  ),
  tdf: number(asFlag),
  template: number(asFlag),
  vcpus: number(whole(1), "cpu"),
  vga: string(properties("type")),
  vmgenid: string(text()),
  vmstatestorage: string(common.storage, "now"),
  watchdog: string(properties("model")),
  ...Object.fromEntries(
    DRIVE_KEYS.map((key) => [key, string(drive(key), /^(scsi|virtio)/.test(key) ? "disk" : "cold")]),
  ),
  ...numbered("hostpci", 16, string(properties("host"))),
  ...numbered("ipconfig", 32, string(ipConfig, "now")),
  ...numbered("net", 32, string(net, "network")),
  ...numbered("numa", 8, string(properties("cpus"))),
  ...numbered("parallel", 3, string(text())),
  ...numbered("serial", 4, string(text())),
  ...numbered("unused", 256, string(text(), "now")),
  ...numbered("usb", 14, string(properties("host"), "usb")),
  ...numbered("virtiofs", 10, string(properties("dirid"))),
};

/** Options that only the user `root@pam` itself may set, not a token of it (PVE::API2::Qemu, check_vm_modify_config_perm). */
export const ROOT_ONLY: ReadonlySet<string> = new Set(["arch", "args", "hookscript", "lock"]);

/** The options as parameters of an endpoint, all optional. `cdrom` is the old name of `ide2`. */
export const vmOptionParameters: Readonly<Record<string, z.ZodType<string | undefined, string | undefined>>> =
  Object.fromEntries([
    ...Object.entries(VM_OPTIONS).map(([key, option]) => [key, option.schema.optional()] as const),
    ["cdrom", text().optional()] as const,
  ]);

/** A stored value as it is answered in JSON. */
export function jsonValue(key: string, value: string): string | number {
  return VM_OPTIONS[key]?.json === "number" ? Number(value) : value;
}

/** Whether a VM with this `hotplug` value takes changes of a kind while it runs. Absent means `network,disk,usb`, `1` too, `0` none. */
export function hotplugs(setting: string | undefined, kind: Hotplug): boolean {
  if (kind === "now") return true;
  if (kind === "cold") return false;
  const flagValue = setting === undefined ? true : parseBoolean(setting);
  const kinds = flagValue === undefined ? (setting ?? "").split(",") : flagValue ? ["network", "disk", "usb"] : [];
  return kinds.includes(kind);
}
