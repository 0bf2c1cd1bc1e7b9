import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import { callControl, Forward } from "../datacentre/control.ts";
import { type Lab } from "../lab.ts";
import { isolated } from "../nodes/isolation.ts";

/** What the lab takes from the stack's outputs; see stacks/index.ts. */
export const StackOutputs = z.looseObject({
  namespace: z.string(),
  kubeconfig: z.string(),
  nodes: z.array(z.looseObject({ name: z.string(), address: z.string(), role: z.string() })),
  ssh: z.looseObject({ user: z.string(), privateKey: z.string(), hostKeys: z.record(z.string(), z.string()) }),
});
export type StackOutputs = z.output<typeof StackOutputs>;

/** What is kept of them in plain for other commands; secrets go to files of their own. */
const KeptOutputs = StackOutputs.pick({ namespace: true, nodes: true }).extend({ sshUser: z.string() });
export type KeptOutputs = z.output<typeof KeptOutputs>;

/** Writes kubeconfig, SSH key and known hosts into the lab's state folder, for its owner only. */
export async function keepOutputs(lab: Lab, outputs: Record<string, unknown>): Promise<void> {
  const { namespace, nodes, kubeconfig, ssh } = StackOutputs.parse(outputs);
  const owner = { mode: 0o600 };
  const knownHosts = nodes.flatMap((node) => {
    const key = ssh.hostKeys[node.name];
    return key ? [`${node.address},${node.name} ${key.trim()}`] : [];
  });
  await writeFile(lab.kubeconfigFile, kubeconfig, owner);
  await writeFile(lab.sshKeyFile, `${ssh.privateKey.trim()}\n`, owner);
  await writeFile(lab.knownHostsFile, `${knownHosts.join("\n")}\n`, owner);
  const kept: KeptOutputs = { namespace, nodes, sshUser: ssh.user };
  await writeFile(join(lab.stateDir, "outputs.json"), JSON.stringify(kept), owner);
}

/** @throws Error when the lab is not up */
export async function readOutputs(lab: Lab): Promise<KeptOutputs> {
  const text = await readFile(join(lab.stateDir, "outputs.json"), "utf8").catch(() => {
    throw new Error(`Lab "${lab.name}" is not up. Start it: npm run lab`);
  });
  return KeptOutputs.parse(JSON.parse(text));
}

/** Keeps kubectl's discovery cache with the lab, not in the user's `~/.kube`. Source: kubectl, `--cache-dir`, KUBECACHEDIR. */
export function kubectlEnv(lab: Lab): Record<string, string> {
  return { KUBECACHEDIR: join(lab.stateDir, "kube-cache") };
}

/** Runs kubectl inside the lab's network and gives its standard output. */
export async function kubectl(lab: Lab, k3sPath: string, args: string[]): Promise<string> {
  const [program = "", ...rest] = isolated(lab.name, [k3sPath, "kubectl", "--kubeconfig", lab.kubeconfigFile, ...args]);
  return (await execa(program, rest, { stdin: "ignore", env: kubectlEnv(lab) })).stdout;
}

/** Name and port of the orchestrator's Service; components/ensemble/orchestrator.ts. */
const ORCHESTRATOR = { service: "opus-orchestrator", port: 8080 };

/** Makes the orchestrator's Service answer on the lab's socket. */
export async function openOrchestrator(lab: Lab, k3sPath: string): Promise<void> {
  const address = await orchestratorAddress(lab, k3sPath);
  await callControl(lab.controlSocket, "/forwards", Forward, { from: { path: lab.orchestratorSocket }, to: address });
}

/** Cluster address of the orchestrator's Service, and the worker that leads there. */
export async function orchestratorAddress(lab: Lab, k3sPath: string): Promise<Forward["to"]> {
  const { namespace, nodes } = await readOutputs(lab);
  const via = (nodes.find((node) => node.role === "agent") ?? nodes[0])?.address;
  const host = await kubectl(lab, k3sPath, [
    "-n",
    namespace,
    "get",
    "service",
    ORCHESTRATOR.service,
    "-o",
    "jsonpath={.spec.clusterIP}",
  ]);
  return { host, port: ORCHESTRATOR.port, ...(via === undefined ? {} : { via }) };
}
