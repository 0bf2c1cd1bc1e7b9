import type * as k8s from "@pulumi/kubernetes";
import type { Profile, Resources } from "../runtime/contracts/index.ts";
import { renderCpu, renderMemory } from "../runtime/contracts/index.ts";
import { ensembleSelector } from "./labels.ts";

type PodSpec = k8s.types.input.core.v1.PodSpec;

/** User and group of every process of the ensemble. Its image and the node's model directory belong to it. */
export const RUN_AS = 1000;

/**
 * Where pods of the ensemble may run: evenly over the nodes, never on the control plane.
 * The control plane is no spread domain either, since node affinity is honoured by default when domains are counted.
 * @param gpuResource name of the graphics cards that the pod needs; their nodes are usually kept free of others by a taint of that name
 */
export function placementFor(
  profile: Profile,
  gpuResource?: string,
): Pick<PodSpec, "affinity" | "topologySpreadConstraints" | "tolerations"> {
  const { evictAfterSeconds, spread } = profile;
  const tolerations = [
    // Only NoExecute: the NoSchedule twin of these taints must stay untolerated, or a dead node would be a domain again.
    ...(evictAfterSeconds === undefined
      ? []
      : ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map((key) => ({
          key,
          operator: "Exists",
          effect: "NoExecute",
          tolerationSeconds: evictAfterSeconds,
        }))),
    ...(gpuResource === undefined ? [] : [{ key: gpuResource, operator: "Exists", effect: "NoSchedule" }]),
  ];
  return {
    topologySpreadConstraints: [{ ...spread, labelSelector: { matchLabels: ensembleSelector() } }],
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: "node-role.kubernetes.io/control-plane", operator: "DoesNotExist" }] },
          ],
        },
      },
    },
    ...(tolerations.length === 0 ? {} : { tolerations }),
  };
}

/** What keeps a pod of the ensemble harmless; together it meets the Pod Security Standard `restricted`. */
export function podSecurity(): Pick<
  PodSpec,
  "automountServiceAccountToken" | "enableServiceLinks" | "securityContext"
> {
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: RUN_AS,
      runAsGroup: RUN_AS,
      fsGroup: RUN_AS,
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
  };
}

/** What keeps a container of the ensemble harmless. */
export function containerSecurity(): k8s.types.input.core.v1.SecurityContext {
  return { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } };
}

/** Requests and limits in Kubernetes' own spelling. @param device whole devices beside them, which know no difference between the two */
export function renderResources(
  { requests, limits }: Resources,
  device?: { resource: string; count: number },
): k8s.types.input.core.v1.ResourceRequirements {
  const devices = device === undefined ? {} : { [device.resource]: `${device.count}` };
  return {
    requests: { cpu: renderCpu(requests.cpuMillicores), memory: renderMemory(requests.memoryMib), ...devices },
    limits: { cpu: renderCpu(limits.cpuMillicores), memory: renderMemory(limits.memoryMib), ...devices },
  };
}
