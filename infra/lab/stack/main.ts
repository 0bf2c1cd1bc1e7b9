// Drives the Pulumi engine for the lab; runs inside the lab's network, where the Proxmox hosts and the nodes are.
// Reads one EngineRequest from standard input, writes EngineAnswers to standard output.
import { readFile } from "node:fs/promises";
import type { EngineEvent, Stack } from "@pulumi/pulumi/automation/index.js";
import stackProgram from "../../../stacks/index.ts";
import { PROXMOX_HOSTS } from "../datacentre/config.ts";
import { ProxmoxClient } from "../datacentre/proxmox-client.ts";
import { plain, UpdateProgress } from "./progress.ts";
import { recoverStack } from "./recover.ts";
import { type EngineAnswer, EngineRequest, type PlannedChange } from "./request.ts";
import { openStack } from "./workspace.ts";

/** Well-formed, and no host's token: what a preview runs with where no token is set. It calls no host. */
const PREVIEW_TOKEN = "root@pam!preview=00000000-0000-0000-0000-000000000000";

const started = Date.now();
const request = EngineRequest.parse(JSON.parse(await readStdin()));
const token = request.tokenFile ? (await readFile(request.tokenFile, "utf8")).trim() : PREVIEW_TOKEN;
const progress = new UpdateProgress((say) => answer({ say }));

try {
  const stack = await openStack({
    stackName: request.stackName,
    program: stackProgram,
    places: { dir: request.dir, pulumiPath: request.pulumiPath, caFile: request.caFile },
    overrides: request.overrides,
    secrets: { "gorkheavy:proxmoxApiToken": token },
  });
  await act(stack);
} catch (error) {
  answer({ failure: failureOf(error) });
  process.exitCode = 1;
}

async function act(stack: Stack): Promise<void> {
  const planned: PlannedChange[] = [];
  const onEvent = (event: EngineEvent) => {
    // A preview's events read like an update's; what is planned is told at its end.
    if (request.action !== "preview" || event.diagnosticEvent) progress.onEvent(event);
    const step = event.resourcePreEvent?.metadata;
    if (step && step.op !== "same")
      planned.push({ operation: step.op, type: step.type, name: step.urn.split("::").at(-1) ?? "", urn: step.urn });
  };
  const quiet = { color: "never", onOutput: () => {}, onEvent } as const;
  if (request.action !== "preview") {
    for (const line of await recoverStack(stack, machineExists)) answer({ say: line });
  }
  let changes: Partial<Record<string, number>> = {};
  switch (request.action) {
    case "preview":
      changes = (await stack.preview(quiet)).changeSummary;
      break;
    case "up":
      changes = (await stack.up({ ...quiet, continueOnError: false })).summary.resourceChanges ?? {};
      break;
    case "refresh":
      changes = (await stack.refresh(quiet)).summary.resourceChanges ?? {};
      break;
    case "destroy":
      changes = (await stack.destroy(quiet)).summary.resourceChanges ?? {};
      break;
  }
  const outputs = Object.fromEntries(
    Object.entries(await stack.outputs()).map(([key, output]) => [key, output.value as unknown]),
  );
  answer({ done: { changes: defined(changes), planned, outputs, ms: Date.now() - started } });
}

/** Whether a Proxmox host of the lab has a VM of this id. */
async function machineExists(nodeName: string, vmId: string): Promise<boolean> {
  const host = PROXMOX_HOSTS.find((h) => h.name === nodeName);
  if (!host || !request.caFile) return false;
  const client = new ProxmoxClient(host, token, await readFile(request.caFile, "utf8"));
  try {
    return await client.hasMachine(Number(vmId));
  } finally {
    await client.close();
  }
}

/** The engine's own error lines where it had any, else the error's message; never the command line or a stack. */
function failureOf(error: unknown): string {
  if (progress.errors.length > 0) return [...new Set(progress.errors)].join("\n");
  const text = plain(error instanceof Error ? error.message : String(error));
  const diagnostics = /Diagnostics:\n([\s\S]*?)(?:\n\s*Resources:|$)/.exec(text);
  return (diagnostics?.[1] ?? text).trim();
}

function defined(changes: Partial<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(changes).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  );
}

function answer(value: EngineAnswer): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

async function readStdin(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) text += String(chunk);
  return text;
}
