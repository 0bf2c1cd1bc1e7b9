import { failure } from "../api-error.ts";
import type { Lab } from "../lab.ts";
import type { TaskContext } from "../tasks.ts";
import { freeVolumes, ownedVolumes } from "./drives.ts";
import { applyPending } from "./edits.ts";
import { machineSpecOf } from "./machine-spec.ts";
import { assertUnlocked, isOn } from "./store.ts";

type Log = TaskContext["log"];

/** How long a guest may take to power off when the request does not say, ms (PVE::API2::Qemu, vm_shutdown: 60 s). */
const SHUTDOWN_TIMEOUT_MS = 60_000;

/** Whether a VM runs at this moment. */
export async function isRunning(lab: Lab, vmId: number): Promise<boolean> {
  return (await lab.machines.state(vmId)).status === "running";
}

/** Checks that a start can be asked for; the task checks again. @throws ApiError 500 */
export function assertStartable(lab: Lab, vmId: number, skipLock: boolean): void {
  const config = lab.vms.read(vmId);
  if (isOn(config, "template")) throw failure("you can't start a vm if it's a template");
  if (!skipLock) assertUnlocked(config);
}

/** Boots a stopped VM, with what was pending in force. @throws when it runs already, is locked or a template, or cannot boot */
export async function startVm(lab: Lab, vmId: number, log: Log, skipLock = false): Promise<void> {
  await lab.locks.run(vmId, async () => {
    assertStartable(lab, vmId, skipLock);
    if (await isRunning(lab, vmId)) throw failure(`VM ${vmId} already running`);
    await boot(lab, vmId, log);
  });
}

// The VM's lock is held by the caller.
async function boot(lab: Lab, vmId: number, log: Log): Promise<void> {
  const config = lab.vms.read(vmId);
  const owned = new Set(ownedVolumes(vmId, { ...config.values, ...config.pending }));
  const { freed } = applyPending(config, false, (volumeId) => owned.has(volumeId));
  await lab.vms.write(vmId, config);
  await freeVolumes(lab, freed, log);
  await lab.machines.start(await machineSpecOf(lab, vmId, config), log);
}

/** Pulls the plug. A VM that does not run is no error, as on Proxmox. */
export async function stopVm(lab: Lab, vmId: number, log: Log, skipLock = false): Promise<void> {
  await lab.locks.run(vmId, async () => {
    if (!skipLock) assertUnlocked(lab.vms.read(vmId));
    if (!(await isRunning(lab, vmId))) return;
    await lab.machines.stop(vmId, log);
    await settleStopped(lab, vmId);
  });
}

/** How a guest is asked to power off. */
export interface ShutdownOrder {
  timeoutMs: number | undefined;
  /** Pull the plug when the time is over, instead of failing. */
  forceStop: boolean;
  skipLock: boolean;
}

/** Asks the guest to power off. @throws when it still runs after the time given, unless it may be forced */
export async function shutdownVm(lab: Lab, vmId: number, order: ShutdownOrder, log: Log): Promise<void> {
  await lab.locks.run(vmId, async () => {
    if (!order.skipLock) assertUnlocked(lab.vms.read(vmId));
    if (!(await isRunning(lab, vmId))) return;
    await powerOff(lab, vmId, order, log);
    await settleStopped(lab, vmId);
  });
}

/** Powers off and boots again, which puts pending changes into force. */
export async function rebootVm(lab: Lab, vmId: number, timeoutMs: number | undefined, log: Log): Promise<void> {
  await lab.locks.run(vmId, async () => {
    assertUnlocked(lab.vms.read(vmId));
    if (!(await isRunning(lab, vmId))) throw failure("VM not running");
    await powerOff(lab, vmId, { timeoutMs, forceStop: false, skipLock: false }, log);
    await boot(lab, vmId, log);
  });
}

async function powerOff(lab: Lab, vmId: number, order: ShutdownOrder, log: Log): Promise<void> {
  try {
    await lab.machines.shutdown(vmId, order.timeoutMs ?? SHUTDOWN_TIMEOUT_MS, log);
  } catch (error) {
    if (!order.forceStop) throw error;
    log(`VM still running - terminating now with SIGTERM`);
    await lab.machines.stop(vmId, log);
  }
}

/** Once a VM is off nothing waits any more: its pending changes are its configuration. */
async function settleStopped(lab: Lab, vmId: number): Promise<void> {
  const config = lab.vms.read(vmId);
  if (Object.keys(config.pending).length === 0 && config.pendingDelete.length === 0) return;
  const owned = new Set(ownedVolumes(vmId, { ...config.values, ...config.pending }));
  const { freed } = applyPending(config, false, (volumeId) => owned.has(volumeId));
  await lab.vms.write(vmId, config);
  await freeVolumes(lab, freed);
}
