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

function pair(key: keyof Vm, state: VmState, wanted: Vm): [unknown, unknown] {
  switch (key) {
    case "bootOrders":
    case "hotplug":
    case "vmId":
    case "vga":
      // Left to the host unless the program says so.
      return wanted[key] === undefined ? [undefined, undefined] : [state[key], wanted[key]];
    case "tags":
      return [normalizeTags(state.tags), normalizeTags(wanted.tags)];
    case "poolId":
      // The provider never takes a VM out of a pool without putting it into another.
      return wanted.poolId === "" ? [undefined, undefined] : [state.poolId, wanted.poolId];
    case "started":
      return wanted.template ? [undefined, undefined] : [state.started, wanted.started];
    case "disks":
      return [
        state.disks.map((disk) => comparableDisk(disk, wanted.disks)),
        wanted.disks.map((disk) => comparableDisk(disk, wanted.disks)),
      ].map((disks) => disks.sort((a, b) => (a.interface < b.interface ? -1 : 1))) as [unknown, unknown];
    case "networkDevices": {
      const devices = wanted.networkDevices;
      if (devices === undefined) return [undefined, undefined];
      const enabled = devices.filter((device) => device.enabled);
      return [
        state.networkDevices?.map((device, index) =>
          (enabled[index]?.macAddress ?? "") === "" ? { ...device, macAddress: "" } : upperMac(device),
        ),
        enabled.map(upperMac),
      ];
    }
    case "initialization": {
      const asked = wanted.initialization;
      if (asked === undefined) return [state.initialization, undefined];
      const shown = state.initialization;
      return [
        shown === undefined
          ? undefined
          : {
              ...shown,
              interface: asked.interface === "" ? "" : shown.interface,
              upgrade: asked.upgrade === undefined ? undefined : shown.upgrade,
              type: asked.type === "" ? "" : shown.type,
            },
        { ...asked, upgrade: asked.upgrade },
      ];
    }
    default:
      return [state[key], wanted[key]];
  }
}

function upperMac<T extends { macAddress: string }>(device: T): T {
  return { ...device, macAddress: device.macAddress.toUpperCase() };
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
