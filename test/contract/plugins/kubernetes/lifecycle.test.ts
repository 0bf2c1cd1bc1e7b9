import { afterEach, beforeEach, expect, test } from "vitest";
import { KubernetesPlugin } from "../../../../infra/lab/plugins/kubernetes/plugin.ts";
import { isJsonObject } from "../../../../infra/lab/plugins/kubernetes/manifest.ts";
import type { JsonObject } from "../../../../infra/lab/plugins/kubernetes/manifest.ts";
import { PartialFailure, Secret, UNKNOWN } from "../../../../infra/lab/plugins/provider.ts";
import type { Properties, RunningCall } from "../../../../infra/lab/plugins/provider.ts";
import { ApiDouble, kubeconfigFor } from "./api-double.ts";

let api: ApiDouble;
let plugin: KubernetesPlugin;
let lines: string[];

beforeEach(async () => {
  api = new ApiDouble();
  lines = [];
  await api.listen();
  plugin = new KubernetesPlugin("4.34.2");
  await plugin.configure({ kubeconfig: new Secret(api.kubeconfig) });
});
afterEach(async () => api.close());

const CONFIG_MAP = "kubernetes:core/v1:ConfigMap";
const CONFIG_PATH = "/api/v1/namespaces/models/configmaps/settings";

function call(type: string, timeoutMs = 0): RunningCall {
  return {
    urn: `urn:pulumi:lab::gorkheavy::${type}::settings`,
    type,
    name: "settings",
    timeoutMs,
    signal: new AbortController().signal,
    log: (level, text) => lines.push(`${level}: ${text}`),
  };
}

function configMap(data: Properties, name = "settings"): Properties {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "models" }, data };
}

const DEPLOYMENT = "kubernetes:apps/v1:Deployment";
const DEPLOYMENT_PATH = "/apis/apps/v1/namespaces/models/deployments/judge";
function deployment(): Properties {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "judge", namespace: "models" },
    spec: { replicas: 1, selector: { matchLabels: { app: "judge" } }, template: {} },
  };
}

function put(path: string, object: JsonObject): void {
  api.objects.set(path, object);
}

test("creates by server-side apply under a manager that a second run has too", async () => {
  const first = await plugin.create({ ...call(CONFIG_MAP), inputs: configMap({ a: "1" }), preview: false });
  expect(first.id).toBe("models/settings");
  expect(first.properties["__inputs"]).toMatchObject({ data: { a: "1" } });
  expect(first.properties["__fieldManager"]).toMatch(/^pulumi-kubernetes-[0-9a-f]{8}$/);
  const apply = api.seen.find((request) => request.method === "PATCH");
  expect(apply?.path).toBe(CONFIG_PATH);
  expect(apply?.query.get("fieldManager")).toBe(first.properties["__fieldManager"]);
  expect(apply?.query.get("force")).toBe("false");
});

test("goes on with what an interrupted run left, and says so", async () => {
  await plugin.create({ ...call(CONFIG_MAP), inputs: configMap({ a: "1" }), preview: false });
  const again = await plugin.create({ ...call(CONFIG_MAP), inputs: configMap({ a: "2" }), preview: false });
  expect(again.properties["data"]).toEqual({ a: "2" });
  expect(lines.join()).toMatch(/warning: ConfigMap "models\/settings".*upsertExistingObjects/);
});

test("leaves somebody else's object alone unless told to take it over", async () => {
  const foreign = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "settings", namespace: "models", uid: "u" },
  };
  put(CONFIG_PATH, foreign);
  const create = { ...call(CONFIG_MAP), inputs: configMap({ a: "1" }), preview: false };
  await expect(plugin.create(create)).rejects.toThrow(/already exists.*upsertExistingObjects/);
  expect(api.objects.get(CONFIG_PATH)).toEqual(foreign);
  await plugin.configure({ kubeconfig: api.kubeconfig, upsertExistingObjects: true });
  expect((await plugin.create(create)).properties["data"]).toEqual({ a: "1" });
});

test("previews by a dry run and changes nothing; what the server makes up stays unknown", async () => {
  const created = await plugin.create({ ...call(CONFIG_MAP), inputs: configMap({ a: "1" }), preview: true });
  expect(created.id).toBe("");
  expect(created.properties).toMatchObject({ data: { a: "1" }, metadata: { uid: UNKNOWN, resourceVersion: UNKNOWN } });
  expect(api.objects.size).toBe(0);
});

