import { z } from "zod";
import type { TestLab } from "../../support/lab.ts";

const Condition = z.looseObject({ type: z.string(), status: z.string() });
const Labels = z.record(z.string(), z.string()).default({});
const Quantities = z.record(z.string(), z.string()).default({});
const Probe = z.looseObject({
  initialDelaySeconds: z.number().optional(),
  periodSeconds: z.number().optional(),
  failureThreshold: z.number().optional(),
  httpGet: z.looseObject({ path: z.string() }).optional(),
});

export const NodeList = z.looseObject({
  items: z.array(
    z.looseObject({
      metadata: z.looseObject({ name: z.string(), uid: z.string(), labels: Labels }),
      status: z.looseObject({
        conditions: z.array(Condition),
        capacity: Quantities,
        nodeInfo: z.looseObject({ kubeletVersion: z.string() }),
      }),
    }),
  ),
});

export const PodList = z.looseObject({
  items: z.array(
    z.looseObject({
      metadata: z.looseObject({
        name: z.string(),
        uid: z.string(),
        labels: Labels,
        deletionTimestamp: z.string().optional(),
      }),
      spec: z.looseObject({ nodeName: z.string().optional() }),
      status: z.looseObject({ phase: z.string(), conditions: z.array(Condition).default([]) }),
    }),
  ),
});

export const DeploymentList = z.looseObject({
  items: z.array(
    z.looseObject({
      metadata: z.looseObject({ name: z.string(), labels: Labels }),
      spec: z.looseObject({
        replicas: z.number(),
        template: z.looseObject({
          metadata: z.looseObject({ labels: Labels }),
          spec: z.looseObject({
            containers: z.array(
              z.looseObject({
                name: z.string(),
                resources: z.looseObject({ requests: Quantities, limits: Quantities }),
                livenessProbe: Probe.optional(),
                readinessProbe: Probe.optional(),
                startupProbe: Probe.optional(),
              }),
            ),
            initContainers: z.array(z.looseObject({ name: z.string() })).default([]),
            topologySpreadConstraints: z
              .array(
                z.looseObject({
                  maxSkew: z.number(),
                  topologyKey: z.string(),
                  whenUnsatisfiable: z.string(),
                  nodeTaintsPolicy: z.string().optional(),
                }),
              )
              .default([]),
            affinity: z.unknown(),
          }),
        }),
      }),
    }),
  ),
});

export const JobList = z.looseObject({
  items: z.array(
    z.looseObject({
      spec: z.looseObject({
        template: z.looseObject({
          spec: z.looseObject({ nodeSelector: z.looseObject({ "kubernetes.io/hostname": z.string() }) }),
        }),
      }),
      status: z.looseObject({ succeeded: z.int().optional() }),
    }),
  ),
});

export const ServiceList = z.looseObject({
  items: z.array(
    z.looseObject({
      metadata: z.looseObject({ name: z.string() }),
      spec: z.looseObject({ type: z.string(), ports: z.array(z.looseObject({ port: z.number() })) }),
    }),
  ),
});

/** Whether a node or pod says that it is ready. */
export function isReady(object: { status: { conditions: { type: string; status: string }[] } }): boolean {
  return object.status.conditions.some((c) => c.type === "Ready" && c.status === "True");
}

/** Namespace of the ensemble in the lab's settings. */
export const NAMESPACE = "opus-ai-system";

/** Names of the Ready nodes, sorted. */
export async function readyNodes(lab: TestLab): Promise<string[]> {
  return (await lab.get(NodeList, "nodes")).items
    .filter(isReady)
    .map((n) => n.metadata.name)
    .sort();
}

/** Pods of the ensemble that are neither ending nor unready, by member name. */
export async function readyMembers(lab: TestLab): Promise<{ member: string; node: string; pod: string }[]> {
  const { items } = await lab.get(PodList, "pods", "-n", NAMESPACE);
  return items
    .filter((pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined)
    .map((pod) => ({ member: pod.metadata.labels["app"] ?? "", node: pod.spec.nodeName ?? "", pod: pod.metadata.name }))
    .sort((a, b) => a.member.localeCompare(b.member));
}
