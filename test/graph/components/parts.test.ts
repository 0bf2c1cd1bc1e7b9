import * as pulumi from "@pulumi/pulumi";
import { expect, test } from "vitest";
import type { ModelArgs, ModelStoreArgs } from "../../../components/index.ts";
import { ArgsError, Model, ModelStore, OLLAMA_IMAGE, Orchestrator, VLLM_IMAGE } from "../../../components/index.ts";
import { CATALOGUE } from "../../../runtime/contracts/index.ts";
import { isKnown, settled } from "../../support/graph.ts";
import { deploymentOf, startCluster } from "./cluster.ts";

const IMAGE = "ghcr.io/gorkheavy/runtime:0.1.0";
const DIGEST = "c4".repeat(32);
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

test("a model on vLLM: its OpenAI port, its cards, its repository by commit", async () => {
  const { graph, provider } = await startCluster();
  const commit = "0123456789abcdef0123456789abcdef01234567";
  const args = {
    source: `hf.co/meta-llama/Llama-3.2-1B-Instruct@${commit}`,
    gpu: { count: 2, runtimeClass: "nvidia" },
  };
  const model = new Model("llama", { ...LLAMA, ...args, backend: "vllm", image: VLLM_IMAGE }, { provider });
  await graph.settle();
  const pod = deploymentOf(graph.named("llama", "kubernetes:apps/v1:Deployment")).spec.template.spec;
  const [container] = pod.containers;
  expect([...(container.command ?? []), ...(container.args ?? [])].join(" ")).toBe(
    `vllm serve meta-llama/Llama-3.2-1B-Instruct --revision ${commit} --tokenizer-revision ${commit} ` +
      "--served-model-name llama3.2:1b --max-model-len 4096 --host 0.0.0.0 --port 8000",
  );
  expect(container.resources).toEqual({
    requests: { cpu: "400m", memory: "1Gi", "nvidia.com/gpu": "2" },
    limits: { cpu: "900m", memory: "2Gi", "nvidia.com/gpu": "2" },
  });
  for (const probe of [container.startupProbe, container.livenessProbe, container.readinessProbe])
    expect(probe?.httpGet).toMatchObject({ path: "/health", port: 8000 });
  expect(pod).toMatchObject({ runtimeClassName: "nvidia" });
  expect(pod.tolerations).toContainEqual({ key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" });
  expect(pod.volumes).toContainEqual({ name: "shm", emptyDir: { medium: "Memory" } });
  expect([model.address, model.podsAddress]).toEqual(["http://llama:8000", "http://llama-pods:8000"]);
  expect(await settled(model.url)).toBe("http://llama.mine.svc:8000");
  expect(graph.named("llama", "kubernetes:core/v1:Service").inputs["spec"]).toMatchObject({
    ports: [{ name: "openai", port: 8000, targetPort: 8000, protocol: "TCP" }],
  });
});

test("a model with probes of its own, and weights of one digest on Ollama", async () => {
  const { graph, provider } = await startCluster();
  const probes = { readiness: { periodSeconds: 30 }, startup: { failureThreshold: 3000 } };
  new Model("llama", { ...LLAMA, probes, digest: `sha256:${DIGEST}` }, { provider });
  new Model("other", { ...LLAMA, digest: DIGEST, backend: "ollama", image: "ollama/ollama:0.18.2" }, { provider });
  await graph.settle();
  const podOf = (name: string) => deploymentOf(graph.named(name, "kubernetes:apps/v1:Deployment")).spec.template.spec;
  expect(podOf("llama").containers[0]).toMatchObject({
    startupProbe: { httpGet: { path: "/api/health" }, periodSeconds: 1, failureThreshold: 3000 },
    readinessProbe: { httpGet: { path: "/models/health" }, periodSeconds: 30 },
  });
  const [pull] = podOf("other").initContainers ?? [];
  expect(pull?.env).toContainEqual({ name: "MODEL_DIGEST", value: DIGEST });
  expect(pull?.args?.[0]).toContain("sha256-$MODEL_DIGEST");
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
  ["half a digest", { digest: "c4c4" }, /want 64 lower-case hexadecimal digits[\s\S]*at digest/],
  ["a URL without a digest", { source: "http://h/a.gguf" }, /want the SHA-256 that its file must have[\s\S]*at digest/],
  [
    "a password in a URL",
    { source: "http://a:b@h/a.gguf", digest: DIGEST },
    /want an http or https URL[\s\S]*at source/,
  ],
  [
    "an old Ollama",
    { backend: "ollama", image: "ollama/ollama:0.16.9" },
    /0\.17\.1 or newer.*CVE-2026-7482[\s\S]*at image/,
  ],
  ["an Ollama of no release", { backend: "ollama", image: IMAGE.replace("0.1.0", "main") }, /does not say its release/],
  [
    "an Ollama of a digest alone",
    { backend: "ollama", image: `ollama/ollama@sha256:${DIGEST}` },
    /does not say its release/,
  ],
  [
    "a source of Ollama's",
    { backend: "ollama", image: OLLAMA_IMAGE, source: "hf.co/a/b" },
    /by its own name[\s\S]*at source/,
  ],
  ["vLLM without a repository", { backend: "vllm" }, /repository on Hugging Face[\s\S]*at source/],
  [
    "vLLM with a digest",
    { backend: "vllm", source: "a/b", digest: DIGEST },
    /pin them by their commit[\s\S]*at digest/,
  ],
  ["vLLM with the seed's probes", { backend: "vllm", source: "a/b", profile: "seed" }, /end vLLM while it loads/],
  ["weights of a script", { backend: "scripted", digest: DIGEST }, /a script has no weights[\s\S]*at digest/],
  ["cards for the CPU", { gpu: {} }, /the backend llama computes on the CPU[\s\S]*at gpu/],
  ["half a card", { backend: "ollama", image: OLLAMA_IMAGE, gpu: { count: 0.5 } }, /at gpu.count/],
  ["weights larger than the limit", { sizeBytes: 3e9 }, /OOMKilled while loading; raise limits.memoryMib to 3118 /],
  ["a probe that is none", { probes: { readiness: { path: "health" } } }, /at probes.readiness.path/],
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
  [
    { kind: "image", namespace: "mine", reference: IMAGE },
    [],
    { image: { reference: IMAGE, pullPolicy: "IfNotPresent" } },
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