test("previews without a cluster, and with values that are not known, by the inputs alone", async () => {
  const inputs = configMap({ a: UNKNOWN });
  const unknown = await plugin.create({ ...call(CONFIG_MAP), inputs, preview: true });
  expect(unknown.properties).toEqual(inputs);
  await plugin.configure({ kubeconfig: kubeconfigFor(1) });
  const checked = await plugin.check({
    ...call(CONFIG_MAP),
    news: configMap({ a: "1" }),
    randomSeed: new Uint8Array(),
  });
  expect(checked.failures).toEqual([]);
  const absent = await plugin.create({ ...call(CONFIG_MAP), inputs: checked.inputs, preview: true });
  expect(absent.properties).toEqual(checked.inputs);
});

test("keeps trying while the server is away, and waits for a namespace that comes later", async () => {
  let refusals = 0;
  api.refuse = (request) => {
    if (request.method !== "PATCH" || refusals >= 2) return undefined;
    refusals += 1;
    return refusals === 1
      ? { status: 503, reason: "ServiceUnavailable", message: "starting" }
      : { status: 404, reason: "NotFound", message: 'namespaces "models" not found' };
  };
  const created = await plugin.create({ ...call(CONFIG_MAP), inputs: configMap({ a: "1" }), preview: false });
  expect(created.id).toBe("models/settings");
  expect(api.paths("PATCH")).toHaveLength(3);
});

test("marks a Secret's data, and never quotes it in a refusal", async () => {
  const type = "kubernetes:core/v1:Secret";
  const news = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "token", namespace: "models" },
    stringData: { password: new Secret("canary-password") },
  };
  const { inputs } = await plugin.check({ ...call(type), news, randomSeed: new Uint8Array() });
  const encoded = Buffer.from("canary-password").toString("base64");
  expect(inputs["data"]).toEqual(new Secret({ password: encoded }));
  const { properties } = await plugin.create({ ...call(type), inputs, preview: false });
  expect(properties["data"]).toEqual(new Secret({ password: encoded }));
  expect(JSON.stringify(Object.entries(properties).filter(([, value]) => !(value instanceof Secret)))).toContain(
    "models",
  );

  api.refuse = ({ method }) =>
    method === "PATCH" ? { status: 422, reason: "Invalid", message: `data: invalid value "${encoded}"` } : undefined;
  api.objects.clear();
  const failure = plugin.create({ ...call(type), inputs, preview: false });
  await expect(failure).rejects.toThrow('data: invalid value "[secret]"');
});

test("keeps a Deployment that never got ready, with its pods' own words", async () => {
  const owned = (uid: string) => ({ ownerReferences: [{ uid }] });
  const annotations = { "deployment.kubernetes.io/revision": "1" };
  api.settle = (object) => ({
    ...object,
    metadata: { ...(isJsonObject(object["metadata"]) ? object["metadata"] : {}), uid: "d", annotations },
    status: {
      observedGeneration: 1,
      conditions: [{ type: "Available", status: "False", reason: "Min", message: "none" }],
    },
  });
  put("/apis/apps/v1/namespaces/models/replicasets/judge-1", {
    metadata: { name: "judge-1", namespace: "models", uid: "r", annotations, ...owned("d") },
    spec: { replicas: 1 },
  });
  put("/api/v1/namespaces/models/pods/judge-1-a", {
    metadata: { name: "judge-1-a", namespace: "models", uid: "p", ...owned("r") },
    status: {
      phase: "Pending",
      conditions: [{ type: "PodScheduled", status: "True" }],
      containerStatuses: [{ name: "c", state: { waiting: { reason: "ImagePullBackOff", message: "no such image" } } }],
    },
  });
  put("/api/v1/namespaces/models/events/e", { reason: "Unhealthy", message: "Readiness probe failed: 503" });
  const failure: unknown = await plugin
    .create({ ...call(DEPLOYMENT, 1_500), inputs: deployment(), preview: false })
    .catch((error: unknown) => error);
  if (!(failure instanceof PartialFailure)) throw new Error("want a PartialFailure");
  expect(failure.id).toBe("models/judge");
  expect(failure.properties["__inputs"]).toMatchObject({ spec: { replicas: 1 } });
  const told = failure.reasons.join("\n");
  expect(told).toMatch(/Deployment "judge" was not ready/);
  expect(told).toMatch(/\[ImagePullBackOff\] no such image.*\[Unhealthy\] Readiness probe failed: 503/);
});

