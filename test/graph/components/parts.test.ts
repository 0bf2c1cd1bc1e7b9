import * as pulumi from "@pulumi/pulumi";
import { expect, test } from "vitest";
import type { ModelArgs, ModelStoreArgs } from "../../../components/index.ts";
import { ArgsError, Model, ModelStore, Orchestrator } from "../../../components/index.ts";
import { CATALOGUE } from "../../../runtime/contracts/index.ts";
import { isKnown, settled } from "../../support/graph.ts";
import { deploymentOf, startCluster } from "./cluster.ts";

const IMAGE = "ghcr.io/gorkheavy/runtime:0.1.0";
const LLAMA: ModelArgs = { model: "llama3.2:1b", namespace: "mine", image: IMAGE };

test("a model alone: its own name, the catalogue's figures, weights with the pod", async () => {
  const { graph, provider } = await startCluster();
  const model = new Model("llama", LLAMA, { provider });
  await graph.settle();
  const deployment = deploymentOf(graph.named("llama", "kubernetes:apps/v1:Deployment"));
  expect(deployment.metadata).toMatchObject({ name: "llama", namespace: "mine" });
  expect(deployment.spec.template.spec.containers[0].resources.limits).toEqual({ cpu: "900m", memory: "2Gi" });
  expect(deployment.spec.template.spec.volumes).toContainEqual({ name: "models", emptyDir: {} });
  expect(model.address).toBe("http://llama:11434");
  expect(await settled(model.url)).toBe("http://llama.mine.svc:11434");
});

test("a model's pods have a name of their own, unless the seed's profile or the length of its name forbids it", async () => {
  const { graph, provider } = await startCluster();
  const models = [
    new Model("llama", LLAMA, { provider }),
    new Model("plain", { ...LLAMA, profile: "seed" }, { provider }),
    new Model("long", { ...LLAMA, name: "l".repeat(59) }, { provider }),
    new Model("longest", { ...LLAMA, name: "l".repeat(58) }, { provider }),
  ];
  await graph.settle();
  expect(models.map(({ podsAddress }) => podsAddress)).toEqual([
    "http://llama-pods:11434",
    undefined,
    undefined,
    `http://${"l".repeat(58)}-pods:11434`,
  ]);
  const names = graph.ofType("kubernetes:core/v1:Service").map(({ name }) => name);
  expect(names.toSorted()).toEqual(["llama", "llama-pods", "long", "longest", "longest-pods", "plain"]);
});

test("a model of your own, with resources of your own", async () => {
  const { graph, provider } = await startCluster();
  const resources = {
    requests: { cpuMillicores: 2000, memoryMib: 4096 },
    limits: { cpuMillicores: 4000, memoryMib: 6144 },
  };
  new Model(
    "big",
    {
      ...LLAMA,
      name: "big-one",
      model: "qwen3:4b",
      backend: "ollama",
      image: "docker.io/ollama/ollama:0.17.1",
      replicas: 2,
      resources,
    },
    { provider },
  );
  await graph.settle();
  const { metadata, spec } = deploymentOf(graph.named("big", "kubernetes:apps/v1:Deployment"));
  expect([metadata.name, spec.replicas]).toEqual(["big-one", 2]);
  expect(spec.template.spec.containers[0].resources.limits).toEqual({ cpu: "4", memory: "6Gi" });
  expect(spec.template.spec.initContainers?.[0]?.args?.[0]).toContain("PARAMETER num_thread 4");
});

test("a namespace may settle later, and its model is still planned", async () => {
  const { graph, provider } = await startCluster({ preview: true });
  const model = new Model("llama", { ...LLAMA, namespace: pulumi.output(Promise.resolve("mine")) }, { provider });
  await graph.settle();
  expect(deploymentOf(graph.named("llama", "kubernetes:apps/v1:Deployment")).metadata.namespace).toBe("mine");
  expect(await isKnown(model.url)).toBe(false);
});

