/** What the Proxmox API asks of whatever runs its virtual machines. One implementation boots containers, another only keeps records. */

/** Everything a driver needs to boot one VM; rendered from the VM's configuration at each cold start. */
export interface MachineSpec {
  /** Proxmox id, 100 to 999999999; the key of every other call. */
  vmId: number;
  /** DNS-like name from the configuration, `VM <id>` when it has none. */
  name: string;
  /** Virtual CPUs: sockets times cores, or `vcpus` when that is set. */
  cores: number;
  /** Memory, MiB. */
  memoryMib: number;
  /** Absolute path of the boot volume. */
  bootDiskPath: string;
  /** Size of the boot volume as the guest sees it, bytes. */
  diskSizeBytes: number;
  /** Network cards in order of their key: `name` is the key, `net0`; the MAC address is upper case. */
  nics: { name: string; macAddress: string; bridge: string }[];
  /** Absolute paths of the ISO files that are inserted, in order of drive key. */
  cdromPaths: string[];
}

/** One network card as the guest itself reports it. */
export interface GuestInterface {
  /** Name inside the guest: `lo`, `eth0`. */
  name: string;
  macAddress: string;
  addresses: { address: string; prefix: number; family: "ipv4" | "ipv6" }[];
}

/** What is known of a machine at this moment; figures are absent while it is stopped or when the driver cannot tell. */
export interface MachineState {
  status: "running" | "stopped";
  pid?: number;
  uptimeSeconds?: number;
  memoryBytes?: number;
}

/** Takes one line for the log of the task that asked. */
export type MachineLog = (line: string) => void;

/** Runs machines. Calls for one VM never overlap; calls for several may. */
export interface MachineDriver {
  /** Resolves when the machine's process runs, not when SSH answers. */
  start(spec: MachineSpec, log: MachineLog): Promise<void>;
  /** Asks the guest to power off. @throws when it still runs after `timeoutMs`. */
  shutdown(vmId: number, timeoutMs: number, log: MachineLog): Promise<void>;
  /** Pulls the plug. A stopped machine is no error. */
  stop(vmId: number, log: MachineLog): Promise<void>;
  state(vmId: number): Promise<MachineState>;
  /** What the guest agent would say; empty while the guest has not come up. */
  interfaces(vmId: number): Promise<GuestInterface[]>;
  /** Drops whatever the driver keeps beside a boot volume (its overlay), before the volume is removed. */
  discardDisk(path: string): Promise<void>;
  /** Lets go of what the driver holds; machines may keep running. */
  close(): Promise<void>;
}
