import { expect, test } from "vitest";
import type { EnsembleArgs, ModelPullArgs } from "../../../components/index.ts";
import { ModelPull, ModelStore } from "../../../components/index.ts";
import { brokenRules } from "../../support/graph.ts";
import { build, deployments, IMAGE } from "./build.ts";
import { jobOf, KUBECONFIG_CANARY, startCluster } from "./cluster.ts";

const JOB = "kubernetes:batch/v1:Job";
const MODELS = ["promptimizer", "llama", "qwen", "qwen-small", "judge"];
const NODES: NonNullable<EnsembleArgs["nodes"]> = [
  { name: "k3s-master", role: "server", cores: 4, memoryMib: 8192 },
  { name: "k3s-worker-1", role: "agent", cores: 4, memoryMib: 8192 },
  { name: "k3s-worker-2", role: "agent", cores: 4, memoryMib: 8192 },
];
const DIGEST = "c4".repeat(32);
const SOURCE = "http://192.168.1.1:8480/models/lab-brief-0.8m.gguf";
/** A model that is in no catalogue, at a place of its own. */
const BRIEF = { model: "lab-brief:0.8m", source: SOURCE, digest: DIGEST, sizeBytes: 897_728 };

test("fills the store of each worker before a model starts, one Job a node and one container a model", async () => {
  const { graph } = await build({ nodes: NODES, members: { "qwen-small": BRIEF, qwen: { replicas: 0 } } });
  const jobs = graph.ofType(JOB);
  expect(jobs.map(({ name }) => name)).toEqual(["opus-weights-k3s-worker-1", "opus-weights-k3s-worker-2"]);
  for (const [index, registration] of jobs.entries()) {
    const { metadata, spec } = jobOf(registration);
    const pod = spec.template.spec;
    expect(pod.nodeSelector).toEqual({ "kubernetes.io/hostname": `k3s-worker-${index + 1}` });
    expect(pod.restartPolicy).toBe("OnFailure");
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000 });
    expect(pod.volumes).toContainEqual({ name: "models", persistentVolumeClaim: { claimName: "models" } });
    expect(metadata.name).toMatch(/^weights-[0-9a-f]{10}$/);
    expect(metadata.labels).toMatchObject({ "app.kubernetes.io/component": "weights", ensemble: "opus-ai-system" });
    expect(pod.containers.map(({ name, args }) => [name, args?.join(" ")])).toEqual([
      ["granite4-350m", "models pull granite4:350m --store /models/_store"],
      ["llama3-2-1b", "models pull llama3.2:1b --store /models/_store"],
      ["lab-brief-0-8m", `models pull lab-brief:0.8m=${SOURCE}@sha256:${DIGEST} --store /models/_store`],
      ["gemma3-1b", "models pull gemma3:1b --store /models/_store"],
    ]);
    for (const container of pod.containers) {
      expect(container.image).toBe(IMAGE);
      expect(container.securityContext).toMatchObject({ readOnlyRootFilesystem: true });
      expect(container.volumeMounts?.[0]).toEqual({ name: "models", mountPath: "/models" });
    }
  }
  for (const name of MODELS) {
    expect(graph.named(`opus-${name}`, "kubernetes:apps/v1:Deployment").options.dependsOn).toEqual(
      expect.arrayContaining(jobs.map(({ urn }) => urn)),
    );
  }
  expect(brokenRules(graph, [KUBECONFIG_CANARY])).toEqual([]);
});

test("brings a model that two members share once, and refuses two models of one name", async () => {
  const { graph } = await build({ nodes: NODES, members: { "qwen-small": BRIEF, llama: BRIEF } });
  const { containers } = jobOf(graph.named("opus-weights-k3s-worker-1", JOB)).spec.template.spec;
  expect(containers.filter(({ name }) => name.includes("lab-brief"))).toHaveLength(1);
  const other = { ...BRIEF, digest: "d5".repeat(32) };
  await expect(build({ members: { "qwen-small": BRIEF, llama: other } })).rejects.toThrow(
    /one name for two models[\s\S]*at members\["qwen-small"\]\.model/,
  );
});

test("gives a Job another name when what it does changes, since a Job cannot", async () => {
  const nameOf = async (args: Partial<EnsembleArgs>): Promise<string> => {
    const { graph } = await build({ nodes: NODES, ...args });
    return jobOf(graph.named("opus-weights-k3s-worker-1", JOB)).metadata.name;
  };
  const first = await nameOf({});
  expect(await nameOf({})).toBe(first);
  expect(await nameOf({ members: { "qwen-small": BRIEF } })).not.toBe(first);
  expect(await nameOf({ image: "ghcr.io/gorkheavy/runtime:0.2.0" })).not.toBe(first);
});

