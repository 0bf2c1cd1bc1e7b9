import { expect, test } from "vitest";
import type { EnsembleArgs } from "../../../components/index.ts";
import { CATALOGUE, parseEnsembleConfig } from "../../../runtime/contracts/index.ts";
import type { RecordedGraph } from "../../support/graph.ts";
import { build, deployments } from "./build.ts";

test.each([
  ["scripted", 11434, []],
  ["llama", 11434, [{ ports: [{ port: 443, protocol: "TCP" }] }]],
  ["ollama", 11434, [{ ports: [{ port: 443, protocol: "TCP" }] }]],
  ["vllm", 8000, [{ ports: [{ port: 443, protocol: "TCP" }] }]],
] as const)("%s: lets only the orchestrator reach the models, before any of them runs", async (backend, port, downloads) => {
  const members = Object.fromEntries(CATALOGUE.map(({ name }) => [name, { source: "org/name", gpu: {} }]));
  const { graph } = await build({ backend, ...(backend === "vllm" ? { members } : {}) });
  const policies = graph.ofType("kubernetes:networking.k8s.io/v1:NetworkPolicy");
  const models = graph.named("opus-policy-models-only-from-orchestrator");
  expect(models.inputs["spec"]).toEqual({
    podSelector: { matchLabels: { ensemble: "opus-ai-system", "app.kubernetes.io/component": "model" } },
    policyTypes: ["Ingress", "Egress"],
    ingress: [
      {
        from: [
          {
            podSelector: { matchLabels: { ensemble: "opus-ai-system", "app.kubernetes.io/component": "orchestrator" } },
          },
        ],
        ports: [{ port, protocol: "TCP" }],
      },
    ],
    egress: [
      expect.objectContaining({
        ports: [
          { port: 53, protocol: "UDP" },
          { port: 53, protocol: "TCP" },
        ],
      }),
      ...downloads,
    ],
  });
  expect(JSON.stringify(graph.named("opus-policy-orchestrator").inputs["spec"])).toContain(
    `{"ports":[{"port":${port},"protocol":"TCP"}],"to":[{"podSelector":{"matchLabels":{"app.kubernetes.io/component":"model"`,
  );
  // Nothing but its Service leads to a model, and that is inside the cluster only.
  const services = graph.ofType("kubernetes:core/v1:Service").map(({ inputs }) => inputs["spec"] as { type: string });
  expect(services.map(({ type }) => type).filter((type) => type !== "ClusterIP")).toEqual([]);
  for (const deployment of graph.ofType("kubernetes:apps/v1:Deployment")) {
    expect(deployment.options.dependsOn, deployment.name).toEqual(
      expect.arrayContaining(policies.map((policy) => policy.urn)),
    );
  }
});

test("lets what fills the store go to where the weights are, and nobody come to it", async () => {
  const digest = "c4".repeat(32);
  const source = "http://192.168.1.1:8480/models/a.gguf";
  const members = Object.fromEntries(CATALOGUE.map(({ name }) => [name, { source, digest }]));
  const { graph } = await build({ members });
  const there = { to: [{ ipBlock: { cidr: "192.168.1.1/32" } }], ports: [{ port: 8480, protocol: "TCP" }] };
  expect(graph.named("opus-policy-weights").inputs["spec"]).toEqual({
    podSelector: { matchLabels: { ensemble: "opus-ai-system", "app.kubernetes.io/component": "weights" } },
    policyTypes: ["Ingress", "Egress"],
    ingress: [],
    egress: [expect.anything(), there],
  });
  expect(graph.named("opus-policy-models-only-from-orchestrator").inputs["spec"]).toMatchObject({
    egress: [{}, there],
  });
});

test("opens the service to named ranges, or to all when its type says so", async () => {
  const ingressOf = (graph: RecordedGraph): unknown => graph.named("opus-policy-orchestrator").inputs["spec"];
  expect(ingressOf((await build({ clients: ["192.168.1.0/24"] })).graph)).toMatchObject({
    ingress: [{ from: [{ podSelector: {} }, { ipBlock: { cidr: "192.168.1.0/24" } }] }],
  });
  expect(ingressOf((await build({ serviceType: "LoadBalancer" })).graph)).toMatchObject({
    ingress: [{ ports: [{ port: 8080, protocol: "TCP" }] }],
  });
  expect(JSON.stringify(ingressOf((await build({ serviceType: "LoadBalancer" })).graph))).not.toContain(
    '"from":[{"podSelector":{}}',
  );
});

test("says who may ask: port-forwards alone, everyone in the seed's profile, or what is asked for", async () => {
  const accessOf = async (args: Partial<EnsembleArgs>) => {
    const { graph } = await build(args);
    const [map] = graph.ofType("kubernetes:core/v1:ConfigMap");
    const { data } = map?.inputs as { data: Record<string, string> };
    const pod = deployments(graph).get("opus-orchestrator")?.spec.template.spec;
    return {
      access: parseEnsembleConfig(data["ensemble.yaml"] ?? "").access,
      volume: pod?.volumes.find((entry) => entry.name === "keys"),
      mounts: pod?.containers[0].volumeMounts,
    };
  };
  const plain = await accessOf({});
  expect(plain.access).toMatchObject({ anonymous: "loopback", trustedProxies: [] });
  expect(plain.access.keysFile).toBeUndefined();
  expect(plain.volume).toBeUndefined();
  expect((await accessOf({ profile: "seed" })).access.anonymous).toBe("everyone");
  expect((await accessOf({ profile: "seed", access: { anonymous: "nobody" } })).access.anonymous).toBe("nobody");

  const keyed = await accessOf({
    access: { anonymous: "nobody", keysSecret: "clients", trustedProxies: ["10.42.0.0/16"] },
  });
  expect(keyed.access).toMatchObject({
    anonymous: "nobody",
    keysFile: "/etc/gorkheavy-keys/keys.yaml",
    trustedProxies: ["10.42.0.0/16"],
  });
  // The folder and not the file alone: a single file would never be renewed.
  expect(keyed.mounts).toContainEqual({ mountPath: "/etc/gorkheavy-keys", name: "keys", readOnly: true });
  expect(keyed.volume).toEqual({ name: "keys", secret: { secretName: "clients", defaultMode: 0o440 } });

  await expect(build({ access: { keysSecret: "" } })).rejects.toThrow(/keysSecret/);
  await expect(build({ access: { trustedProxies: ["everybody"] } })).rejects.toThrow(/want an address or a range/);
});
