import { z } from "zod";
import { expect, test } from "vitest";
import { parseEnsembleConfig } from "../../../runtime/contracts/index.ts";
import type { EnsembleArgs } from "../../../components/index.ts";
import { Ensemble } from "../../../components/index.ts";
import type { Registration } from "../../support/graph.ts";
import { brokenRules, isKnown, settled } from "../../support/graph.ts";
import { build, deployments, IMAGE } from "./build.ts";
import { KUBECONFIG_CANARY, startCluster } from "./cluster.ts";

/** The table of the ensemble as the seed prints it, in the API server's spelling. */
const TABLE = {
  promptimizer: { requests: { cpu: "300m", memory: "512Mi" }, limits: { cpu: "800m", memory: "1536Mi" } },
  llama: { requests: { cpu: "400m", memory: "1Gi" }, limits: { cpu: "900m", memory: "2Gi" } },
  qwen: { requests: { cpu: "400m", memory: "1Gi" }, limits: { cpu: "900m", memory: "2Gi" } },
  "qwen-small": { requests: { cpu: "250m", memory: "512Mi" }, limits: { cpu: "600m", memory: "1536Mi" } },
  judge: { requests: { cpu: "400m", memory: "1Gi" }, limits: { cpu: "900m", memory: "2Gi" } },
  "opus-orchestrator": { requests: { cpu: "100m", memory: "128Mi" }, limits: { cpu: "200m", memory: "256Mi" } },
};
const MODELS = ["promptimizer", "llama", "qwen", "qwen-small", "judge"];
const ALL = Object.keys(TABLE);

function manifest(registrations: Registration[]): unknown[] {
  return registrations.map((registration) => registration.inputs);
}

test.each(["seed", "default"] as const)("profile %s: six Deployments with the table's figures", async (profile) => {
  const { graph } = await build({ profile });
  const found = deployments(graph);
  expect([...found.keys()].sort()).toEqual([...ALL].sort());
  for (const [name, figures] of Object.entries(TABLE)) {
    const deployment = found.get(name);
    expect(deployment?.spec.replicas, name).toBe(1);
    expect(deployment?.spec.template.spec.containers[0].resources, name).toEqual(figures);
  }
});

test.each([
  "seed",
  "default",
] as const)("profile %s: the seed's labels, and selectors that match them", async (profile) => {
  const { graph } = await build({ profile });
  for (const [name, { metadata, spec }] of deployments(graph)) {
    expect(metadata.labels).toMatchObject({ app: name, ensemble: "opus-ai-system", "app.kubernetes.io/name": name });
    expect(spec.template.metadata.labels).toEqual(metadata.labels);
    expect(spec.selector.matchLabels).toEqual({ app: name });
  }
  const services = manifest(graph.ofType("kubernetes:core/v1:Service"));
  expect(services).toHaveLength(profile === "seed" ? 6 : 11);
  for (const name of MODELS) {
    expect(services).toContainEqual(
      expect.objectContaining({
        metadata: expect.objectContaining({ name, namespace: "opus-ai-system" }) as unknown,
        spec: {
          type: "ClusterIP",
          selector: { app: name },
          ports: [{ name: "ollama", port: 11434, targetPort: 11434, protocol: "TCP" }],
        },
      }),
    );
    const pods = z
      .array(z.looseObject({ metadata: z.looseObject({ name: z.string() }), spec: z.unknown() }))
      .parse(services)
      .filter(({ metadata }) => metadata.name === `${name}-pods`)
      .map(({ spec }) => spec);
    // A name that stands for the pods themselves, and in the seed's profile none.
    expect(pods).toEqual(
      profile === "seed"
        ? []
        : [
            {
              type: "ClusterIP",
              clusterIP: "None",
              publishNotReadyAddresses: false,
              selector: { app: name },
              ports: [{ name: "ollama", port: 11434, targetPort: 11434, protocol: "TCP" }],
            },
          ],
    );
  }
  const text = graph
    .ofType("kubernetes:core/v1:ConfigMap")
    .map(({ inputs }) => JSON.stringify(inputs["data"]))
    .join();
  for (const name of MODELS) expect(text.includes(`podsUrl: http://${name}-pods:11434`)).toBe(profile !== "seed");
});

