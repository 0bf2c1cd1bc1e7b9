import { expect, test } from "vitest";
import { ApiServer } from "../../../../../infra/lab/plugins/kubernetes/api-server.ts";
import {
  customReadiness,
  definitionReadiness,
  quotaReadiness,
  serviceReadiness,
} from "../../../../../infra/lab/plugins/kubernetes/await/network-and-storage.ts";
import { podFaults } from "../../../../../infra/lab/plugins/kubernetes/await/pods.ts";
import type { Waiting } from "../../../../../infra/lab/plugins/kubernetes/await/readiness.ts";
import {
  daemonSetReadiness,
  jobReadiness,
  statefulSetReadiness,
} from "../../../../../infra/lab/plugins/kubernetes/await/workloads.ts";
import { Kinds } from "../../../../../infra/lab/plugins/kubernetes/kinds.ts";
import type { JsonObject } from "../../../../../infra/lab/plugins/kubernetes/manifest.ts";
import { mergedManagers, Objects } from "../../../../../infra/lab/plugins/kubernetes/objects.ts";
import { readSettings } from "../../../../../infra/lab/plugins/kubernetes/settings.ts";

const NOWHERE = JSON.stringify({
  clusters: [{ name: "c", cluster: { server: "https://127.0.0.1:1" } }],
  users: [{ name: "u", user: {} }],
  contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
  "current-context": "x",
});
const api = await ApiServer.fromSettings(readSettings({ kubeconfig: NOWHERE }));

/** A look at an object that needs no other object; the API is nowhere. */
function look(live: JsonObject): Waiting {
  const objects = new Objects(api, new Kinds(api));
  return { objects, namespace: "n", name: "x", live, elapsedMs: 0, notes: new Map(), signal: undefined };
}

test("a pod's faults are its own words", () => {
  const ready = { status: { conditions: [{ type: "Ready", status: "True" }] } };
  expect(podFaults(ready)).toBeUndefined();
  expect(podFaults({ status: { phase: "Succeeded" } })).toBeUndefined();
  const unschedulable = {
    type: "PodScheduled",
    status: "False",
    reason: "Unschedulable",
    message: "0/3 nodes are available",
  };
  expect(podFaults({ status: { conditions: [unschedulable] } })).toEqual(["[Unschedulable] 0/3 nodes are available"]);
  const crashed = {
    name: "engine",
    state: { waiting: { reason: "CrashLoopBackOff", message: "back-off 10s" } },
    lastState: { terminated: { exitCode: 137, reason: "OOMKilled" } },
  };
  expect(podFaults({ status: { containerStatuses: [crashed] } })).toEqual([
    'container "engine": [CrashLoopBackOff] back-off 10s',
    'container "engine" ended with exit code 137 (OOMKilled)',
  ]);
  const creating = { name: "engine", state: { waiting: { reason: "ContainerCreating" } } };
  expect(podFaults({ status: { containerStatuses: [creating] } })).toEqual([]);
  const initialised = { name: "init", state: { terminated: { exitCode: 0, reason: "Completed" } } };
  expect(podFaults({ status: { initContainerStatuses: [initialised] } })).toEqual([]);
});

test("a Job is ready when complete, and hopeless when failed", async () => {
  expect((await jobReadiness(look({ status: { conditions: [{ type: "Complete", status: "True" }] } }))).isReady).toBe(
    true,
  );
  const failed = await jobReadiness(
    look({ status: { conditions: [{ type: "Failed", status: "True", reason: "BackoffLimitExceeded" }] } }),
  );
  expect(failed).toMatchObject({ isReady: false, isHopeless: true });
  expect((await jobReadiness(look({ status: { active: 1 } }))).isHopeless).toBe(false);
});

test("a StatefulSet is ready when all pods are of the new revision", async () => {
  const status = {
    observedGeneration: 2,
    replicas: 2,
    readyReplicas: 2,
    currentReplicas: 2,
    currentRevision: "b",
    updateRevision: "b",
  };
  const set = (over: JsonObject) =>
    look({ metadata: { generation: 2 }, spec: { replicas: 2 }, status: { ...status, ...over } });
  expect((await statefulSetReadiness(set({}))).isReady).toBe(true);
  expect((await statefulSetReadiness(set({ observedGeneration: 1 }))).isReady).toBe(false);
  expect((await statefulSetReadiness(set({ currentRevision: "a" }))).isReady).toBe(false);
  expect((await statefulSetReadiness(set({ readyReplicas: 1 }))).isReady).toBe(false);
});

test("a DaemonSet is ready when every node has its pod", async () => {
  const status = {
    observedGeneration: 1,
    desiredNumberScheduled: 2,
    currentNumberScheduled: 2,
    updatedNumberScheduled: 2,
    numberReady: 2,
  };
  const set = (numberAvailable: number) =>
    look({ metadata: { generation: 1 }, status: { ...status, numberAvailable } });
  expect((await daemonSetReadiness(set(2))).isReady).toBe(true);
  expect((await daemonSetReadiness(set(1))).isReady).toBe(false);
});

test("Services without pods of their own are ready at once; a load balancer waits for its address", async () => {
  const specs: JsonObject[] = [
    { clusterIP: "None", selector: { a: "b" } },
    { type: "ExternalName" },
    { clusterIP: "10.43.0.9" },
  ];
  for (const spec of specs) {
    expect((await serviceReadiness(look({ spec }))).isReady).toBe(true);
  }
  expect((await serviceReadiness(look({ spec: { type: "LoadBalancer" } }))).isReady).toBe(false);
});

test("definitions, quotas and the user's own conditions", async () => {
  const established = { status: { conditions: [{ type: "Established", status: "True" }] } };
  expect((await definitionReadiness(look(established))).isReady).toBe(true);
  expect((await definitionReadiness(look({}))).isReady).toBe(false);
  const quota = { spec: { hard: { memory: "1.5Gi" } }, status: { hard: { memory: "1536Mi" } } };
  expect((await quotaReadiness(look(quota))).isReady).toBe(true);
  const both = customReadiness('["condition=Established", "jsonpath={.status.phase}=Up"]');
  expect((await both(look(established))).isReady).toBe(false);
  expect((await both(look({ status: { ...established.status, phase: "Up" } }))).isReady).toBe(true);
  expect(() => customReadiness("ready")).toThrow(/want condition=/);
});

test("what earlier managers wrote becomes ours, the status stays its controller's", () => {
  const entry = (manager: string, operation: string, fieldsV1: JsonObject, subresource = "") => ({
    manager,
    operation,
    fieldsV1,
    subresource,
  });
  const managedFields = [
    entry("pulumi-kubernetes-1", "Apply", { "f:spec": { "f:a": {} } }),
    entry("kubectl-edit", "Update", { "f:spec": { "f:b": {} } }),
    entry("kube-controller-manager", "Update", { "f:status": {} }, "status"),
  ];
  const merged = mergedManagers({ metadata: { managedFields } }, "pulumi-kubernetes-1");
  expect(merged).toHaveLength(2);
  expect(merged?.[0]).toMatchObject({
    manager: "pulumi-kubernetes-1",
    operation: "Apply",
    fieldsV1: { "f:spec": { "f:a": {}, "f:b": {} } },
  });
  expect(
    mergedManagers({ metadata: { managedFields: managedFields.slice(0, 1) } }, "pulumi-kubernetes-1"),
  ).toBeUndefined();
});
