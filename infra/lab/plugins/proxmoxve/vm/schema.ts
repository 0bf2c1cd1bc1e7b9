import type { CheckFailure, Properties } from "../../provider.ts";
import { anything, checkShape, flag, integer, list, object, oneOf, text, textLike } from "../../shape.ts";
import type { Shape } from "../../shape.ts";

const seconds = integer(1);
const fileId = textLike(/^[^:]+:.+$/, "DATASTORE:PATH, such as local:import/ubuntu.qcow2");
const nonNegative: Shape = { kind: "number", minimum: 0 };
const ip = object({ address: text, gateway: text });

const disk = object(
  {
    aio: oneOf("io_uring", "native", "threads"),
    backup: flag,
    cache: oneOf("none", "writethrough", "writeback", "unsafe", "directsync"),
    datastoreId: text,
    discard: oneOf("ignore", "on"),
    fileFormat: oneOf("qcow2", "raw", "vmdk"),
    importFrom: fileId,
    interface: textLike(
      /^(ide[0-3]|sata[0-5]|scsi([0-9]|[12][0-9]|30)|virtio([0-9]|1[0-5]))$/,
      "ide0-3, sata0-5, scsi0-30 or virtio0-15",
    ),
    iothread: flag,
    pathInDatastore: text,
    replicate: flag,
    serial: textLike(/^.{0,20}$/, "at most 20 characters"),
    size: integer(1),
    ssd: flag,
  },
  ["interface"],
);

const networkDevice = object({
  bridge: text,
  disconnected: flag,
  enabled: flag,
  firewall: flag,
  macAddress: textLike(/^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$/, "a MAC address, such as BC:24:11:00:00:01"),
  model: oneOf("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"),
  mtu: integer(0, 65_520),
  queues: integer(0, 64),
  rateLimit: nonNegative,
  trunks: text,
  vlanId: integer(0, 4094),
});

const initialization = object({
  datastoreId: text,
  dns: object({ domain: text, servers: list(text) }),
  interface: textLike(/^(ide[0-3]|sata[0-5]|scsi([0-9]|[12][0-9]|30))$/, "ide0-3, sata0-5 or scsi0-30"),
  ipConfigs: list(object({ ipv4: ip, ipv6: ip }), 32),
  metaDataFileId: fileId,
  networkDataFileId: fileId,
  type: oneOf("configdrive2", "nocloud", "opennebula"),
  upgrade: flag,
  userAccount: object({ keys: list(text), password: text, username: text }),
  userDataFileId: fileId,
  vendorDataFileId: fileId,
});

/** Inputs of VmLegacy that the stand-in acts on. Source: @muhlba91/pulumi-proxmoxve 8.6.0, vmLegacy.d.ts. */
export const vmShape = object(
  {
    acpi: flag,
    agent: object({
      enabled: flag,
      timeout: textLike(/^(\d+(\.\d+)?(ms|s|m|h))+$/, "a duration, such as 15m"),
      trim: flag,
      type: oneOf("virtio", "isa"),
      waitForIp: object({ disabled: flag, ipv4: flag, ipv6: flag }),
    }),
    bios: oneOf("seabios", "ovmf"),
    bootOrders: list(text),
    cdrom: object({
      fileId: text,
      interface: textLike(/^(ide[0-3]|sata[0-5]|scsi([0-9]|[12][0-9]|30))$/, "ide0-3, sata0-5 or scsi0-30"),
    }),
    cpu: object({
      cores: integer(1, 1024),
      flags: list(textLike(/^[+-][a-z0-9-]+$/, "a CPU flag with + or -")),
      hotplugged: integer(0, 2304),
      limit: { kind: "number", minimum: 0, maximum: 128 },
      numa: flag,
      sockets: integer(1, 16),
      type: text,
      units: integer(0, 262_144),
    }),
    deleteUnreferencedDisksOnDestroy: flag,
    description: text,
    disks: list(disk),
    hotplug: text,
    initialization,
    keyboardLayout: text,
    machine: text,
    memory: object({ dedicated: integer(64, 268_435_456), floating: integer(0, 268_435_456) }),
    migrate: flag,
    name: textLike(
      /^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$/,
      "a DNS name",
    ),
    networkDevices: list(networkDevice, 32),
    nodeName: text,
    onBoot: flag,
    operatingSystem: object({
      type: oneOf(
        "l24",
        "l26",
        "other",
        "solaris",
        "w2k",
        "w2k3",
        "w2k8",
        "win7",
        "win8",
        "win10",
        "win11",
        "wvista",
        "wxp",
      ),
    }),
    poolId: text,
    protection: flag,
    purgeOnDestroy: flag,
    reboot: flag,
    rebootAfterUpdate: flag,
    scsiHardware: oneOf("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"),
    serialDevices: list(object({ device: text }), 4),
    started: flag,
    startup: object({ downDelay: integer(), order: integer(), upDelay: integer() }),
    stopOnDestroy: flag,
    tabletDevice: flag,
    tags: list(textLike(/^[a-zA-Z0-9_][a-zA-Z0-9_+.-]*$/, "letters, digits, _, -, + and .")),
    template: flag,
    timeoutClone: seconds,
    timeoutCreate: seconds,
    timeoutMigrate: seconds,
    timeoutMoveDisk: seconds,
    timeoutReboot: seconds,
    timeoutShutdownVm: seconds,
    timeoutStartVm: seconds,
    timeoutStopVm: seconds,
    vga: object({ clipboard: text, memory: integer(4, 512), type: text }),
    vmId: integer(100, 999_999_999),
  },
  ["nodeName"],
);

/** Inputs that the SDK has and a lab's host does not: devices of real hardware, and clones. */
const BEYOND_THE_LAB = new Set([
  "amdSev",
  "audioDevice",
  "clone",
  "efiDisk",
  "hookScriptFileId",
  "hostpcis",
  "kvmArguments",
  "macAddresses",
  "numas",
  "rngs",
  "smbios",
  "tpmState",
  "usbs",
  "virtiofs",
  "watchdog",
]);

/** Everything that is wrong with a VM's inputs; what only real hardware can do is refused as such. */
export function checkVm(news: Properties): CheckFailure[] {
  const known: Properties = {};
  const failures: CheckFailure[] = [];
  for (const [key, value] of Object.entries(news)) {
    if (BEYOND_THE_LAB.has(key)) {
      checkShape({ [key]: value }, object({ [key]: anything }));
      if (value !== null)
        failures.push({ property: key, reason: "the lab's stand-in does not do this; real hosts do" });
    } else {
      known[key] = value;
    }
  }
  return [...failures, ...checkShape(known, vmShape)];
}
