import { expect, test } from "vitest";
import type { EnsembleArgs } from "../../../components/index.ts";
import { parseEnsembleConfig } from "../../../runtime/contracts/index.ts";
import type { RecordedGraph } from "../../support/graph.ts";
import { build, deployments } from "./build.ts";

test("lets only the orchestrator reach the models, before any of them runs", async () => {
  const { graph } = await build();
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
        ports: [{ port: 11434, protocol: "TCP" }],
      },
    ],
    egress: [
      expect.objectContaining({
        ports: [
          { port: 53, protocol: "UDP" },
          { port: 53, protocol: "TCP" },
        ],
      }),
    ],
  });
  for (const deployment of graph.ofType("kubernetes:apps/v1:Deployment")) {
    expect(deployment.options.dependsOn, deployment.name).toEqual(
      expect.arrayContaining(policies.map((policy) => policy.urn)),
    );
  }
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
      mounts: JSON.stringify(pod?.containers[0]),
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
  expect(keyed.mounts).toContain('{"mountPath":"/etc/gorkheavy-keys","name":"keys","readOnly":true}');
  expect(keyed.volume).toEqual({ name: "keys", secret: { secretName: "clients", defaultMode: 0o440 } });

  await expect(build({ access: { keysSecret: "" } })).rejects.toThrow(/keysSecret/);
  await expect(build({ access: { trustedProxies: ["everybody"] } })).rejects.toThrow(/want an address or a range/);
});
