import type { Firewalls } from "./firewalls.ts";
import type { KeyedLock } from "./keyed-lock.ts";
import type { MachineDriver } from "./machines.ts";
import type { Pools } from "./pools.ts";
import type { Datastores } from "./storage/datastores.ts";
import type { Tasks } from "./tasks.ts";
import type { VmStore } from "./vm/store.ts";
import type { Tickets } from "./http/authentication.ts";

/** A bridge of the node's network. */
export interface Bridge {
  /** `vmbr0`. */
  name: string;
  /** The node's own address on it, `192.168.1.211`; absent when it has none. */
  address?: string;
  /** Prefix length of that address. */
  prefix?: number;
  /** Default gateway behind it. */
  gateway?: string;
}

/** Everything that handlers work on: one node and what it keeps. */
export interface Lab {
  node: string;
  /** Address that the API listens on. */
  address: string;
  bridges: readonly Bridge[];
  /** Proxmox VE version that the API says it is. */
  version: { version: string; release: string; repoid: string };
  /** Folder for files that are still being received, absolute. */
  uploadDirectory: string;
  datastores: Datastores;
  vms: VmStore;
  pools: Pools;
  firewalls: Firewalls;
  tasks: Tasks;
  machines: MachineDriver;
  tickets: Tickets;
  /** One piece of work at a time for each VM id. */
  locks: KeyedLock;
  /** Milliseconds since 1970. */
  now(): number;
  /** When the server came up, milliseconds since 1970. */
  startedAt: number;
}
