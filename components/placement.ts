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
 */
export function placementFor(
  profile: Profile,
): Pick<PodSpec, "affinity" | "topologySpreadConstraints" | "tolerations"> {
  const { evictAfterSeconds, spread } = profile;
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
    ...(evictAfterSeconds === undefined
      ? {}
      : {
          // Only NoExecute: the NoSchedule twin of these taints must stay untolerated, or a dead node would be a domain again.
          tolerations: ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map((key) => ({
            key,
            operator: "Exists",
            effect: "NoExecute",
            tolerationSeconds: evictAfterSeconds,
          })),
        }),
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

/** Requests and limits in Kubernetes' own spelling. */
export function renderResources({ requests, limits }: Resources): k8s.types.input.core.v1.ResourceRequirements {
  return {
    requests: { cpu: renderCpu(requests.cpuMillicores), memory: renderMemory(requests.memoryMib) },
    limits: { cpu: renderCpu(limits.cpuMillicores), memory: renderMemory(limits.memoryMib) },
  };
}
