import * as pulumi from "@pulumi/pulumi";
import { expect, test } from "vitest";
import { HostKey, K3sCluster, type K3sClusterArgs, type K3sNodeArgs, NodePrep, NodeVm } from "../../../infra/index.ts";
import {
  brokenRules,
  isKnown,
  isSecret,
  type RecordedGraph,
  type Registration,
  settled,
  startGraph,
} from "../../support/graph.ts";
import { CANARY, type Ground, ground, HOSTS, NODES, stubs } from "./stubs.ts";

const REMOTE = "command:remote:Command";
const VM = "proxmoxve:index/vmLegacy:VmLegacy";

interface Shape {
  names?: string[];
  memoryMib?: Record<string, number>;
  cluster?: Partial<K3sClusterArgs>;
}

/** The way from hosts to cluster, as a stack would write it. */
function build(shape: Shape = {}): K3sCluster {
  const base = ground();
  const names = shape.names ?? NODES.map((n) => n.name);
  const [server, ...agents] = names.map((name) => nodeOf(base, name, shape.memoryMib?.[name] ?? 8192));
  if (server === undefined) throw new Error("a cluster needs a server");
  return new K3sCluster("k3s", { server, agents, ...shape.cluster }, base.opts);
}

function nodeOf(base: Ground, name: string, memoryMib: number): K3sNodeArgs {
  const host = base.pool.host(HOSTS[NODES.findIndex((n) => n.name === name)]?.name ?? "");
  const hostKey = new HostKey(`${name}-key`, {}, base.opts);
  const vm = new NodeVm(
    name,
    { host, image: base.image, plan: base.plan, clientKey: base.clientKey, hostKey, memoryMib, protect: false },
    base.opts,
  );
  const prepared = new NodePrep(`${name}-prep`, { target: vm.target }, base.opts);
  return { name, address: vm.address, target: vm.target, size: vm.size, prepared };
}

async function recorded(shape: Shape = {}, preview = false): Promise<RecordedGraph> {
  const graph = await startGraph(stubs, { preview });
  build(shape);
  await graph.settle();
  return graph;
}

function step(graph: RecordedGraph, name: string): Registration {
  return graph.named(name, REMOTE);
}

/** Names that a resource waits for, directly or not. */
function waitsFor(graph: RecordedGraph, r: Registration, seen = new Set<string>()): Set<string> {
  for (const urn of r.options.dependsOn) {
    const next = graph.all.find((other) => other.urn === urn);
    if (next === undefined || seen.has(next.name)) continue;
    seen.add(next.name);
    waitsFor(graph, next, seen);
  }
  return seen;
}

test("has a server, its agents by name, and a provider", async () => {
  const graph = await startGraph(stubs);
  const cluster = build();
  expect([...cluster.agents.keys()]).toEqual(["k3s-worker-1", "k3s-worker-2"]);
  expect(await settled(cluster.kubeconfig)).toContain("server: https://192.168.1.201:6443");
  expect(await settled(cluster.kubeconfig)).toContain("current-context: k3s");
  expect(await isSecret(cluster.kubeconfig)).toBe(true);
  await graph.settle();
  const provider = graph.named("k3s", "pulumi:providers:kubernetes");
  expect(provider.secrets).toEqual(["kubeconfig"]);
  const components = graph.childrenOf(graph.named("k3s", "gorkheavy:k3s:K3sCluster")).map((r) => `${r.type} ${r.name}`);
  expect(components.sort()).toEqual([
    "gorkheavy:k3s:K3sAgent k3s-k3s-worker-1",
    "gorkheavy:k3s:K3sAgent k3s-k3s-worker-2",
    "gorkheavy:k3s:K3sServer k3s-k3s-master",
    "pulumi:providers:kubernetes k3s",
  ]);
});

test("keeps the rules, and no secret in plain", async () => {
  expect(brokenRules(await recorded(), Object.values(CANARY))).toEqual([]);
});

test("the preview works while nothing exists", async () => {
  const graph = await startGraph(stubs, { preview: true });
  const cluster = build();
  await graph.settle();
  expect(await isKnown(cluster.kubeconfig)).toBe(false);
  expect(graph.named("k3s", "pulumi:providers:kubernetes").unknowns).toEqual(["kubeconfig"]);
  expect(brokenRules(graph)).toEqual([]);
});

test("preview and up have the same resources", async () => {
  const namesOf = (graph: RecordedGraph): string[] => graph.all.map((r) => `${r.type} ${r.name}`).sort();
  expect(namesOf(await recorded({}, true))).toEqual(namesOf(await recorded()));
});

test("agents install while the server starts, and join after it", async () => {
  const graph = await recorded();
  const install = waitsFor(graph, step(graph, "k3s-k3s-worker-1-install"));
  expect(install).toContain("k3s-worker-1-prep-preflight");
  expect([...install].filter((name) => name.includes("master"))).toEqual([]);
  const service = waitsFor(graph, step(graph, "k3s-k3s-worker-1-service"));
  expect(service).toContain("k3s-k3s-master-credentials");
  expect(service).not.toContain("k3s-k3s-worker-2-service");
  const provider = waitsFor(graph, graph.named("k3s", "pulumi:providers:kubernetes"));
  for (const node of ["k3s-worker-1", "k3s-worker-2"]) expect(provider).toContain(`k3s-${node}-member`);
});

test("the token goes to an agent by standard input only", async () => {
  const graph = await recorded();
  const service = step(graph, "k3s-k3s-worker-1-service");
  expect(service.inputs["stdin"]).toContain(`step_run <<< '${CANARY.token}'`);
  expect(service.secrets).toContain("stdin");
  expect(service.inputs["create"]).not.toContain(CANARY.token);
  expect(step(graph, "k3s-k3s-master-credentials").options.additionalSecretOutputs).toContain("stdout");
});

