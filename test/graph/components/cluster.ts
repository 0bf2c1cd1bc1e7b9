import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import type { GraphOptions, RecordedGraph, Registration, Stubs } from "../../support/graph.ts";
import { startGraph } from "../../support/graph.ts";

/** Kubernetes kinds that the components make; the API server gives back what it was given. */
export const KUBERNETES: Stubs = {
  ...Object.fromEntries(
    [
      "apps/v1:Deployment",
      "batch/v1:Job",
      "core/v1:ConfigMap",
      "core/v1:Namespace",
      "core/v1:PersistentVolume",
      "core/v1:PersistentVolumeClaim",
      "core/v1:ResourceQuota",
      "core/v1:Service",
      "networking.k8s.io/v1:NetworkPolicy",
    ].map((kind) => [`kubernetes:${kind}`, () => ({})]),
  ),
  // One without a name gets one made of the resource's, as the provider does it.
  "kubernetes:core/v1:Secret": ({ name, inputs }) => ({
    outputs: { metadata: { name: `${name}-1a2b3c4d`, ...(inputs["metadata"] as object) } },
  }),
};

/** The kubeconfig of the tests' provider; it must never be seen in plain. */
export const KUBECONFIG_CANARY = "canary-kubeconfig-7c1f";

/** Starts a graph with a Kubernetes provider to pass on. */
export async function startCluster(options?: GraphOptions): Promise<{ graph: RecordedGraph; provider: k8s.Provider }> {
  const graph = await startGraph(KUBERNETES, options);
  return { graph, provider: new k8s.Provider("cluster", { kubeconfig: pulumi.secret(KUBECONFIG_CANARY) }) };
}

const Amounts = z.looseObject({ cpu: z.string(), memory: z.string() });
const Probe = z.looseObject({
  httpGet: z.looseObject({ path: z.string(), port: z.number() }).optional(),
  exec: z.looseObject({ command: z.array(z.string()) }).optional(),
});
const Container = z.looseObject({
  name: z.string(),
  image: z.string(),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  env: z
    .array(z.looseObject({ name: z.string(), value: z.string().optional(), valueFrom: z.unknown().optional() }))
    .optional(),
  resources: z.strictObject({ requests: Amounts, limits: Amounts }),
  startupProbe: Probe.optional(),
  livenessProbe: Probe.optional(),
  readinessProbe: Probe.optional(),
  securityContext: z.unknown(),
  volumeMounts: z
    .array(z.looseObject({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().optional() }))
    .optional(),
});
const DeploymentInputs = z.looseObject({
  metadata: z.looseObject({ name: z.string(), namespace: z.unknown(), labels: z.record(z.string(), z.string()) }),
  spec: z.looseObject({
    replicas: z.number(),
    selector: z.looseObject({ matchLabels: z.record(z.string(), z.string()) }),
    template: z.looseObject({
      metadata: z.looseObject({
        labels: z.record(z.string(), z.string()),
        annotations: z.record(z.string(), z.string()),
      }),
      spec: z.looseObject({
        affinity: z.unknown(),
        topologySpreadConstraints: z.array(z.unknown()),
        tolerations: z.array(z.unknown()).optional(),
        automountServiceAccountToken: z.boolean(),
        securityContext: z.unknown(),
        initContainers: z.array(Container).optional(),
        containers: z.tuple([Container]),
        volumes: z.array(z.looseObject({ name: z.string() })),
      }),
    }),
  }),
});

/** A recorded Deployment, read as a Deployment. @throws when a field that every one of ours has is not there */
export function deploymentOf(registration: Registration): z.output<typeof DeploymentInputs> {
  return DeploymentInputs.parse(registration.inputs);
}

const JobInputs = z.looseObject({
  metadata: z.looseObject({ name: z.string(), namespace: z.unknown(), labels: z.record(z.string(), z.string()) }),
  spec: z.looseObject({
    backoffLimit: z.number(),
    activeDeadlineSeconds: z.number(),
    template: z.looseObject({
      metadata: z.looseObject({ labels: z.record(z.string(), z.string()) }),
      spec: z.looseObject({
        nodeSelector: z.record(z.string(), z.string()).optional(),
        restartPolicy: z.string(),
        affinity: z.unknown(),
        securityContext: z.unknown(),
        containers: z.array(Container),
        volumes: z.array(z.looseObject({ name: z.string() })),
      }),
    }),
  }),
});

/** A recorded Job, read as a Job. @throws when a field that every one of ours has is not there */
export function jobOf(registration: Registration): z.output<typeof JobInputs> {
  return JobInputs.parse(registration.inputs);
}
