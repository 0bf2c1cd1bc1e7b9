import { z } from "zod";
import { type DatacentreStatus } from "../datacentre/control.ts";
import { datacentreStatus } from "../datacentre/start.ts";
import type { Lab } from "../lab.ts";
import { resolveK3s } from "../tools/k3s-release.ts";
import { kubectl, readOutputs } from "./outputs.ts";
import type { Terminal } from "./terminal.ts";

const Metadata = z.looseObject({ name: z.string(), labels: z.record(z.string(), z.string()).optional() });
const Condition = z.looseObject({ type: z.string(), status: z.string() });
const NodeList = z.looseObject({
  items: z.array(
    z.looseObject({
      metadata: Metadata,
      status: z.looseObject({
        conditions: z.array(Condition).default([]),
        nodeInfo: z.looseObject({ kubeletVersion: z.string() }),
      }),
    }),
  ),
});
const PodList = z.looseObject({
  items: z.array(
    z.looseObject({
      metadata: Metadata,
      spec: z.looseObject({ nodeName: z.string().optional() }),
      status: z.looseObject({ phase: z.string(), conditions: z.array(Condition).default([]) }),
    }),
  ),
});

/** What `status --json` prints. */
export interface LabStatus {
  lab: string;
  /** `down`, `starting` (no cluster yet) or `up`. */
  state: "down" | "starting" | "up";
  datacentre?: DatacentreStatus;
  nodes: { name: string; ready: boolean; version: string }[];
  pods: { name: string; node?: string; phase: string; ready: boolean }[];
}

/** Prints hosts, machines, nodes and the ensemble's pods. */
export async function status(lab: Lab, options: { json?: boolean }, to: Terminal): Promise<void> {
  const found = await readStatus(lab);
  if (options.json) {
    to.print(JSON.stringify(found, null, 2));
    return;
  }
  to.print(`lab ${found.lab}: ${found.state}`);
  for (const m of found.datacentre?.machines ?? [])
    to.print(
      `machine  ${m.vmId}  ${m.name.padEnd(14)} ${m.status.padEnd(8)} on ${m.host}, ${m.memoryMib} MiB, up ${m.uptimeSeconds} s`,
    );
  for (const n of found.nodes)
    to.print(`node     ${n.name.padEnd(19)} ${n.ready ? "Ready" : "NotReady"}  ${n.version}`);
  for (const p of found.pods)
    to.print(`pod      ${p.name.padEnd(40)} ${p.phase}${p.ready ? "" : " (not ready)"}  on ${p.node ?? "-"}`);
  for (const f of found.datacentre?.forwards ?? [])
    if ("port" in f.from) to.print(`open     http://127.0.0.1:${f.from.port} -> ${f.to.host}:${f.to.port}`);
}

async function readStatus(lab: Lab): Promise<LabStatus> {
  const datacentre = await datacentreStatus(lab);
  if (!datacentre) return { lab: lab.name, state: "down", nodes: [], pods: [] };
  const outputs = await readOutputs(lab).catch(() => undefined);
  if (!outputs) return { lab: lab.name, state: "starting", datacentre, nodes: [], pods: [] };
  const k3s = await resolveK3s(() => {});
  const read = async (args: string[]): Promise<unknown> =>
    JSON.parse(await kubectl(lab, k3s.path, [...args, "-o", "json", "--request-timeout=10s"]));
  const nodes = NodeList.parse(await read(["get", "nodes"])).items;
  const pods = PodList.parse(await read(["get", "pods", "-n", outputs.namespace])).items;
  return {
    lab: lab.name,
    state: "up",
    datacentre,
    nodes: nodes.map((n) => ({
      name: n.metadata.name,
      ready: isTrue(n.status.conditions, "Ready"),
      version: n.status.nodeInfo.kubeletVersion,
    })),
    pods: pods.map((p) => ({
      name: p.metadata.name,
      node: p.spec.nodeName,
      phase: p.status.phase,
      ready: isTrue(p.status.conditions, "Ready"),
    })),
  };
}

function isTrue(conditions: z.output<typeof Condition>[], type: string): boolean {
  return conditions.some((c) => c.type === type && c.status === "True");
}
