import type { JsonObject } from "../manifest.ts";
import { annotationOf, listAt, numberAt, textAt } from "../manifest.ts";
import { conditionOf, describe } from "./conditions.ts";
import { ownedBy, podFaults, podProblems, podsOf, qualifiedName, warningsAbout } from "./pods.ts";
import { pending, READY } from "./readiness.ts";
import type { Readiness, Waiting } from "./readiness.ts";

const REPLICA_SET = { group: "apps", version: "v1", kind: "ReplicaSet" };
const CLAIM = { group: "", version: "v1", kind: "PersistentVolumeClaim" };
/** Written by the Deployment controller on the Deployment and on each of its ReplicaSets. */
const REVISION = "deployment.kubernetes.io/revision";

/**
 * A Deployment is ready when its controller has seen this generation, it is Available, the ReplicaSet of its revision
 * has all its pods ready, that roll-out is complete, and the claims that it mounts are bound.
 * Source: pulumi-kubernetes provider/pkg/await/deployment.go, v4.32.
 */
export async function deploymentReadiness(waiting: Waiting): Promise<Readiness> {
  const { live } = waiting;
  if (!isObserved(live)) return pending("Waiting for the Deployment controller to see the change");
  const revision = annotationOf(live, REVISION);
  const uid = textAt(live, "metadata", "uid") ?? "";
  const all = await waiting.objects.list(REPLICA_SET, waiting.namespace, {}, { signal: waiting.signal });
  const current = all.find((set) => ownedBy(set, uid) && annotationOf(set, REVISION) === revision);
  const wanted = current === undefined ? undefined : (numberAt(current, "spec", "replicas") ?? 1);
  const readyPods = current === undefined ? 0 : (numberAt(current, "status", "readyReplicas") ?? 0);
  const target = Math.max(wanted ?? 0, numberAt(live, "spec", "replicas") ?? 1);
  const available = conditionOf(live, "Available");
  const progressing = conditionOf(live, "Progressing");
  const isRolledOut =
    revision === "1" || (progressing?.status === "True" && progressing.reason === "NewReplicaSetAvailable");
  const loose = await unboundClaims(waiting);
  const isReady =
    wanted !== undefined && readyPods >= target && available?.status === "True" && isRolledOut && loose.length === 0;
  if (isReady) return READY;
  return {
    isReady: false,
    status: `Waiting for the ReplicaSet of revision ${revision ?? "1"} (${readyPods}/${target} pods ready)`,
    async problems() {
      const pods = current === undefined ? [] : await podsOf(waiting, textAt(current, "metadata", "uid") ?? "");
      return [
        ...[available, progressing].flatMap((entry) =>
          entry !== undefined && entry.status !== "True" ? [describe(entry)] : [],
        ),
        ...replicaFailures(live, current),
        `${readyPods} of ${target} pods of the new ReplicaSet are ready`,
        ...loose.map((name) => `PersistentVolumeClaim "${name}" is not bound`),
        ...(await podProblems(waiting, pods)),
        ...(current === undefined ? [] : await warningsAbout(waiting, current)),
      ];
    },
  };
}

/** A quota or a missing service account keeps a ReplicaSet from making pods; only this condition says so. */
function replicaFailures(live: JsonObject, current: JsonObject | undefined): string[] {
  const failures = [live, current].flatMap((entry) => {
    const failure = entry === undefined ? undefined : conditionOf(entry, "ReplicaFailure");
    return failure?.status === "True" ? [describe(failure)] : [];
  });
  return [...new Set(failures)];
}

async function unboundClaims(waiting: Waiting): Promise<string[]> {
  const names = listAt(waiting.live, "spec", "template", "spec", "volumes").flatMap(
    (volume) => textAt(volume, "persistentVolumeClaim", "claimName") ?? [],
  );
  if (names.length === 0) return [];
  const claims = await waiting.objects.list(CLAIM, waiting.namespace, {}, { signal: waiting.signal });
  return names.filter((name) =>
    claims.some((claim) => textAt(claim, "metadata", "name") === name && textAt(claim, "status", "phase") !== "Bound"),
  );
}

/** True when the controller's status is about the object as it is now. */
function isObserved(live: JsonObject): boolean {
  return (numberAt(live, "status", "observedGeneration") ?? 0) >= (numberAt(live, "metadata", "generation") ?? 0);
}