test.each<[string, Partial<ModelArgs>, RegExp]>([
  [
    "an unknown model",
    { model: "gpt:9b" },
    /got gpt:9b, want one of granite4:350m, .*; for another model give its resources too/,
  ],
  ["a model without a tag", { model: "llama3.2" }, /want 'family:tag'/],
  ["half a pod", { replicas: 1.5 }, /replicas/],
  [
    "a limit below its request",
    { resources: { requests: { cpuMillicores: 2, memoryMib: 9 }, limits: { cpuMillicores: 1, memoryMib: 9 } } },
    /limit 1 is below its request 2/,
  ],
  ["a field that is not there", { replica: 2 } as Partial<ModelArgs>, /replica/],
  ["an empty namespace", { namespace: "" }, /namespace/],
])("a model refuses %s", async (_, args, message) => {
  const { provider } = await startCluster();
  expect(() => new Model("llama", { ...LLAMA, ...args }, { provider })).toThrow(ArgsError);
  expect(() => new Model("llama", { ...LLAMA, ...args }, { provider })).toThrow(message);
});

test.each<[ModelStoreArgs, string[], unknown]>([
  [{ kind: "ephemeral", namespace: "mine" }, [], { emptyDir: {} }],
  [{ kind: "ephemeral", namespace: "mine", sizeMib: 512 }, [], { emptyDir: { sizeLimit: "512Mi" } }],
  [
    { kind: "claim", namespace: "mine", storageClass: "nfs" },
    ["PersistentVolumeClaim"],
    { persistentVolumeClaim: { claimName: "models" } },
  ],
  [
    { kind: "node", namespace: "mine" },
    ["PersistentVolume", "PersistentVolumeClaim"],
    { persistentVolumeClaim: { claimName: "models" } },
  ],
])("a store %j makes just what it needs", async (args, kinds, volume) => {
  const { graph, provider } = await startCluster();
  const store = new ModelStore("store", args, { provider });
  await graph.settle();
  const made = graph.all.flatMap(({ type }) => (type.startsWith("kubernetes:") ? [type.split(":").at(-1)] : []));
  expect(made.sort()).toEqual(kinds);
  expect(await settled(pulumi.output(store.volume))).toEqual(volume);
});

test("a node store's claim is bound to its volume and to no other", async () => {
  const { graph, provider } = await startCluster();
  new ModelStore("store", { kind: "node", namespace: "mine", path: "/srv/models", sizeMib: 2048 }, { provider });
  await graph.settle();
  expect(graph.named("store", "kubernetes:core/v1:PersistentVolume").inputs).toMatchObject({
    metadata: { name: "mine-models" },
    spec: {
      hostPath: { path: "/srv/models" },
      claimRef: { namespace: "mine", name: "models" },
      persistentVolumeReclaimPolicy: "Retain",
      storageClassName: "",
      capacity: { storage: "2Gi" },
    },
  });
  expect(graph.named("store", "kubernetes:core/v1:PersistentVolumeClaim").inputs).toMatchObject({
    metadata: { name: "models", namespace: "mine" },
    spec: { volumeName: "mine-models", storageClassName: "", accessModes: ["ReadWriteMany"] },
  });
});

test("an orchestrator alone, for models that run elsewhere", async () => {
  const { graph, provider } = await startCluster();
  const config = {
    members: [
      {
        name: "remote",
        role: "candidate" as const,
        url: "https://models.example/v1/",
        api: "openai" as const,
        model: "m:1",
      },
    ],
  };
  new Orchestrator("ask", { namespace: "mine", image: IMAGE, config, waitPath: "/health" }, { provider });
  await graph.settle();
  const deployment = deploymentOf(graph.named("ask", "kubernetes:apps/v1:Deployment"));
  expect(deployment.metadata.name).toBe("opus-orchestrator");
  const [container] = deployment.spec.template.spec.containers;
  expect([...(container.command ?? []), ...(container.args ?? [])].join(" ")).toBe(
    "node /app/gorkheavy.mjs serve --config /etc/gorkheavy/ensemble.yaml --port 8080",
  );
  expect(container.readinessProbe?.httpGet).toMatchObject({ path: "/healthz", port: 8080 });
  expect(deployment.spec.template.spec.initContainers?.[0]?.args?.[0]).toContain("https://models.example/v1/health");
});

test("an orchestrator refuses a configuration that it could not start with", async () => {
  const { provider } = await startCluster();
  const member = { name: "a", role: "judge" as const, url: "http://a:11434", model: CATALOGUE[0]?.model ?? "" };
  const twice = { members: [member, member] };
  expect(() => new Orchestrator("ask", { namespace: "mine", image: IMAGE, config: twice }, { provider })).toThrow(
    /same name as members\[0\][\s\S]*at config.members\[1\].name/,
  );
});
