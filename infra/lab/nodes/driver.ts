import { mkdir, open, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import type { MachineDriver, MachineSpec } from "../pve/machines.ts";
import { readImage } from "./image.ts";
import { FIRST_PROCESS } from "./isolation.ts";
import { Machine } from "./machine.ts";
import { machineInterfaces, namespacePath } from "./network.ts";

/** How often a running machine's `/proc/meminfo` is brought up to date, ms. */
const REFRESH_MS = 5000;

/** Bytes of an image that hold its header and extensions: one cluster. */
const IMAGE_HEAD_BYTES = 64 * 1024;

/** nspawn's own scratch directory; ours is mounted over it, so that the host's stays as it is. */
const NSPAWN_DIR = "/run/systemd/nspawn";

/** What a driver is made with. */
export interface MachineDriverOptions {
  /** Name of the lab; its network must exist, and this process be in it. */
  lab: string;
  /** Where machines keep what lives only as long as they run, and their console logs: `<vmId>/` there. Absolute. */
  stateDir: string;
  /** Path of the root file system with the key that an image names; undefined when there is none of that name. */
  rootfsOf(key: string): string | undefined | Promise<string | undefined>;
}

/** Directory that the driver keeps for a boot volume. */
export function overlayDirOf(bootDiskPath: string): string {
  return `${bootDiskPath}.overlay`;
}

/**
 * Runs a lab's machines as systemd-nspawn containers.
 *
 * Must be called by a process started through `isolated(lab, argv, "datacentre")`: mounts, network cards and processes are made in its namespaces and
 * end with it. `close` stops all machines hard and removes what they used.
 * Its `start` throws in a process that is outside of the lab, where all of this would land on the host.
 */
export function createMachineDriver(options: MachineDriverOptions): MachineDriver {
  let prepared: Promise<void> | undefined;
  const machines = new Map<number, Machine>();
  const timer = setInterval(() => {
    for (const machine of machines.values()) machine.refreshMeminfo().catch(() => undefined);
  }, REFRESH_MS);
  timer.unref();

  return {
    async start(spec, log) {
      if (machines.has(spec.vmId)) throw new Error(`VM ${spec.vmId} (${spec.name}) runs already`);
      await (prepared ??= prepare(options.lab));
      const key = await imageKey(spec);
      const rootfs = await options.rootfsOf(key);
      if (rootfs === undefined)
        throw new Error(
          `VM ${spec.vmId}: its image names root file system ${key}, which this lab does not have; take the lab down and start it again`,
        );
      const places = {
        overlayDir: overlayDirOf(spec.bootDiskPath),
        runDir: join(options.stateDir, String(spec.vmId)),
        rootfs,
      };
      await mkdir(places.runDir, { recursive: true });
      const machine = new Machine(options.lab, spec, places, () => {
        if (machines.get(spec.vmId) === machine) machines.delete(spec.vmId);
      });
      machines.set(spec.vmId, machine);
      await machine.start(log);
      log(`${spec.name} boots with ${spec.cores} cores and ${spec.memoryMib} MiB`);
    },
    async shutdown(vmId, timeoutMs, log) {
      const machine = machines.get(vmId);
      if (!machine) return;
      log(`${machine.spec.name}: asking its systemd to power off`);
      await machine.shutdown(timeoutMs);
    },
    async stop(vmId, log) {
      const machine = machines.get(vmId);
      if (!machine) return;
      log(`${machine.spec.name}: pulling the plug`);
      await machine.stop();
    },
    async state(vmId) {
      return (await machines.get(vmId)?.state()) ?? { status: "stopped" };
    },
    async interfaces(vmId) {
      const machine = machines.get(vmId);
      return machine ? machineInterfaces(machine.netns) : [];
    },
    async discardDisk(path) {
      for (const machine of machines.values()) {
        if (machine.spec.bootDiskPath === path)
          throw new Error(`VM ${machine.spec.vmId} (${machine.spec.name}) runs from ${path}; stop it first`);
      }
      await rm(overlayDirOf(path), { recursive: true, force: true });
    },
    async close() {
      clearInterval(timer);
      await Promise.all([...machines.values()].map((machine) => machine.stop()));
    },
  };
}

/** The root file system's key in a VM's boot volume. */
async function imageKey(spec: MachineSpec): Promise<string> {
  const file = await open(spec.bootDiskPath, "r");
  try {
    const head = Buffer.alloc(IMAGE_HEAD_BYTES);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    return readImage(head.subarray(0, bytesRead));
  } catch (error) {
    throw new Error(
      `VM ${spec.vmId}: ${spec.bootDiskPath}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  } finally {
    await file.close();
  }
}

async function prepare(lab: string): Promise<void> {
  await assertIsolated(lab);
  await mkdir(NSPAWN_DIR, { recursive: true });
  await execa("mount", ["-t", "tmpfs", "-o", "mode=0755", "gorkheavy", NSPAWN_DIR], { stdin: "ignore" });
}

async function assertIsolated(lab: string): Promise<void> {
  const lost = 'start it through isolated(lab, argv, "datacentre")';
  const network = await stat(namespacePath(lab)).catch(() => undefined);
  const own = await stat("/proc/self/ns/net");
  if (!network || network.ino !== own.ino || network.dev !== own.dev)
    throw new Error(`this process is not in the network of lab ${lab}; ${lost}`);
  const first = (await readFile("/proc/1/cmdline", "utf8")).split("\0");
  if (!first.includes(FIRST_PROCESS))
    throw new Error(`this process has no process and mount namespaces of its own; ${lost}`);
}