test("profile seed: probes, spread and wait as the seed wrote them", async () => {
  const { graph } = await build({ profile: "seed" });
  const found = deployments(graph);
  for (const name of MODELS) {
    const pod = found.get(name)?.spec.template.spec;
    const container = pod?.containers[0];
    expect(container?.livenessProbe, name).toEqual({
      httpGet: { path: "/api/tags", port: 11434, scheme: "HTTP" },
      initialDelaySeconds: 60,
      periodSeconds: 10,
      failureThreshold: 3,
      timeoutSeconds: 1,
    });
    expect(container?.readinessProbe, name).toMatchObject({
      httpGet: { path: "/api/tags", port: 11434 },
      initialDelaySeconds: 45,
      periodSeconds: 5,
    });
    expect(container?.startupProbe, name).toBeUndefined();
    expect(pod?.tolerations, name).toBeUndefined();
  }
  for (const name of ALL) {
    expect(found.get(name)?.spec.template.spec.topologySpreadConstraints, name).toEqual([
      {
        maxSkew: 1,
        topologyKey: "kubernetes.io/hostname",
        whenUnsatisfiable: "DoNotSchedule",
        labelSelector: { matchLabels: { ensemble: "opus-ai-system" } },
      },
    ]);
  }
  const [wait] = found.get("opus-orchestrator")?.spec.template.spec.initContainers ?? [];
  expect(wait?.name).toBe("wait-for-services");
  for (const name of MODELS) expect(wait?.args?.[0]).toContain(`http://${name}:11434/api/tags`);
  expect(wait?.args?.[0]).toContain("sleep(30000)");
  expect(wait?.args?.[0]).toContain("const deadline = Infinity");
});

test("profile default: ready means loaded, a dead node is no domain", async () => {
  const { graph } = await build();
  const found = deployments(graph);
  for (const name of MODELS) {
    const pod = found.get(name)?.spec.template.spec;
    const container = pod?.containers[0];
    expect(container?.readinessProbe?.httpGet, name).toMatchObject({ path: "/models/health", port: 11434 });
    expect(container?.startupProbe?.httpGet, name).toMatchObject({ path: "/api/health", port: 11434 });
    expect(container?.livenessProbe?.httpGet, name).toMatchObject({ path: "/health", port: 11434 });
    expect(pod?.tolerations, name).toEqual(
      ["not-ready", "unreachable"].map((state) => ({
        key: `node.kubernetes.io/${state}`,
        operator: "Exists",
        effect: "NoExecute",
        tolerationSeconds: 60,
      })),
    );
  }
  for (const name of ALL) {
    expect(found.get(name)?.spec.template.spec.topologySpreadConstraints, name).toMatchObject([
      { maxSkew: 1, whenUnsatisfiable: "DoNotSchedule", nodeTaintsPolicy: "Honor" },
    ]);
  }
  const [wait] = found.get("opus-orchestrator")?.spec.template.spec.initContainers ?? [];
  expect(wait?.args?.[0]).toContain("http://judge:11434/models/health");
  expect(wait?.args?.[0]).toContain("sleep(0)");
  expect(wait?.args?.[0]).toContain("gave up after 900 s");
});

test("keeps every pod off the control plane and within the standard 'restricted'", async () => {
  const { graph } = await build();
  for (const [name, { spec }] of deployments(graph)) {
    const pod = spec.template.spec;
    expect(pod.affinity, name).toEqual({
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: "node-role.kubernetes.io/control-plane", operator: "DoesNotExist" }] },
          ],
        },
      },
    });
    expect(pod.automountServiceAccountToken, name).toBe(false);
    expect(pod.securityContext, name).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 1000,
      seccompProfile: { type: "RuntimeDefault" },
    });
    for (const container of [...pod.containers, ...(pod.initContainers ?? [])]) {
      expect(container.securityContext, `${name}/${container.name}`).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      expect(container.image, name).not.toMatch(/:latest$/);
    }
    expect(
      pod.volumes.filter((volume) => "hostPath" in volume),
      name,
    ).toEqual([]);
  }
  const [namespace] = graph.ofType("kubernetes:core/v1:Namespace");
  expect(namespace?.inputs["metadata"]).toMatchObject({
    name: "opus-ai-system",
    labels: { "pod-security.kubernetes.io/enforce": "restricted" },
  });
});

