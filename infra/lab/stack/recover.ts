import type { Stack } from "@pulumi/pulumi/automation/index.js";
import { ExecaError, execa } from "execa";
import { z } from "zod";

const PendingOperation = z.looseObject({
  type: z.string(),
  resource: z.looseObject({ urn: z.string(), type: z.string(), inputs: z.record(z.string(), z.unknown()).optional() }),
});
const Deployment = z.looseObject({ pending_operations: z.array(PendingOperation).nullish() });

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
 * Makes a stack whose last update was killed ready for the next: releases its lock and settles each operation that had
 * begun. A VM that was made without being written down is taken over instead of being made twice; everything else that
 * the program makes can be made again, so its half-done creation is forgotten.
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
  const { deployment } = await stack.exportStack();
  const interrupted = interruptedOperations(deployment);
  if (interrupted.length === 0) return [];

  const settled: string[] = [];
  const imports: string[] = [];
  for (const machine of interruptedMachines(interrupted)) {
    if (!(await machineExists(machine.nodeName, machine.vmId))) continue;
    imports.push("--import-pending-creates", machine.urn, "--import-pending-creates", machine.vmId);
    settled.push(`VM ${machine.vmId} on ${machine.nodeName} was made but not written down: taken over`);
  }
  await refreshInterrupted(stack, interrupted, imports);
  for (const o of interrupted) settled.push(`${o.operation} ${o.urn.split("::").at(-1)} was cut off: settled`);
  return settled;
}

/** Refreshes only what was interrupted: the rest of the cluster may not answer at this moment. */
async function refreshInterrupted(stack: Stack, interrupted: readonly Interrupted[], imports: string[]): Promise<void> {
  const { workspace } = stack;
  const targets = [...new Set(interrupted.map((o) => o.urn))].flatMap((urn) => ["--target", urn]);
  const options = ["--yes", "--skip-preview", "--non-interactive", "--color", "never", "--stack", stack.name];
  await execa(
    workspace.pulumiCommand.command,
    ["refresh", ...options, "--clear-pending-creates", ...imports, ...targets],
    {
      cwd: workspace.workDir,
      env: { ...workspace.envVars, PULUMI_HOME: workspace.pulumiHome ?? "" },
      stdin: "ignore",
      all: true,
    },
  ).catch((error: unknown) => {
    const text = error instanceof ExecaError ? String(error.all) : String(error);
    throw new Error(`pulumi refresh after a killed update failed:\n${text.split("\n").slice(-20).join("\n")}`);
  });
}
