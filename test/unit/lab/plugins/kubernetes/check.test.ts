import { beforeEach, expect, test } from "vitest";
import { textAt } from "../../../../../infra/lab/plugins/kubernetes/manifest.ts";
import { KubernetesPlugin } from "../../../../../infra/lab/plugins/kubernetes/plugin.ts";
import type { Properties } from "../../../../../infra/lab/plugins/provider.ts";
import { Secret, UNKNOWN } from "../../../../../infra/lab/plugins/provider.ts";

let plugin: KubernetesPlugin;
beforeEach(async () => {
  plugin = new KubernetesPlugin("4.34.2");
  await plugin.configure({ namespace: "models" });
});

const SEED = new Uint8Array([1, 2, 3]);
const check = (type: string, news: Properties, olds?: Properties, randomSeed = SEED) =>
  plugin.check({ urn: `urn::${type}::judge`, type, name: "judge", news, olds, randomSeed });
const configMap = (metadata: Properties): Properties => ({ apiVersion: "v1", kind: "ConfigMap", metadata });
const CONFIG_MAP = "kubernetes:core/v1:ConfigMap";

test("makes up a name from the seed, marks it and keeps it", async () => {
  const first = (await check(CONFIG_MAP, configMap({}))).inputs;
  expect(first["metadata"]).toMatchObject({ annotations: { "pulumi.com/autonamed": "true" }, namespace: "models" });
  expect(textAt(first, "metadata", "name")).toMatch(/^judge-[0-9a-f]{8}$/);
  expect((await check(CONFIG_MAP, configMap({}))).inputs).toEqual(first);
  expect((await check(CONFIG_MAP, configMap({}), first, new Uint8Array([9]))).inputs).toEqual(first);
  expect((await check(CONFIG_MAP, configMap({}), undefined, new Uint8Array([9]))).inputs).not.toEqual(first);
});

test("keeps a given name, also one that is not known yet", async () => {
  expect((await check(CONFIG_MAP, configMap({ name: "a" }))).inputs["metadata"]).toEqual({
    name: "a",
    namespace: "models",
  });
  expect((await check(CONFIG_MAP, configMap({ name: UNKNOWN }))).inputs["metadata"]).toEqual({
    name: UNKNOWN,
    namespace: "models",
  });
});

test("gives no namespace to what has none", async () => {
  const role = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name: "a" } };
  const type = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole";
  expect((await check(type, role)).inputs["metadata"]).toEqual({ name: "a" });
});

test("knows the scope of a kind that the same program defines", async () => {
  const spec = { group: "gorkheavy.dev", scope: "Cluster", names: { kind: "Model", plural: "models" } };
  const definition = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "m" },
    spec,
  };
  const model = { apiVersion: "gorkheavy.dev/v1", kind: "Model", metadata: { name: "a" } };
  const type = "kubernetes:gorkheavy.dev/v1:Model";
  expect((await check(type, model)).inputs["metadata"]).toEqual({ name: "a", namespace: "models" });
  await check("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition", definition);
  expect((await check(type, model)).inputs["metadata"]).toEqual({ name: "a" });
});

test("refuses what is of another kind, has no kind, or cannot be applied", async () => {
  const wrong = await check(CONFIG_MAP, { apiVersion: "v1", kind: "Secret", metadata: {} });
  expect(wrong.failures).toHaveLength(1);
  expect(wrong.failures[0]?.reason).toMatch(/got "Secret", want "ConfigMap"/);
  const version = await check(CONFIG_MAP, { apiVersion: "v2", kind: "ConfigMap", metadata: {} });
  expect(version.failures[0]?.reason).toMatch(/got "v2", want "v1"/);
  expect((await check(CONFIG_MAP, { metadata: {} })).failures.map(({ property }) => property)).toEqual([
    "apiVersion",
    "kind",
  ]);
  expect((await check(CONFIG_MAP, configMap({ generateName: "a-" }))).failures[0]?.property).toBe(
    "metadata.generateName",
  );
  const patch = await check("kubernetes:core/v1:ConfigMapPatch", configMap({}));
  expect(patch.failures[0]?.property).toBe("metadata.name");
  await expect(check("kubernetes:core/v1:ConfigMapList", {})).rejects.toThrow(/lists cannot be created/);
  await expect(check("kubernetes:helm.sh/v3:Release", {})).rejects.toThrow(/stand-in does not have/);
});

test("secrets stay secret, dashed names and nulls come out right", async () => {
  const { inputs } = await check(CONFIG_MAP, {
    ...configMap({ name: "a", labels: null }),
    data: { a: new Secret("b"), c: "d" },
  });
  expect(inputs["data"]).toEqual({ a: new Secret("b"), c: "d" });
  expect(inputs["metadata"]).toEqual({ name: "a", namespace: "models" });
});

test("settings: each wrong one is named, no kubeconfig is quoted", async () => {
  const { failures } = await plugin.checkConfig({
    kubeconfig: new Secret("canary"),
    enableServerSideApply: "false",
    deleteUnreachable: "maybe",
    kubeConfig: "x",
    renderYamlToDirectory: "/x",
  });
  expect(failures.map(({ property }) => property).sort()).toEqual([
    "deleteUnreachable",
    "enableServerSideApply",
    "kubeConfig",
    "renderYamlToDirectory",
  ]);
  expect(JSON.stringify(failures)).not.toContain("canary");
});

test("a provider is replaced when its cluster is another one, not when its user is", async () => {
  const kubeconfig = (server: string, token: string) =>
    JSON.stringify({
      clusters: [{ name: "c", cluster: { server } }],
      users: [{ name: "u", user: { token } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    });
  const old = { kubeconfig: new Secret(kubeconfig("https://a:6443", "1")) };
  expect(await plugin.diffConfig(old, old)).toEqual({ changes: false, replaces: [] });
  expect(await plugin.diffConfig(old, { kubeconfig: kubeconfig("https://a:6443", "2") })).toEqual({
    changes: true,
    replaces: [],
  });
  const moved = { kubeconfig: kubeconfig("https://b:6443", "1") };
  expect((await plugin.diffConfig(old, moved)).replaces).toEqual(["kubeconfig"]);
  expect((await plugin.diffConfig(old, { kubeconfig: UNKNOWN })).replaces).toEqual(["kubeconfig"]);
  const named = (config: Properties, clusterIdentifier: string) => ({ ...config, clusterIdentifier });
  expect((await plugin.diffConfig(named(old, "lab"), named({ kubeconfig: UNKNOWN }, "lab"))).replaces).toEqual([]);
  expect((await plugin.diffConfig(named(old, "lab"), named(old, "home"))).replaces).toEqual(["clusterIdentifier"]);
});