test("hands the orchestrator a configuration that its own contract reads, and exchanges its pod with it", async () => {
  const configOf = async (
    args: Partial<EnsembleArgs>,
  ): Promise<{ text: string; name: string; checksum: string; mounted: string }> => {
    const { graph } = await build(args);
    const [map] = graph.ofType("kubernetes:core/v1:ConfigMap");
    const { metadata, data } = map?.inputs as { metadata: { name: string }; data: Record<string, string> };
    const pod = deployments(graph).get("opus-orchestrator")?.spec.template;
    const volume = pod?.spec.volumes.find((entry) => entry.name === "config");
    return {
      text: data["ensemble.yaml"] ?? "",
      name: metadata.name,
      checksum: pod?.metadata.annotations["gorkheavy.dev/config-sha256"] ?? "",
      mounted: JSON.stringify(volume),
    };
  };
  const first = await configOf({});
  const config = parseEnsembleConfig(first.text);
  expect(
    config.members.map(({ name, role, url, model, prompt, numThread }) => [name, role, url, model, prompt, numThread]),
  ).toEqual([
    ["promptimizer", "rewriter", "http://promptimizer:11434", "granite4:350m", "raw", 1],
    ["llama", "candidate", "http://llama:11434", "llama3.2:1b", "raw", 1],
    ["qwen", "candidate", "http://qwen:11434", "qwen2.5-coder:1.5b", "raw", 1],
    ["qwen-small", "candidate", "http://qwen-small:11434", "qwen3:0.6b", "rewritten", 1],
    ["judge", "judge", "http://judge:11434", "gemma3:1b", "raw", 1],
  ]);
  expect(config.listen).toEqual({ host: "0.0.0.0", port: 8080 });
  expect(first.mounted).toContain(first.name);

  const second = await configOf({ deadlines: { judgeMs: 30_000 } });
  expect(second.name).not.toBe(first.name);
  expect(second.checksum).not.toBe(first.checksum);
});

test("lets members differ from the catalogue, one without pods left out", async () => {
  const { graph } = await build({
    members: { qwen: { replicas: 0 }, llama: { replicas: 2, resources: { limits: { memoryMib: 3072 } } } },
  });
  const found = deployments(graph);
  expect(found.get("llama")?.spec.replicas).toBe(2);
  expect(found.get("llama")?.spec.template.spec.containers[0].resources).toEqual({
    requests: TABLE.llama.requests,
    limits: { cpu: "900m", memory: "3Gi" },
  });
  expect(found.get("qwen")?.spec.replicas).toBe(0);
  const [wait] = found.get("opus-orchestrator")?.spec.template.spec.initContainers ?? [];
  expect(wait?.args?.[0]).not.toContain("http://qwen:11434");
});

test("limits the namespace to twice its needs, if asked", async () => {
  const { graph } = await build({ quota: true });
  expect(graph.ofType("kubernetes:core/v1:ResourceQuota").map((quota) => quota.inputs["spec"])).toEqual([
    {
      hard: { "requests.cpu": "3700m", "requests.memory": "8448Mi", "limits.cpu": "8600m", "limits.memory": "18944Mi" },
    },
  ]);
});

test("keeps weights on each node, and with the pod in the seed's profile", async () => {
  const { graph } = await build();
  const volume = graph.named("opus-store", "kubernetes:core/v1:PersistentVolume").inputs["spec"];
  expect(volume).toMatchObject({
    hostPath: { path: "/var/lib/gorkheavy/models", type: "Directory" },
    accessModes: ["ReadWriteMany"],
  });
  expect(volume).not.toHaveProperty("nodeAffinity");
  for (const name of MODELS) {
    const volumes = deployments(graph).get(name)?.spec.template.spec.volumes;
    expect(volumes, name).toContainEqual({ name: "models", persistentVolumeClaim: { claimName: "models" } });
  }
  const seed = await build({ profile: "seed" });
  expect(seed.graph.ofType("kubernetes:core/v1:PersistentVolume")).toEqual([]);
  expect(deployments(seed.graph).get("llama")?.spec.template.spec.volumes).toContainEqual({
    name: "models",
    emptyDir: {},
  });
});

