import { endpoint } from "../http/endpoint.ts";
import { flag, integer, text } from "../http/parameters.ts";
import { failure } from "../api-error.ts";
import type { Lab } from "../lab.ts";
import type { GuestInterface } from "../machines.ts";
import { assertStartable, isRunning, rebootVm, shutdownVm, startVm, stopVm } from "../vm/lifecycle.ts";
import { hasAgent } from "../vm/machine-spec.ts";
import { currentStatus } from "../vm/status.ts";
import { assertUnlocked } from "../vm/store.ts";
import { assertNode } from "./checks.ts";
import { oneVm } from "./qemu.ts";

const skiplock = flag().optional();
const timeout = integer(0).optional();
const milliseconds = (seconds: number | undefined) => (seconds === undefined ? undefined : seconds * 1000);

/** Starting and stopping, and the guest agent. */
export const powerEndpoints = [
  endpoint("GET /nodes/{node}/qemu/{vmid}/status/current", {
    summary: "A VM's state",
    parameters: oneVm,
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      return currentStatus(lab, params.vmid);
    },
  }),
  endpoint("POST /nodes/{node}/qemu/{vmid}/status/start", {
    summary: "Start a VM",
    parameters: {
      ...oneVm,
      skiplock,
      timeout,
      "force-cpu": text().optional(),
      machine: text().optional(),
      targetstorage: text().optional(),
    },
    handle: ({ lab, user, params }) => {
      assertNode(lab, params.node);
      assertStartable(lab, params.vmid, params.skiplock ?? false);
      return lab.tasks.start("qmstart", String(params.vmid), user, ({ log }) =>
        startVm(lab, params.vmid, log, params.skiplock),
      );
    },
  }),
  endpoint("POST /nodes/{node}/qemu/{vmid}/status/stop", {
    summary: "Pull the plug",
    parameters: { ...oneVm, skiplock, timeout, keepActive: flag().optional(), "overrule-shutdown": flag().optional() },
    handle: ({ lab, user, params }) => {
      assertNode(lab, params.node);
      assertPowerable(lab, params.vmid, params.skiplock);
      return lab.tasks.start("qmstop", String(params.vmid), user, ({ log }) =>
        stopVm(lab, params.vmid, log, params.skiplock),
      );
    },
  }),
  endpoint("POST /nodes/{node}/qemu/{vmid}/status/shutdown", {
    summary: "Ask the guest to power off",
    parameters: { ...oneVm, skiplock, timeout, forceStop: flag().optional(), keepActive: flag().optional() },
    handle: ({ lab, user, params }) => {
      assertNode(lab, params.node);
      assertPowerable(lab, params.vmid, params.skiplock);
      const order = {
        timeoutMs: milliseconds(params.timeout),
        forceStop: params.forceStop ?? false,
        skipLock: params.skiplock ?? false,
      };
      return lab.tasks.start("qmshutdown", String(params.vmid), user, ({ log }) =>
        shutdownVm(lab, params.vmid, order, log),
      );
    },
  }),
  endpoint("POST /nodes/{node}/qemu/{vmid}/status/reboot", {
    summary: "Power off and start again",
    parameters: { ...oneVm, timeout },
    handle: async ({ lab, user, params }) => {
      assertNode(lab, params.node);
      assertPowerable(lab, params.vmid, false);
      if (!(await isRunning(lab, params.vmid))) throw failure("VM not running");
      return lab.tasks.start("qmreboot", String(params.vmid), user, ({ log }) =>
        rebootVm(lab, params.vmid, milliseconds(params.timeout), log),
      );
    },
  }),
  endpoint("POST /nodes/{node}/qemu/{vmid}/agent/ping", {
    summary: "Whether the guest agent answers",
    parameters: oneVm,
    handle: async ({ lab, params }) => {
      assertNode(lab, params.node);
      await agentInterfaces(lab, params.vmid);
      return { result: {} };
    },
  }),
  endpoint("GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces", {
    summary: "The guest's network cards with their addresses",
    parameters: oneVm,
    handle: async ({ lab, params }) => {
      assertNode(lab, params.node);
      return { result: (await agentInterfaces(lab, params.vmid)).map(answerInterface) };
    },
  }),
];

function assertPowerable(lab: Lab, vmId: number, skipLock: boolean | undefined): void {
  const config = lab.vms.read(vmId);
  if (skipLock !== true) assertUnlocked(config);
}

/** @throws ApiError 500 when there is no agent, the VM is off, or the guest is not up yet */
async function agentInterfaces(lab: Lab, vmId: number): Promise<GuestInterface[]> {
  const { values } = lab.vms.read(vmId);
  if (!hasAgent(values)) throw failure("No QEMU guest agent configured");
  if (!(await isRunning(lab, vmId))) throw failure(`VM ${vmId} is not running`);
  const interfaces = await lab.machines.interfaces(vmId);
  if (interfaces.length === 0) throw failure("QEMU guest agent is not running");
  return interfaces;
}

function answerInterface({ name, macAddress, addresses }: GuestInterface): Record<string, unknown> {
  return {
    name,
    "hardware-address": macAddress.toLowerCase(),
    "ip-addresses": addresses.map(({ address, prefix, family }) => ({
      "ip-address": address,
      "ip-address-type": family,
      prefix,
    })),
  };
}
