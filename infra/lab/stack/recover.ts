import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { ExecaError, execa } from "execa";
import { z } from "zod";

const PendingOperation = z.looseObject({
  type: z.string(),
  resource: z.looseObject({ urn: z.string(), type: z.string(), inputs: z.record(z.string(), z.unknown()).optional() }),
});
const Deployment = z.looseObject({
  resources: z.array(z.looseObject({ urn: z.string() })).nullish(),
  pending_operations: z.array(PendingOperation).nullish(),
});
const Checkpoint = z.looseObject({ deployment: z.unknown() });

/** An operation that an update had begun when it was killed. */
export interface Interrupted {
  urn: string;
  type: string;
  operation: string;
  inputs: Record<string, unknown>;
}

const VM_TYPE = "proxmoxve:index/vmLegacy:VmLegacy";

/** The operations that a killed update left unfinished, from an exported deployment. */
export function interruptedOperations(deployment: unknown): Interrupted[] {
  return (Deployment.parse(deployment).pending_operations ?? []).map((pending) => ({
    urn: pending.resource.urn,
    type: pending.resource.type,
    operation: pending.type,
    inputs: pending.resource.inputs ?? {},
  }));
}

/** VMs whose creation was cut off: their id is fixed in the program, so what was made can be found by it. */
export function interruptedMachines(
  operations: readonly Interrupted[],
): { urn: string; vmId: string; nodeName: string }[] {
  return operations.flatMap((o) => {
    const { vmId, nodeName } = o.inputs;
    if (o.type !== VM_TYPE || o.operation !== "creating" || typeof vmId !== "number" || typeof nodeName !== "string")
      return [];
    return [{ urn: o.urn, vmId: String(vmId), nodeName }];
  });
}

/**
 * A deployment without operations that had begun: machines that are to be taken over become resources with the id that
 * the program gave them, everything else in creation is forgotten, and what was being changed or deleted is as it was
 * before, so that the next update does it again.
 */
export function settle(deployment: unknown, takenOver: readonly string[]): unknown {
  const before = Deployment.parse(deployment);
  const adopted = (before.pending_operations ?? []).flatMap(({ type, resource }) => {
    if (type !== "creating" || !takenOver.includes(resource.urn)) return [];
    return [{ ...resource, id: String(resource.inputs?.["vmId"]), outputs: resource.inputs }];
  });
  return { ...before, pending_operations: [], resources: [...(before.resources ?? []), ...adopted] };
}

/**
 * Makes a stack whose last update was killed ready for the next: releases its lock and settles each operation that had
 * begun. A VM that was made without being written down is taken over instead of being made twice; everything else that
 * the program makes can be made again, so its half-done creation is forgotten. Secrets stay encrypted throughout.
 *
 * @param machineExists asks the Proxmox host
 * @returns one line for each thing settled
 */
export async function recoverStack(
  stack: Stack,
  machineExists: (nodeName: string, vmId: string) => Promise<boolean>,
): Promise<string[]> {
  await stack.cancel().catch(() => {
    // Nothing holds the stack: the usual case.
  });
  const checkpoint = Checkpoint.parse(JSON.parse(await pulumi(stack, ["stack", "export"])));
  const interrupted = interruptedOperations(checkpoint.deployment);
  if (interrupted.length === 0) return [];

  const takenOver: string[] = [];
  const settled: string[] = [];
  for (const machine of interruptedMachines(interrupted)) {
    if (!(await machineExists(machine.nodeName, machine.vmId))) continue;
    takenOver.push(machine.urn);
    settled.push(`VM ${machine.vmId} on ${machine.nodeName} was made but not written down: taken over`);
  }
  const next = { ...checkpoint, deployment: settle(checkpoint.deployment, takenOver) };
  await pulumi(stack, ["stack", "import"], JSON.stringify(next));
  // Only the machines: the rest of the cluster may not answer at this moment.
  if (takenOver.length > 0) {
    await pulumi(stack, ["refresh", "--yes", "--skip-preview", ...takenOver.flatMap((urn) => ["--target", urn])]);
  }
  for (const o of interrupted) settled.push(`${o.operation} ${o.urn.split("::").at(-1)} was cut off: settled`);
  return settled;
}

/** Runs the CLI on the stack's own backend. @throws Error with its last lines */
async function pulumi(stack: Stack, args: string[], input = ""): Promise<string> {
  const { workspace } = stack;
  try {
    const { stdout } = await execa(
      workspace.pulumiCommand.command,
      [...args, "--stack", stack.name, "--non-interactive", "--color", "never"],
      {
        cwd: workspace.workDir,
        env: { ...workspace.envVars, PULUMI_HOME: workspace.pulumiHome ?? "" },
        input,
        all: true,
        maxBuffer: 512 * 1024 * 1024,
      },
    );
    return stdout;
  } catch (error) {
    const text = error instanceof ExecaError ? String(error.all) : String(error);
    throw new Error(
      `pulumi ${args.slice(0, 2).join(" ")} after a killed update failed:\n${text.split("\n").slice(-20).join("\n")}`,
      { cause: error },
    );
  }
}
