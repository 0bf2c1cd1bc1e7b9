import { normalizeTags } from "./model.ts";
import type { Disk, Vm, VmState } from "./model.ts";

/** Properties of a VM that live on the host, and so can drift. The rest (timeouts, switches) only steers the provider. */
export const HOST_KEYS = [
  "acpi",
  "agent",
  "bios",
  "bootOrders",
  "cdrom",
  "cpu",
  "description",
  "disks",
  "hotplug",
  "initialization",
  "keyboardLayout",
  "machine",
  "memory",
  "name",
  "networkDevices",
  "nodeName",
  "onBoot",
  "operatingSystem",
  "poolId",
  "protection",
  "scsiHardware",
  "serialDevices",
  "started",
  "startup",
  "tabletDevice",
  "tags",
  "template",
  "vga",
  "vmId",
] as const satisfies readonly (keyof Vm)[];

export type HostKey = (typeof HOST_KEYS)[number];

/** Steers only this provider; a change is kept in the state and touches nothing. */
export const PROVIDER_KEYS = [
  "migrate",
  "reboot",
  "rebootAfterUpdate",
  "stopOnDestroy",
  "purgeOnDestroy",
  "deleteUnreferencedDisksOnDestroy",
  "timeoutClone",
  "timeoutCreate",
  "timeoutMigrate",
  "timeoutMoveDisk",
  "timeoutReboot",
  "timeoutShutdownVm",
  "timeoutStartVm",
  "timeoutStopVm",
] as const satisfies readonly (keyof Vm)[];

type Comparable = Partial<Record<keyof Vm, unknown>>;

/**
 * Both sides in one form, each with just what can be compared: what the program leaves to the host is left out on both.
 * `changed` names the properties that differ.
 */
export function compareVm(
  state: VmState,
  wanted: Vm,
): { changed: Set<keyof Vm>; before: Comparable; after: Comparable } {
  const before: Comparable = {};
  const after: Comparable = {};
  const changed = new Set<keyof Vm>();
  for (const key of [...HOST_KEYS, ...PROVIDER_KEYS]) {
    const [left, right] = pair(key, state, wanted);
    if (left !== undefined) before[key] = left;
    if (right !== undefined) after[key] = right;
    if (canonical(left) !== canonical(right)) changed.add(key);
  }
  return { changed, before, after };
}

type Pair = (state: VmState, wanted: Vm) => [unknown, unknown];

/** Left to the host unless the program says so. */
const ifAsked =
  (key: keyof Vm): Pair =>
  (state, wanted) =>
    wanted[key] === undefined ? [undefined, undefined] : [state[key], wanted[key]];

/** How the properties are compared that are not simply equal or not. */
const PAIRS: Partial<Record<keyof Vm, Pair>> = {
  bootOrders: ifAsked("bootOrders"),
  hotplug: ifAsked("hotplug"),
  vmId: ifAsked("vmId"),
  vga: ifAsked("vga"),
  tags: (state, wanted) => [normalizeTags(state.tags), normalizeTags(wanted.tags)],
  // The provider never takes a VM out of a pool without putting it into another.
  poolId: (state, wanted) => (wanted.poolId === "" ? [undefined, undefined] : [state.poolId, wanted.poolId]),
  started: (state, wanted) => (wanted.template ? [undefined, undefined] : [state.started, wanted.started]),
  disks: (state, wanted) => [comparableDisks(state.disks, wanted.disks), comparableDisks(wanted.disks, wanted.disks)],
  networkDevices: (state, wanted) => {
    if (wanted.networkDevices === undefined) return [undefined, undefined];
    const enabled = wanted.networkDevices.filter((device) => device.enabled);
    const shown = state.networkDevices?.map((device, index) =>
      (enabled[index]?.macAddress ?? "") === "" ? { ...device, macAddress: "" } : upperMac(device),
    );
    return [shown, enabled.map(upperMac)];
  },
  initialization: (state, wanted) => {
    const asked = wanted.initialization;
    const shown = state.initialization;
    if (asked === undefined || shown === undefined) return [shown, asked];
    return [
      {
        ...shown,
        interface: asked.interface === "" ? "" : shown.interface,
        upgrade: asked.upgrade === undefined ? undefined : shown.upgrade,
        type: asked.type === "" ? "" : shown.type,
      },
      asked,
    ];
  },
};

function pair(key: keyof Vm, state: VmState, wanted: Vm): [unknown, unknown] {
  return PAIRS[key]?.(state, wanted) ?? [state[key], wanted[key]];
}

function upperMac<T extends { macAddress: string }>(device: T): T {
  return { ...device, macAddress: device.macAddress.toUpperCase() };
}

function comparableDisks(disks: readonly Disk[], wanted: readonly Disk[]): Disk[] {
  return disks
    .map((disk) => comparableDisk(disk, wanted))
    .sort((left, right) => (left.interface < right.interface ? -1 : 1));
}

/** A disk without what the host decides, and without `importFrom`: a change of that never touches a disk that exists. */
function comparableDisk(disk: Disk, wanted: readonly Disk[]): Disk {
  const asked = wanted.find((other) => other.interface === disk.interface);
  return {
    ...disk,
    importFrom: "",
    pathInDatastore: undefined,
    fileFormat: asked?.fileFormat === undefined ? undefined : disk.fileFormat,
    // These options do not exist on every bus.
    ssd: disk.interface.startsWith("virtio") ? false : disk.ssd,
    iothread: /^(sata|ide)/.test(disk.interface) ? false : disk.iothread,
  };
}

/** Text that is the same for the same content, whatever the order of keys; absent and undefined are the same. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([left], [right]) => (left < right ? -1 : 1)))
      : inner,
  );
}