/** Source: pulumi-kubernetes provider/pkg/await/statefulset.go, v4.32. */
export async function statefulSetReadiness(waiting: Waiting): Promise<Readiness> {
  const { live } = waiting;
  if (!isObserved(live)) return pending("Waiting for the StatefulSet controller to see the change");
  const wanted = numberAt(live, "spec", "replicas") ?? 1;
  const readyPods = numberAt(live, "status", "readyReplicas") ?? 0;
  const updated = numberAt(live, "status", "updatedReplicas") ?? 0;
  const currentRevision = textAt(live, "status", "currentRevision") ?? "";
  const updateRevision = textAt(live, "status", "updateRevision") ?? "";
  const isManual =
    textAt(live, "spec", "updateStrategy", "type") === "OnDelete" &&
    (numberAt(live, "metadata", "generation") ?? 0) > 1;
  const isRevised = isManual || (currentRevision !== "" && currentRevision === updateRevision);
  const areReplicasReady =
    (numberAt(live, "status", "replicas") ?? 0) === wanted &&
    readyPods === wanted &&
    (isManual || (numberAt(live, "status", "currentReplicas") ?? 0) === wanted);
  if (isRevised && areReplicasReady) return READY;
  const current = isRevised ? readyPods : Math.min(readyPods, updated);
  return {
    isReady: false,
    status: `Waiting for the StatefulSet's pods (${current}/${wanted} ready)`,
    async problems() {
      return [
        `${current} of ${wanted} pods are ready`,
        ...(isRevised ? [] : [`revision "${updateRevision}" is not rolled out yet; current is "${currentRevision}"`]),
        ...(await podProblems(waiting, await podsOf(waiting, textAt(live, "metadata", "uid") ?? ""))),
        ...(await warningsAbout(waiting, live)),
      ];
    },
  };
}

/** Ready when every node that should run a pod runs an up-to-date, available one. Source: cli-utils kstatus, v0.37. */
export async function daemonSetReadiness(waiting: Waiting): Promise<Readiness> {
  const { live } = waiting;
  const wanted = numberAt(live, "status", "desiredNumberScheduled");
  if (!isObserved(live) || wanted === undefined)
    return pending("Waiting for the DaemonSet controller to see the change");
  const counts = ["currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady"] as const;
  const lagging = counts.find((count) => (numberAt(live, "status", count) ?? 0) < wanted);
  if (lagging === undefined) return READY;
  return {
    isReady: false,
    status: `Waiting for the DaemonSet (${lagging}: ${numberAt(live, "status", lagging) ?? 0} of ${wanted})`,
    async problems() {
      return [
        `${lagging}: ${numberAt(live, "status", lagging) ?? 0} of ${wanted}`,
        ...(await podProblems(waiting, await podsOf(waiting, textAt(live, "metadata", "uid") ?? ""))),
        ...(await warningsAbout(waiting, live)),
      ];
    },
  };
}

/** Ready when Ready or Succeeded; hopeless when it failed and is not restarted. */
export async function podReadiness(waiting: Waiting): Promise<Readiness> {
  const { live } = waiting;
  if (podFaults(live) === undefined) return READY;
  return {
    isReady: false,
    isHopeless: textAt(live, "status", "phase") === "Failed",
    status: `Waiting for Pod "${qualifiedName(live)}" to be ready`,
    problems: () => podProblems(waiting, [live]),
  };
}

/** Ready when Complete; hopeless when Failed. Source: pulumi-kubernetes provider/pkg/await/job.go, v4.32. */
export async function jobReadiness(waiting: Waiting): Promise<Readiness> {
  const { live } = waiting;
  if (conditionOf(live, "Complete")?.status === "True") return READY;
  const failed = conditionOf(live, "Failed");
  const count = (name: string) => numberAt(live, "status", name) ?? 0;
  return {
    isReady: false,
    isHopeless: failed?.status === "True",
    status: `Waiting for Job "${qualifiedName(live)}" (active: ${count("active")}, succeeded: ${count("succeeded")}, failed: ${count("failed")})`,
    async problems() {
      return [
        ...(failed?.status === "True"
          ? [describe(failed)]
          : [`active: ${count("active")}, failed: ${count("failed")}`]),
        ...(await podProblems(waiting, await podsOf(waiting, textAt(live, "metadata", "uid") ?? ""))),
        ...(await warningsAbout(waiting, live)),
      ];
    },
  };
}
