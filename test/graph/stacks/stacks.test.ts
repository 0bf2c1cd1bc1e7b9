import { expect, test } from "vitest";
import { startGraph } from "../../support/graph.ts";
import { brokenRules, isKnown, isSecret, settled } from "../../support/graph.ts";
import program from "../../../stacks/index.ts";
import {
  committedSettings,
  KEY_CANARY,
  KUBECONFIG_CANARY,
  NODE_TOKEN,
  runStack,
  TOKEN_CANARY,
  WORLD,
} from "./program.ts";

const STACKS = ["lab", "homelab"] as const;
const VM = "proxmoxve:index/vmLegacy:VmLegacy";

test.each(STACKS)("%s: three machines on three hosts, six Deployments, and what the lab reads back", async (stack) => {
  const { graph, outputs } = await runStack(await committedSettings(stack));
  expect(graph.ofType(VM).map(({ name, inputs }) => [name, inputs["vmId"], inputs["nodeName"]])).toEqual([
    ["k3s-master", 201, "thinkcentre-1"],
    ["k3s-worker-1", 202, "thinkcentre-2"],
    ["k3s-worker-2", 203, "thinkcentre-3"],
  ]);
  expect(graph.ofType("kubernetes:apps/v1:Deployment")).toHaveLength(6);
  expect(await settled(outputs.url)).toBe("http://opus-orchestrator.opus-ai-system.svc:8080");
  expect(await settled(outputs.namespace)).toBe("opus-ai-system");
  expect(outputs.nodes).toEqual([
    { name: "k3s-master", address: "192.168.1.201", role: "server" },
    { name: "k3s-worker-1", address: "192.168.1.202", role: "agent" },
    { name: "k3s-worker-2", address: "192.168.1.203", role: "agent" },
  ]);
  expect(Object.keys(outputs.ssh.hostKeys)).toEqual(["k3s-master", "k3s-worker-1", "k3s-worker-2"]);
});

test.each(STACKS)("%s: no token, key or kubeconfig in plain, and those given out are secret", async (stack) => {
  const { graph, outputs } = await runStack(await committedSettings(stack));
  expect(brokenRules(graph, [TOKEN_CANARY, KEY_CANARY, KUBECONFIG_CANARY, NODE_TOKEN])).toEqual([]);
  expect(await settled(outputs.kubeconfig)).toContain(KUBECONFIG_CANARY);
  expect(await isSecret(outputs.kubeconfig)).toBe(true);
  expect(await settled(outputs.ssh.privateKey)).toContain(KEY_CANARY);
  expect(await isSecret(outputs.ssh.privateKey)).toBe(true);
});

test.each(STACKS)("%s: previews before any of it is there", async (stack) => {
  const { graph, outputs } = await runStack(await committedSettings(stack), { preview: true });
  expect(await isKnown(outputs.kubeconfig)).toBe(false);
  expect(graph.ofType(VM)).toHaveLength(3);
  expect(graph.ofType("kubernetes:apps/v1:Deployment")).toHaveLength(6);
});

test("every resource of the cluster goes through the cluster's own provider", async () => {
  const { graph } = await runStack(await committedSettings("lab"));
  const provider = graph.named("k3s", "pulumi:providers:kubernetes");
  const used = new Set(graph.all.filter((r) => r.type.startsWith("kubernetes:")).map((r) => r.provider));
  expect([...used]).toEqual([`${provider.urn}::k3s_id`]);
});

test("workers get the directory of the weights before any pod, and the server does not", async () => {
  const { graph } = await runStack(await committedSettings("lab"));
  const steps = graph.all.filter((r) => r.type === "gorkheavy:ssh:RemoteStep" && r.name.endsWith("-model-store"));
  expect(steps.map((step) => step.name)).toEqual(["k3s-worker-1-model-store", "k3s-worker-2-model-store"]);
  const command = graph.named("k3s-worker-1-model-store", "command:remote:Command");
  expect(command.inputs["stdin"]).toMatch(/install -d -m 0750 -o 1000 -g 1000 .*\/var\/lib\/gorkheavy\/models/);
  expect(graph.named("opus", "gorkheavy:ensemble:Ensemble").options.dependsOn).toEqual(
    expect.arrayContaining([command.urn]),
  );
});

test("each single host gets its own token", async () => {
  const token = (digit: string): string => `root@pam!gk=${digit.repeat(8)}-1111-4222-8333-444444444444`;
  const tokens = { "thinkcentre-1": token("a"), "thinkcentre-2": token("b"), "thinkcentre-3": token("c") };
  const { graph } = await runStack(await committedSettings("homelab"), { token: JSON.stringify(tokens) });
  const providers = graph.ofType("pulumi:providers:proxmoxve");
  expect(providers.map(({ inputs }) => [inputs["endpoint"], inputs["apiToken"]])).toEqual([
    ["https://192.168.1.211:8006", tokens["thinkcentre-1"]],
    ["https://192.168.1.212:8006", tokens["thinkcentre-2"]],
    ["https://192.168.1.213:8006", tokens["thinkcentre-3"]],
  ]);
});

test("a worker taken out of the settings takes nothing of the others with it", async () => {
  const settings = await committedSettings("lab");
  const before = await runStack(settings);
  const nodes = (settings["nodes"] as { name: string }[]).filter((node) => node.name !== "k3s-worker-1");
  const after = await runStack({ ...settings, nodes });
  const urns = (graph: typeof after.graph): string[] => graph.all.map((r) => r.urn);
  const kept = new Set(urns(after.graph));
  const gone = urns(before.graph).filter((urn) => !kept.has(urn));
  expect(gone.length).toBeGreaterThan(0);
  expect(gone.filter((urn) => !urn.includes("k3s-worker-1"))).toEqual([]);
  expect(urns(after.graph).filter((urn) => !urns(before.graph).includes(urn))).toEqual([]);
});

test("more memory for a worker is a change of that one VM's figures and of nothing that names machines", async () => {
  const settings = await committedSettings("lab");
  const before = await runStack(settings);
  const nodes = (settings["nodes"] as { name: string }[]).map((node) =>
    node.name === "k3s-worker-1" ? { ...node, memoryMib: 10_240 } : node,
  );
  const after = await runStack({ ...settings, nodes });
  const changed = after.graph.all.filter((now) => {
    const then = before.graph.all.find((r) => r.urn === now.urn);
    return JSON.stringify(then?.inputs) !== JSON.stringify(now.inputs);
  });
  expect(changed.filter((r) => r.type === VM).map((r) => r.name)).toEqual(["k3s-worker-1"]);
  expect(changed.filter((r) => r.type.startsWith("kubernetes:")).map((r) => r.name)).toEqual([]);
});

test.each([
  ["settings", { nodes: [] }, TOKEN_CANARY, /gorkheavy:settings/],
  ["token", undefined, "root@pam", /gorkheavy:proxmoxApiToken: got a value of another form/],
])("a bad %s ends before the first resource", async (_, change, token, message) => {
  const graph = await startGraph(WORLD, {
    config: {
      "gorkheavy:settings": JSON.stringify({ ...(await committedSettings("lab")), ...change }),
      "gorkheavy:proxmoxApiToken": token,
    },
  });
  await expect(program()).rejects.toThrow(message);
  await graph.settle();
  expect(graph.all.filter((r) => r.type !== "pulumi:pulumi:Stack")).toEqual([]);
});