test("every step is sure of the machine, by its own key", async () => {
  const graph = await recorded();
  const steps = graph.ofType(REMOTE);
  const keyOf = (name: string): unknown => graph.named(`${name}-key`, "command:local:Command").name;
  expect(steps.length).toBe(3 * 3 + 4 + 2 * 3);
  for (const { name, inputs } of steps) {
    const node = NODES.find((n) => name.includes(n.name) && !name.endsWith("-member"))?.name ?? "k3s-master";
    const key = Buffer.from(String(keyOf(node))).toString("base64");
    expect({ name, connection: inputs["connection"] }).toMatchObject({
      connection: { hostKey: `ssh-ed25519 ${key} ${node}-key` },
    });
  }
});

test("a worker that leaves is drained from the server; the last to go takes no node out", async () => {
  const graph = await recorded();
  const member = step(graph, "k3s-k3s-worker-2-member");
  expect(member.inputs["connection"]).toMatchObject({ host: "192.168.1.201" });
  expect(member.inputs["stdin"]).toMatch(
    /cordon k3s-worker-2[\s\S]*drain k3s-worker-2[\s\S]*k3s-worker-2\.node-password\.k3s/,
  );
  expect(member.options.deletedWith).toBe(graph.named("k3s-master", VM).urn);
  expect(waitsFor(graph, member)).toContain("k3s-worker-2");
  expect(step(graph, "k3s-k3s-worker-2-service").inputs).not.toHaveProperty("delete");
});

test("a removed worker changes nothing of the rest", async () => {
  const inputsOf = (graph: RecordedGraph): Map<string, string> =>
    new Map(graph.all.map((r) => [`${r.type} ${r.name}`, JSON.stringify([r.inputs, r.options.ignoreChanges])]));
  const [before, after] = [
    inputsOf(await recorded()),
    inputsOf(await recorded({ names: ["k3s-master", "k3s-worker-2"] })),
  ];
  const gone = [...before.keys()].filter((name) => !after.has(name));
  expect(gone.length).toBeGreaterThan(8);
  expect(gone.every((name) => name.includes("k3s-worker-1"))).toBe(true);
  expect([...after].filter(([name, inputs]) => before.get(name) !== inputs)).toEqual([]);
});

test("more memory is waited for: the VM and one step of that node change", async () => {
  const inputsOf = (graph: RecordedGraph): Map<string, string> =>
    new Map(graph.all.map((r) => [`${r.type} ${r.name}`, JSON.stringify(r.inputs)]));
  const [before, after] = [
    inputsOf(await recorded()),
    inputsOf(await recorded({ memoryMib: { "k3s-worker-1": 10_240 } })),
  ];
  const changed = [...before].filter(([name, inputs]) => after.get(name) !== inputs).map(([name]) => name);
  expect(changed.sort()).toEqual([`${REMOTE} k3s-k3s-worker-1-member`, `${VM} k3s-worker-1`]);
});

test("on machines of somebody else's, K3s is removed with the component", async () => {
  const graph = await startGraph(stubs);
  const { opts, clientKey } = ground();
  const target = {
    name: "pi",
    host: "10.0.0.2",
    user: "pi",
    privateKey: clientKey.privateKey,
    hostKey: "ssh-ed25519 AAAA pi",
  };
  new K3sCluster("pi", { server: { name: "pi", address: "10.0.0.2", target }, agents: [] }, opts);
  await graph.settle();
  expect(step(graph, "pi-pi-service").inputs["stdin"]).toContain("k3s-uninstall.sh");
  expect(step(graph, "pi-pi-service").options.deletedWith).toBe("");
});

test("release and settings reach every node", async () => {
  const release = {
    releaseUrl: "http://192.168.1.1:8480",
    sha256: "d".repeat(64),
    airgapImages: [{ url: "http://192.168.1.1:8480/images/runtime.tar", sha256: "e".repeat(64) }],
  };
  const graph = await recorded({ cluster: { release, settings: { hardened: false } } });
  for (const { name } of NODES) {
    const install = step(graph, `k3s-${name}-install`).inputs["stdin"];
    expect(install).toContain("http://192.168.1.1:8480/v1.34.2%2Bk3s1");
    expect(install).toContain(`/var/lib/rancher/k3s/agent/images/runtime.tar`);
    expect(step(graph, `k3s-${name}-service`).inputs["stdin"]).not.toContain("protect-kernel-defaults");
  }
});

test.each([
  ["a channel for a version", { release: { version: "stable" } }, /want a full version such as v1\.34\.2\+k3s1/],
  ["a network that is none", { settings: { clusterCidr: "10.42.0.0" } }, /clusterCidr/],
  ["a part that K3s does not have", { settings: { disable: ["nginx"] } }, /disable/],
])("refuses %s", async (_, cluster, message) => {
  await startGraph(stubs);
  expect(() => build({ cluster: cluster as never })).toThrow(message);
});

test("refuses two nodes of one name or address", async () => {
  await startGraph(stubs);
  const { opts } = ground();
  const target = { name: "a", host: "10.0.0.2", user: "pi", privateKey: pulumi.secret("k"), hostKey: "h" };
  const node = { name: "a", address: "10.0.0.2", target };
  expect(() => new K3sCluster("c", { server: node, agents: [node] }, opts)).toThrow(
    /two have the name "a".*\n.*two have the address "10\.0\.0\.2"/,
  );
});
