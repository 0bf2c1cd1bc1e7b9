import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../../provider.ts";
import { PveError } from "../client.ts";
import type { PveClient } from "../client.ts";
import { waitForTask } from "../task.ts";
import { agentEnabled, configSchema, interfacesSchema, statusSchema } from "./decode.ts";
import type { GuestInterfaces, VmConfig } from "./decode.ts";
import type { Vm } from "./model.ts";

/** The provider asks once a second. */
const POLL_MS = 200;

/** One VM on its node, and what every call on it needs. */
export interface VmHandle {
  client: PveClient;
  node: string;
  vmId: number;
  signal: AbortSignal;
  log: Log;
}

/** Path below the VM. */
export function vmPath({ node, vmId }: VmHandle, rest: string): string {
  return `nodes/${node}/qemu/${vmId}/${rest}`;
}

/** `running` or `stopped`. @throws PveError when there is no such VM. */
export async function readStatus(vm: VmHandle): Promise<string> {
  const { client, signal } = vm;
  return statusSchema.parse(await client.get(vmPath(vm, "status/current"), undefined, signal)).status;
}

/** The VM's settings, pending ones included. */
export async function readConfig(vm: VmHandle): Promise<VmConfig> {
  return configSchema.parse(await vm.client.get(vmPath(vm, "config"), undefined, vm.signal));
}

async function waitForStatus(vm: VmHandle, wanted: string): Promise<void> {
  while ((await readStatus(vm)) !== wanted) await sleep(POLL_MS, undefined, { signal: vm.signal });
}

/** The same VM, with a deadline on everything that is done through it. */
export function withDeadline(vm: VmHandle, seconds: number): VmHandle {
  return { ...vm, signal: AbortSignal.any([vm.signal, AbortSignal.timeout(seconds * 1000)]) };
}

/** Starts a stopped VM and waits until it runs; a running one is left alone. */
export async function ensureRunning(vm: VmHandle, settings: Vm): Promise<void> {
  if ((await readStatus(vm)) !== "stopped") return;
  const limited = withDeadline(vm, settings.timeoutStartVm);
  try {
    const upid = await vm.client.post(vmPath(vm, "status/start"), { timeout: settings.timeoutStartVm }, limited.signal);
    await waitForTask(vm.client, vm.node, upid, `VM ${vm.vmId}: start`, limited.signal);
  } catch (error) {
    if (!(error instanceof PveError && error.message.includes("already running"))) throw error;
  }
  await waitForStatus(limited, "running");
}

/** Stops a running VM: by the guest when its agent is on, else by force. Answers whether it had to. */
export async function ensureStopped(vm: VmHandle, settings: Vm): Promise<boolean> {
  if ((await readStatus(vm)) === "stopped") return false;
  if (agentEnabled(await readConfig(vm))) {
    const limited = withDeadline(vm, settings.timeoutShutdownVm);
    const upid = await vm.client.post(
      vmPath(vm, "status/shutdown"),
      { forceStop: true, timeout: settings.timeoutShutdownVm },
      limited.signal,
    );
    await waitForTask(vm.client, vm.node, upid, `VM ${vm.vmId}: shutdown`, limited.signal);
    await waitForStatus(limited, "stopped");
  } else {
    await forceStop(vm, settings);
  }
  return true;
}

/** Cuts the VM's power. */
export async function forceStop(vm: VmHandle, settings: Vm): Promise<void> {
  const limited = withDeadline(vm, settings.timeoutStopVm);
  const upid = await vm.client.post(vmPath(vm, "status/stop"), undefined, limited.signal);
  await waitForTask(vm.client, vm.node, upid, `VM ${vm.vmId}: stop`, limited.signal);
  await waitForStatus(limited, "stopped");
}

/** Restarts a running VM: by the API's reboot when the agent answers, else by stop and start. */
export async function restart(vm: VmHandle, settings: Vm): Promise<void> {
  if ((await readStatus(vm)) === "stopped") return;
  if (!agentEnabled(await readConfig(vm))) {
    await ensureStopped(vm, settings);
    await ensureRunning(vm, settings);
    return;
  }
  const limited = withDeadline(vm, settings.timeoutReboot);
  await waitForAgent(limited);
  const upid = await vm.client.post(vmPath(vm, "status/reboot"), { timeout: settings.timeoutReboot }, limited.signal);
  await waitForTask(vm.client, vm.node, upid, `VM ${vm.vmId}: reboot`, limited.signal);
  await waitForStatus(limited, "running");
}

async function waitForAgent(vm: VmHandle): Promise<void> {
  for (;;) {
    try {
      await vm.client.post(vmPath(vm, "agent/ping"), undefined, vm.signal);
      return;
    } catch (error) {
      if (!(error instanceof PveError) || (error.status !== 400 && error.status !== 500)) throw error;
    }
    await sleep(POLL_MS, undefined, { signal: vm.signal });
  }
}

/**
 * What the guest's agent says about its addresses. Waits until there is one that others can reach, for `agent.timeout`;
 * when that passes it warns and answers an empty list, as the provider does.
 */
export async function readGuestInterfaces(vm: VmHandle, agent: Vm["agent"]): Promise<GuestInterfaces> {
  if (agent.waitForIp?.disabled === true) return [];
  const limited = withDeadline(vm, parseDuration(agent.timeout));
  try {
    for (;;) {
      const found = await tryGuestInterfaces(limited);
      if (found !== undefined && hasWantedAddresses(found, agent)) return found;
      await sleep(1000, undefined, { signal: limited.signal });
    }
  } catch (error) {
    if (vm.signal.aborted) throw error;
    const reason = error instanceof PveError ? error.message : `no address within ${agent.timeout}`;
    vm.log("warning", `VM ${vm.vmId}: the guest's agent does not say its addresses: ${reason}`);
    return [];
  }
}

async function tryGuestInterfaces(vm: VmHandle): Promise<GuestInterfaces | undefined> {
  try {
    const answer = await vm.client.get(vmPath(vm, "agent/network-get-interfaces"), undefined, vm.signal);
    return interfacesSchema.parse(answer).result;
  } catch (error) {
    if (!(error instanceof PveError) || error.status === 403) throw error;
    return undefined;
  }
}

function hasWantedAddresses(interfaces: GuestInterfaces, agent: Vm["agent"]): boolean {
  const reachable = (type: string, local: RegExp): boolean =>
    interfaces.some(
      (nic) =>
        nic.name !== "lo" &&
        nic["ip-addresses"].some((ip) => ip["ip-address-type"] === type && !local.test(ip["ip-address"])),
    );
  const ipv4 = reachable("ipv4", /^(127\.|169\.254\.|0\.|22[4-9]\.|23\d\.)/);
  const ipv6 = reachable("ipv6", /^(::1$|fe80:|ff)/i);
  const wants = agent.waitForIp;
  if (wants === undefined || (!wants.ipv4 && !wants.ipv6)) return ipv4 || ipv6;
  return (!wants.ipv4 || ipv4) && (!wants.ipv6 || ipv6);
}

const UNIT_SECONDS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600 };

/** A Go duration (`1h30m`) in seconds. */
function parseDuration(text: string): number {
  let seconds = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    seconds += Number(amount) * (UNIT_SECONDS[unit ?? ""] ?? 0);
  }
  return seconds;
}
