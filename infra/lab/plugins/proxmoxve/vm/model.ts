import { z } from "zod";

/**
 * A VM as the program asks for it, with the provider's defaults. Only what a lab's host can do is here; schema.ts
 * refuses the rest by name. Defaults: bpg provider v0.111.1, proxmoxtf/resource/vm/vm.go, disk/schema.go, network/schema.go.
 */
export const diskSchema = z.object({
  interface: z.string(),
  datastoreId: z.string().default("local-lvm"),
  /** GiB. */
  size: z.number().default(8),
  importFrom: z.string().default(""),
  fileFormat: z.string().optional(),
  aio: z.string().default("io_uring"),
  backup: z.boolean().default(true),
  cache: z.string().default("none"),
  discard: z.string().default("ignore"),
  iothread: z.boolean().default(false),
  replicate: z.boolean().default(true),
  serial: z.string().default(""),
  ssd: z.boolean().default(false),
  /** The volume below its datastore; only known from the host. */
  pathInDatastore: z.string().optional(),
});

export const networkDeviceSchema = z.object({
  bridge: z.string().default("vmbr0"),
  model: z.string().default("virtio"),
  enabled: z.boolean().default(true),
  disconnected: z.boolean().default(false),
  firewall: z.boolean().default(false),
  macAddress: z.string().default(""),
  mtu: z.number().default(0),
  queues: z.number().default(0),
  /** MB/s. */
  rateLimit: z.number().default(0),
  trunks: z.string().default(""),
  vlanId: z.number().default(0),
});

const ipSchema = z.object({ address: z.string().default(""), gateway: z.string().default("") });

export const initializationSchema = z.object({
  datastoreId: z.string().default("local-lvm"),
  interface: z.string().default(""),
  dns: z.object({ domain: z.string().default(""), servers: z.array(z.string()).default([]) }).optional(),
  ipConfigs: z.array(z.object({ ipv4: ipSchema.optional(), ipv6: ipSchema.optional() })).default([]),
  userAccount: z
    .object({
      keys: z.array(z.string()).default([]),
      password: z.string().default(""),
      username: z.string().default(""),
    })
    .optional(),
  type: z.string().default(""),
  upgrade: z.boolean().optional(),
  userDataFileId: z.string().default(""),
  vendorDataFileId: z.string().default(""),
  networkDataFileId: z.string().default(""),
  metaDataFileId: z.string().default(""),
});

const agentSchema = z.object({
  enabled: z.boolean().default(false),
  /** A Go duration, such as 15m. */
  timeout: z.string().default("15m"),
  trim: z.boolean().default(false),
  type: z.string().default("virtio"),
  waitForIp: z
    .object({
      disabled: z.boolean().default(false),
      ipv4: z.boolean().default(false),
      ipv6: z.boolean().default(false),
    })
    .optional(),
});

export const vmSchema = z.object({
  nodeName: z.string(),
  vmId: z.number().optional(),
  name: z.string().default(""),
  description: z.string().default(""),
  tags: z.array(z.string()).default([]),
  onBoot: z.boolean().default(true),
  started: z.boolean().default(true),
  template: z.boolean().default(false),
  protection: z.boolean().default(false),
  acpi: z.boolean().default(true),
  bios: z.string().default("seabios"),
  bootOrders: z.array(z.string()).optional(),
  hotplug: z.string().optional(),
  keyboardLayout: z.string().default("en-us"),
  machine: z.string().default(""),
  scsiHardware: z.string().default("virtio-scsi-pci"),
  tabletDevice: z.boolean().default(true),
  poolId: z.string().default(""),
  agent: agentSchema.prefault({}),
  cpu: z
    .object({
      cores: z.number().default(1),
      sockets: z.number().default(1),
      type: z.string().default("qemu64"),
      flags: z.array(z.string()).default([]),
      /** 0 means that all cores are there from the start. */
      hotplugged: z.number().default(0),
      limit: z.number().default(0),
      numa: z.boolean().default(false),
      units: z.number().default(0),
    })
    .prefault({}),
  memory: z.object({ dedicated: z.number().default(512), floating: z.number().default(0) }).prefault({}),
  cdrom: z.object({ fileId: z.string().default(""), interface: z.string().default("ide3") }).optional(),
  disks: z.array(diskSchema).default([]),
  networkDevices: z.array(networkDeviceSchema).optional(),
  initialization: initializationSchema.optional(),
  operatingSystem: z.object({ type: z.string().default("other") }).prefault({}),
  serialDevices: z.array(z.object({ device: z.string().default("socket") })).default([]),
  startup: z
    .object({ order: z.number().default(-1), upDelay: z.number().default(-1), downDelay: z.number().default(-1) })
    .optional(),
  vga: z
    .object({ type: z.string().default("std"), memory: z.number().default(16), clipboard: z.string().default("") })
    .optional(),
  migrate: z.boolean().default(false),
  reboot: z.boolean().default(false),
  rebootAfterUpdate: z.boolean().default(true),
  stopOnDestroy: z.boolean().default(false),
  purgeOnDestroy: z.boolean().default(true),
  deleteUnreferencedDisksOnDestroy: z.boolean().default(true),
  /** Seconds, all of them. */
  timeoutClone: z.number().default(1800),
  timeoutCreate: z.number().default(1800),
  timeoutMigrate: z.number().default(1800),
  timeoutMoveDisk: z.number().default(1800),
  timeoutReboot: z.number().default(1800),
  timeoutShutdownVm: z.number().default(1800),
  timeoutStartVm: z.number().default(1800),
  timeoutStopVm: z.number().default(300),
});

export type Vm = z.output<typeof vmSchema>;
export type Disk = z.output<typeof diskSchema>;
export type NetworkDevice = z.output<typeof networkDeviceSchema>;
export type Initialization = z.output<typeof initializationSchema>;

/** A VM as its host shows it: the same, and what only the host knows. */
export const vmStateSchema = vmSchema.extend({
  vmId: z.number(),
  /** One list for each of the guest's interfaces, `lo` included; empty without an agent. */
  ipv4Addresses: z.array(z.array(z.string())).default([]),
  ipv6Addresses: z.array(z.array(z.string())).default([]),
  macAddresses: z.array(z.string()).default([]),
  networkInterfaceNames: z.array(z.string()).default([]),
});

export type VmState = z.output<typeof vmStateSchema>;

/** Tags as the host keeps them. */
export function normalizeTags(tags: readonly string[]): string[] {
  return [...new Set(tags.map((tag) => tag.trim().toLowerCase()).filter((tag) => tag !== ""))].sort();
}