test("serves from the store read-only, in which each pod first sees that its weights are there", async () => {
  const { graph } = await build({ members: { "qwen-small": BRIEF } });
  const pod = deployments(graph).get("qwen-small")?.spec.template;
  const [weights, ...others] = pod?.spec.initContainers ?? [];
  expect(others).toEqual([]);
  expect(weights?.args).toEqual([
    "models",
    "pull",
    `lab-brief:0.8m=${SOURCE}@sha256:${DIGEST}`,
    "--store",
    "/models/_store",
  ]);
  const engine = pod?.spec.containers[0];
  expect(weights?.resources).toEqual(engine?.resources);
  expect(engine?.args?.join(" ")).toBe(
    "engine --backend llama --store /models/_store --model lab-brief:0.8m " +
      "--host 0.0.0.0 --port 5000 --ollama-port 11434 --context 4096 --threads 1",
  );
  expect(engine?.volumeMounts?.[0]).toEqual({ name: "models", mountPath: "/models", readOnly: true });
  expect(pod?.metadata.annotations).toEqual({
    "gorkheavy.dev/model": "lab-brief:0.8m",
    "gorkheavy.dev/model-digest": `sha256:${DIGEST}`,
  });
  // Of a known size, it runs with the place's own figures.
  expect(engine?.resources.limits).toEqual({ cpu: "600m", memory: "1536Mi" });
});

test.each<[string, Partial<EnsembleArgs>, string[]]>([
  ["one Job for a shared claim", { store: { kind: "claim", storageClass: "nfs" }, nodes: NODES }, ["opus-weights"]],
  ["none where weights go with their pods", { store: { kind: "ephemeral" }, nodes: NODES }, []],
  ["none where the nodes are not known", {}, []],
  ["none for a script", { backend: "scripted", nodes: NODES }, []],
  ["none for Ollama, whose servers keep a part each", { backend: "ollama", nodes: NODES }, []],
])("makes %s", async (_, args, names) => {
  const { graph } = await build(args);
  expect(graph.ofType(JOB).map(({ name }) => name)).toEqual(names);
});

test("takes the store out of an image, and then pulls nothing", async () => {
  const reference = `ghcr.io/gorkheavy/models@sha256:${DIGEST}`;
  const { graph } = await build({ store: { kind: "image", reference }, nodes: NODES });
  expect(graph.ofType(JOB)).toEqual([]);
  for (const name of MODELS) {
    const pod = deployments(graph).get(name)?.spec.template.spec;
    expect(pod?.initContainers, name).toBeUndefined();
    expect(pod?.volumes, name).toContainEqual({ name: "models", image: { reference, pullPolicy: "IfNotPresent" } });
  }
});

test.each<[string, Partial<ModelPullArgs>, ModelStore["kind"], RegExp]>([
  ["no node", {}, "node", /want the nodes that may run the models[\s\S]*at nodes/],
  ["nodes of a shared claim", { nodes: ["a"] }, "claim", /leave the nodes out[\s\S]*at nodes/],
  ["a store that ends with the pod", {}, "ephemeral", /of kind ephemeral beforehand[\s\S]*at store/],
  ["no model", { models: [], nodes: ["a"] }, "node", /models/],
  [
    "two models of one name",
    { models: [{ model: "a:1" }, { model: "a:1", digest: DIGEST }], nodes: ["a"] },
    "node",
    /one name for two models, a:1 and a:1@sha256:c4c4\w+; give one of them another name[\s\S]*at models\[1\].model/,
  ],
  ["half a digest", { models: [{ model: "a:1", digest: "c4c4" }], nodes: ["a"] }, "node", /want 64[\s\S]*digest/],
  ["a node that is none", { nodes: ["K3S Worker"] }, "node", /at nodes\[0\]/],
])("a pull refuses %s", async (_, args, kind, message) => {
  const { provider } = await startCluster();
  const store = new ModelStore("store", storeOf(kind), { provider });
  const pull = { namespace: "mine", image: IMAGE, store, models: [{ model: "a:1" }], ...args };
  expect(() => new ModelPull("pull", pull, { provider })).toThrow(message);
});

function storeOf(kind: ModelStore["kind"]): ConstructorParameters<typeof ModelStore>[1] {
  if (kind === "claim") return { kind, namespace: "mine", storageClass: "nfs" };
  if (kind === "image") return { kind, namespace: "mine", reference: IMAGE };
  return { kind, namespace: "mine" };
}

test("keeps two names apart that would be one in a container's name", async () => {
  const { graph, provider } = await startCluster();
  const store = new ModelStore("store", { kind: "claim", namespace: "mine", storageClass: "nfs" }, { provider });
  const models = [{ model: "a.b:1" }, { model: "a-b:1" }];
  new ModelPull("pull", { namespace: "mine", image: IMAGE, store, models }, { provider });
  await graph.settle();
  const { containers, nodeSelector } = jobOf(graph.named("pull", JOB)).spec.template.spec;
  expect(containers.map(({ name }) => name)).toEqual(["a-b-1", "1-a-b-1"]);
  expect(nodeSelector).toBeUndefined();
});