test("a refresh finds drift, and what is gone", async () => {
  const { id, properties } = await plugin.create({
    ...call(CONFIG_MAP),
    inputs: configMap({ a: "1" }),
    preview: false,
  });
  const read = { ...call(CONFIG_MAP), id, inputs: configMap({ a: "1" }), properties };
  expect((await plugin.read(read))?.inputs).toEqual(configMap({ a: "1" }));

  const live = api.objects.get(CONFIG_PATH) ?? {};
  put(CONFIG_PATH, { ...live, data: { a: "changed", b: "added by others" } });
  const drifted = await plugin.read(read);
  expect(drifted?.inputs).toEqual(configMap({ a: "changed" }));
  const diff = await plugin.diff({
    ...call(CONFIG_MAP),
    id,
    olds: drifted?.properties ?? {},
    oldInputs: drifted?.inputs ?? {},
    news: configMap({ a: "1" }),
    ignoreChanges: [],
  });
  expect(diff.detailed).toEqual({ "data.a": "update-replace" });
  expect(diff.deleteBeforeReplace).toBe(true);

  api.objects.clear();
  expect(await plugin.read(read)).toBeUndefined();
});

test("imports an object without what only the server writes", async () => {
  put(CONFIG_PATH, {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "settings", namespace: "models", uid: "u", resourceVersion: "4", creationTimestamp: "now" },
    data: { a: "1" },
  });
  const imported = await plugin.read({ ...call(CONFIG_MAP), id: "models/settings" });
  expect(imported?.inputs).toEqual(configMap({ a: "1" }));
});

test("deletes in the foreground, and takes what is gone as deleted", async () => {
  const inputs = configMap({ a: "1" });
  const { id, properties } = await plugin.create({ ...call(CONFIG_MAP), inputs, preview: false });
  await plugin.delete({ ...call(CONFIG_MAP), id, properties, inputs });
  expect(api.objects.size).toBe(0);
  await plugin.delete({ ...call(CONFIG_MAP), id, properties, inputs });
  expect(api.paths("DELETE")).toEqual([CONFIG_PATH]);
});

test("says what keeps an object from going", async () => {
  const inputs = configMap({ a: "1" });
  const { id, properties } = await plugin.create({ ...call(CONFIG_MAP), inputs, preview: false });
  const live = api.objects.get(CONFIG_PATH) ?? {};
  const metadata = isJsonObject(live["metadata"]) ? live["metadata"] : {};
  const stuck = { ...live, metadata: { ...metadata, finalizers: ["lab/hold"] } };
  api.refuse = () => {
    put(CONFIG_PATH, stuck);
    return undefined;
  };
  const deletion = plugin.delete({ ...call(CONFIG_MAP, 1_000), id, properties, inputs });
  await expect(deletion).rejects.toThrow(/still exists.*finalizers: lab\/hold/);
});

test("an unreachable cluster fails a refresh with the way out, and deleteUnreachable takes it", async () => {
  await plugin.configure({ kubeconfig: "no kubeconfig: canary" });
  const read = { ...call(CONFIG_MAP), id: "models/settings", inputs: configMap({}), properties: {} };
  const failure: unknown = await plugin.read(read).catch((error: unknown) => error);
  expect(String(failure)).toMatch(/unreachable.*PULUMI_K8S_DELETE_UNREACHABLE/);
  expect(String(failure)).not.toContain("canary");
  await plugin.configure({ kubeconfig: "no kubeconfig", deleteUnreachable: true });
  expect(await plugin.read(read)).toBeUndefined();
});

test("a Deployment's readiness survives a server that is away for a moment", async () => {
  const annotations = { "deployment.kubernetes.io/revision": "1" };
  api.settle = (object) => ({
    ...object,
    metadata: { ...(isJsonObject(object["metadata"]) ? object["metadata"] : {}), uid: "d", annotations },
    status: { observedGeneration: 1, conditions: [{ type: "Available", status: "True" }] },
  });
  put("/apis/apps/v1/namespaces/models/replicasets/judge-1", {
    metadata: { name: "judge-1", uid: "r", annotations, ownerReferences: [{ uid: "d" }] },
    spec: { replicas: 1 },
    status: { readyReplicas: 1 },
  });
  let refusals = 0;
  api.refuse = ({ path }) => {
    if (!path.endsWith("/replicasets") || refusals >= 2) return undefined;
    refusals += 1;
    // A server that has just started knows no roles yet; the client does not retry this by itself.
    return { status: 403, reason: "Forbidden", message: "no roles yet" };
  };
  const created = await plugin.create({ ...call(DEPLOYMENT), inputs: deployment(), preview: false });
  expect(created.id).toBe("models/judge");
  expect(api.objects.has(DEPLOYMENT_PATH)).toBe(true);
});
