import { expect, test } from "vitest";
import { changesOf, propertyPath, pruneTo, toDiffResult } from "../../../../../infra/lab/plugins/kubernetes/diff.ts";
import { KubernetesPlugin } from "../../../../../infra/lab/plugins/kubernetes/plugin.ts";
import { replacingFields } from "../../../../../infra/lab/plugins/kubernetes/replace-rules.ts";
import type { Properties } from "../../../../../infra/lab/plugins/provider.ts";
import { Secret, UNKNOWN } from "../../../../../infra/lab/plugins/provider.ts";

const FIXED = { enableConfigMapMutable: false, enableSecretMutable: false };

function detailed(old: Properties, now: Properties, mutability = FIXED): Record<string, string> {
  return toDiffResult(changesOf(old, now), replacingFields(now, false, mutability), []).detailed;
}

test("names each property that differs", () => {
  const old = { kind: "X", metadata: { labels: { "a.b/c": "1" } }, spec: { list: [{ a: 1 }, { a: 2 }], gone: true } };
  const now = {
    kind: "X",
    metadata: { labels: { "a.b/c": "2" } },
    spec: { list: [{ a: 1 }, { a: 3 }, { a: 4 }], more: UNKNOWN },
  };
  expect(detailed(old, now)).toEqual({
    'metadata.labels["a.b/c"]': "update",
    "spec.list[1].a": "update",
    "spec.list[2]": "add",
    "spec.more": "add",
    "spec.gone": "delete",
  });
});

test("null and absent are the same", () => {
  expect(changesOf({ a: null, b: 1 }, { b: 1, c: null })).toEqual([]);
});

test.each([
  [
    "apps/v1",
    "Deployment",
    { spec: { selector: { matchLabels: { a: "1" } } } },
    { spec: { selector: { matchLabels: { a: "2" } } } },
    ["spec.selector.matchLabels.a"],
  ],
  ["apps/v1", "Deployment", { spec: { replicas: 1 } }, { spec: { replicas: 2 } }, []],
  ["v1", "Service", { spec: { clusterIP: "None" } }, { spec: {} }, ["spec.clusterIP"]],
  ["v1", "ConfigMap", { data: { a: "1" } }, { data: { a: "2" } }, ["data.a"]],
  ["v1", "ConfigMap", {}, { data: { a: "2" } }, ["data"]],
  ["v1", "Secret", { data: { a: "1" } }, { data: { a: "2" } }, ["data.a"]],
  ["batch/v1", "Job", { spec: { template: { a: 1 } } }, { spec: { template: { a: 2 } } }, ["spec.template.a"]],
  [
    "v1",
    "Pod",
    { spec: { containers: [{ image: "a" }] } },
    { spec: { containers: [{ image: "b" }] } },
    ["spec.containers[0].image"],
  ],
  [
    "v1",
    "PersistentVolumeClaim",
    { spec: { resources: { requests: { storage: "1Gi" } } } },
    { spec: { resources: { requests: { storage: "2Gi" } } } },
    [],
  ],
  ["v1", "Namespace", { metadata: { name: "a" } }, { metadata: { name: "b" } }, ["metadata.name"]],
])("%s %s: what must be replaced", (apiVersion, kind, old, now, replaced) => {
  const result = toDiffResult(
    changesOf({ apiVersion, kind, ...old }, { apiVersion, kind, ...now }),
    replacingFields({ apiVersion, kind, ...now }, false, FIXED),
    [],
  );
  expect(result.changes).toBe(true);
  expect(result.replaces).toEqual(replaced);
});

test("ConfigMaps and Secrets change in place when told so, unless they are immutable", () => {
  const mutability = { enableConfigMapMutable: true, enableSecretMutable: true };
  for (const kind of ["ConfigMap", "Secret"]) {
    const of = (a: string, immutable: boolean) => ({ apiVersion: "v1", kind, data: { a }, immutable });
    expect(detailed(of("1", false), of("2", false), mutability)).toEqual({ "data.a": "update" });
    expect(detailed(of("1", true), of("2", true), mutability)).toEqual({ "data.a": "update-replace" });
  }
});

test("ignored paths are left out", () => {
  const changes = changesOf({ spec: { replicas: 1, paused: true } }, { spec: { replicas: 2, paused: false } });
  expect(Object.keys(toDiffResult(changes, [], ["spec.replicas"]).detailed)).toEqual(["spec.paused"]);
  expect(propertyPath(["spec", "ports", 0, "port"])).toBe("spec.ports[0].port");
});

test("a live object shows drift, and neither additions nor dropped defaults", () => {
  const shape = {
    spec: { replicas: 1, hostNetwork: false, ports: [{ port: 1 }], args: [] },
    metadata: { labels: { a: "1" } },
  };
  const live: Properties = {
    spec: { replicas: 4, ports: [{ port: 1, protocol: "TCP" }, { port: 2 }], added: 1 },
    metadata: { labels: {} },
  };
  expect(pruneTo(live, shape)).toEqual({
    spec: { replicas: 4, hostNetwork: false, ports: [{ port: 1 }], args: [] },
    metadata: { labels: {} },
  });
});

test("what means the same is no change: quantities, stringData, what the server writes", async () => {
  const plugin = new KubernetesPlugin("4.34.2");
  await plugin.configure({});
  const type = "kubernetes:core/v1:Secret";
  const metadata = { name: "s", namespace: "n" };
  const old = { apiVersion: "v1", kind: "Secret", metadata, data: { a: "eA==" } };
  const given = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { ...metadata, uid: "u" },
    stringData: { a: new Secret("x") },
  };
  const result = await plugin.diff({
    urn: "u",
    type,
    name: "s",
    id: "n/s",
    olds: old,
    oldInputs: old,
    news: given,
    ignoreChanges: [],
  });
  expect(result.changes).toBe(false);
});
