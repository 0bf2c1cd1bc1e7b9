import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Firewalls } from "./firewalls.ts";
import { parseProperties } from "./format/property-string.ts";
import type { Upid } from "./format/upid.ts";
import { Tickets } from "./http/authentication.ts";
import { createApiServer } from "./http/server.ts";
import { KeyedLock } from "./keyed-lock.ts";
import type { Bridge, Lab } from "./lab.ts";
import type { GuestInterface, MachineDriver } from "./machines.ts";
import { Pools } from "./pools.ts";
import { createRecordMachines } from "./record-machines.ts";
import { ENDPOINTS } from "./routes/index.ts";
import { DEFAULT_DATASTORES, Datastores } from "./storage/datastores.ts";
import type { DatastoreSettings } from "./storage/datastore.ts";
import { acquireLock } from "../tools/lock.ts";
import { Tasks } from "./tasks.ts";
import { parseApiToken } from "./token.ts";
import type { ApiToken } from "./token.ts";
import { removeVm } from "./vm/destroy.ts";
import { VmStore } from "./vm/store.ts";

/** Version that the API says it is; 9.0 or newer makes the provider use the import upload (pve-api.md, section 6). */
const VERSION = { version: "9.0.11", release: "9.0", repoid: "3bf5476b8a4699e2" };
/** pve-http-server holds back answers to wrong credentials this long, ms. */
const AUTH_DELAY_MS = 3000;

/** How one Proxmox VE node is served. */
export interface PveOptions {
  /** Node name: letters, digits and dashes. */
  node: string;
  /** Address to listen on. */
  address: string;
  /** TCP port; 0 takes a free one. */
  port: number;
  /** Folder for everything that it keeps; made when missing. One server a folder. */
  dataDir: string;
  /** What runs the VMs; undefined keeps records only. */
  machines: MachineDriver | undefined;
  /** The one API token, `USER@REALM!TOKENID=UUID`. */
  token: string;
  /** Password of `root@pam` for `POST access/ticket`. @default - nobody can log in with a password */
  password?: string;
  tls: { certPem: string; keyPem: string };
  /** Takes a line for each request that failed; never holds a secret. */
  log: (line: string) => void;
  /** @default local (files) and local-lvm (disks) */
  datastores?: readonly DatastoreSettings[];
  /** @default vmbr0 with the listening address, /24 */
  bridges?: readonly Bridge[];
  /** How long an answer to wrong credentials is held back, ms. @default 3000 */
  authDelayMs?: number;
  /** Clock, ms since 1970. @default Date.now */
  now?: () => number;
}

/** A Proxmox VE API that is being served. */
export interface Pve {
  /** `https://address:port`. */
  readonly endpoint: string;
  readonly port: number;
  /** What the server works on, for the lab's own tools and tests. */
  readonly lab: Lab;
  /** Stops listening and aborts tasks; VMs stay as they are, and the machine driver is left to whoever made it. */
  close(): Promise<void>;
}

/**
 * Serves one Proxmox VE node from a folder. What an earlier server left there is taken over: VMs are as they were, interrupted tasks are closed
 * as failed, locks are released, and a VM that was only half made is removed.
 * @throws Error naming the address and port when they cannot be listened on, or the token's form when it is wrong
 * @throws LockHeld when another living process serves the same folder
 */
export async function createPve(options: PveOptions): Promise<Pve> {
  const token = parseApiToken(options.token);
  const release = await acquireLock(join(resolve(options.dataDir), "lock"), `Proxmox VE API of node ${options.node}`);
  try {
    return await serve(options, token, release);
  } catch (error) {
    await release();
    throw error;
  }
}

async function serve(options: PveOptions, token: ApiToken, release: () => Promise<void>): Promise<Pve> {
  const lab = await openLab(options);
  const settings = { token, tls: options.tls, authDelayMs: options.authDelayMs ?? AUTH_DELAY_MS, log: options.log };
  const server = createApiServer(lab, ENDPOINTS, settings);
  await new Promise<void>((done, fail) => {
    server.once("error", (error: NodeJS.ErrnoException) => fail(listenError(error, options)));
    server.listen(options.port, options.address, done);
  });
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : options.port;
  const host = options.address.includes(":") ? `[${options.address}]` : options.address;
  return {
    endpoint: `https://${host}:${port}`,
    port,
    lab,
    async close() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
      await lab.tasks.close();
      await release();
    },
  };
}

function listenError(error: NodeJS.ErrnoException, { address, port }: PveOptions): Error {
  const advice: Record<string, string> = {
    EADDRINUSE: "another program listens there; stop it or choose another port",
    EADDRNOTAVAIL: "this machine does not have that address; choose one that it has",
    EACCES: "not allowed; choose a port above 1023 or run as root",
  };
  return new Error(`cannot listen on ${address} port ${port}: ${advice[error.code ?? ""] ?? error.message}`, {
    cause: error,
  });
}

async function openLab(options: PveOptions): Promise<Lab> {
  const now = options.now ?? Date.now;
  const dataDir = resolve(options.dataDir);
  const uploadDirectory = join(dataDir, "uploads");
  await rm(uploadDirectory, { recursive: true, force: true });
  await mkdir(uploadDirectory, { recursive: true, mode: 0o700 });
  const vms = await VmStore.open(join(dataDir, "qemu-server"), options.node);
  const { tasks, interrupted } = await Tasks.open(join(dataDir, "tasks"), options.node, now);
  const lab: Lab = {
    node: options.node,
    address: options.address,
    bridges: options.bridges ?? [{ name: "vmbr0", address: options.address, prefix: 24 }],
    version: VERSION,
    uploadDirectory,
    datastores: await Datastores.open(join(dataDir, "storage"), options.datastores ?? DEFAULT_DATASTORES),
    vms,
    firewalls: await Firewalls.open(join(dataDir, "firewalls.json")),
    pools: await Pools.open(join(dataDir, "pools.json")),
    tasks,
    machines:
      options.machines ??
      (await createRecordMachines(join(dataDir, "machines"), now, (vmId) => configuredAddresses(vms, vmId))),
    tickets: new Tickets(options.password, now),
    locks: new KeyedLock(),
    now,
    startedAt: now(),
  };
  await recover(lab, interrupted, options.log);
  return lab;
}

/** Undoes what a killed server had begun. */
async function recover(lab: Lab, interrupted: readonly Upid[], log: (line: string) => void): Promise<void> {
  for (const { type, id } of interrupted) log(`task ${type} ${id} of an earlier server was interrupted`);
  for (const vmId of lab.vms.ids()) {
    const config = lab.vms.read(vmId);
    const lock = config.values["lock"];
    if (lock === undefined) continue;
    if (lock === "create" || lock === "clone") {
      log(`VM ${vmId} was only half made (${lock}) and is removed`);
      await removeVm(lab, vmId, true, () => undefined);
    } else {
      delete config.values["lock"];
      await lab.vms.write(vmId, config);
    }
  }
}

/** Static addresses from `ipconfigN`, by card. */
function configuredAddresses(vms: VmStore, vmId: number): Map<string, GuestInterface["addresses"]> {
  const found = new Map<string, GuestInterface["addresses"]>();
  if (!vms.has(vmId)) return found;
  for (const [key, value] of Object.entries(vms.read(vmId).values)) {
    if (!/^ipconfig\d+$/.test(key)) continue;
    const [address, prefix] = (parseProperties(value).get("ip") ?? "").split("/");
    if (address === undefined || prefix === undefined) continue;
    found.set(key.replace("ipconfig", "net"), [{ address, prefix: Number(prefix), family: "ipv4" }]);
  }
  return found;
}