test("runs Ollama by its pinned image, pulls first, and asks it to load before it counts as ready", async () => {
  const { graph } = await build({ backend: "ollama" });
  const found = deployments(graph);
  for (const name of MODELS) {
    const pod = found.get(name)?.spec.template.spec;
    const container = pod?.containers[0];
    expect([container?.image, pod?.initContainers?.[0]?.image]).toEqual(
      Array(2).fill("docker.io/ollama/ollama:0.17.1"),
    );
    expect(container?.readinessProbe?.exec?.command.at(-1)).toContain('ollama run "$MODEL_NAME" ""');
    expect(container?.livenessProbe?.httpGet).toMatchObject({ path: "/api/tags", port: 11434 });
    expect(container?.env).toContainEqual({ name: "OLLAMA_MODELS", value: `/models/${name}` });
    expect(pod?.initContainers?.[0]?.args?.[0]).toContain("PARAMETER num_thread 1");
    expect(pod?.initContainers?.[0]?.resources).toEqual(container?.resources);
  }
  const wait = found.get("opus-orchestrator")?.spec.template.spec;
  expect(wait?.initContainers?.[0]?.args?.[0]).toContain("http://llama:11434/api/tags");
  expect(wait?.containers[0].image).toBe(IMAGE);
  expect(graph.named("opus-policy-models-only-from-orchestrator").inputs["spec"]).toMatchObject({
    egress: [{}, { ports: [{ port: 443, protocol: "TCP" }] }],
  });
});

test("gives its address once the service can answer, and previews without a cluster", async () => {
  const { ensemble } = await build();
  expect(await settled(ensemble.url)).toBe("http://opus-orchestrator.opus-ai-system.svc:8080");
  expect(await settled(ensemble.namespace)).toBe("opus-ai-system");
  expect(await settled(ensemble.nodes.models.get("judge")?.url ?? ensemble.url)).toBe(
    "http://judge.opus-ai-system.svc:11434",
  );

  const planned = await build({}, true);
  expect(await isKnown(planned.ensemble.url)).toBe(false);
  expect(deployments(planned.graph).size).toBe(6);
  expect(planned.graph.ofType("kubernetes:apps/v1:Deployment").flatMap((deployment) => deployment.unknowns)).toEqual(
    [],
  );
});

test("makes no namespace that exists, and goes into it", async () => {
  const { graph } = await build({ createNamespace: false, namespace: "mine" });
  expect(graph.ofType("kubernetes:core/v1:Namespace")).toEqual([]);
  for (const [name, { metadata }] of deployments(graph)) expect(metadata.namespace, name).toBe("mine");
});

test.each([
  "seed",
  "default",
] as const)("profile %s: a good graph, and the kubeconfig nowhere in plain", async (profile) => {
  const { graph } = await build({ profile, quota: true });
  expect(brokenRules(graph, [KUBECONFIG_CANARY])).toEqual([]);
});

test.each<[string, Partial<EnsembleArgs>, RegExp]>([
  ["a profile", { profile: "turbo" as "seed" }, /"default"\|"seed"[\s\S]*at profile/],
  [
    "a member",
    { members: { oracle: {} } },
    /want one of promptimizer, llama, qwen, qwen-small, judge[\s\S]*at members.oracle/,
  ],
  [
    "a model",
    { members: { llama: { model: "gpt:9b" } } },
    /want one of granite4:350m, llama3.2:1b.*give its sizeBytes or all its resources too[\s\S]*at members.llama.model/,
  ],
  [
    "a limit",
    { members: { llama: { resources: { limits: { memoryMib: 512 } } } } },
    /limit 512 is below its request 1024[\s\S]*at members.llama.resources.limits.memoryMib/,
  ],
  ["an image", { image: "ghcr.io/gorkheavy/runtime:latest" }, /tag other than 'latest'[\s\S]*at image/],
  [
    "machines",
    { nodes: [{ name: "w", role: "agent", cores: 4, memoryMib: 4096 }] },
    /does not fit .*short of \d+Mi[\s\S]*at nodes/,
  ],
])("refuses %s that is not right, and makes nothing", async (_, args, message) => {
  const { graph, provider } = await startCluster();
  expect(() => new Ensemble("opus", { image: IMAGE, ...args }, { provider })).toThrow(message);
  await graph.settle();
  expect(graph.all.filter((r) => r.custom && !r.type.startsWith("pulumi:providers:"))).toEqual([]);
});
