import { isJsonObject } from "./manifest.ts";
import type { GroupVersionKind, JsonObject } from "./manifest.ts";
import { listAt, textAt } from "./manifest.ts";
import type { ApiServer, Patience } from "./api-server.ts";
import { isNotFound, NoSuchKindError } from "./api-error.ts";
import { apiVersionOf } from "./manifest.ts";

/** Where the objects of a kind live in the API. */
export interface KindMapping {
  kind: GroupVersionKind;
  /** `deployments`. */
  plural: string;
  isNamespaced: boolean;
}

/**
 * Groups that every Kubernetes brings. What their objects look like is known here; every other group is somebody's
 * CustomResourceDefinition. Source: Kubernetes API reference v1.34.
 */
const BUILT_IN_GROUPS = new Set([
  "",
  "admissionregistration.k8s.io",
  "apiextensions.k8s.io",
  "apiregistration.k8s.io",
  "apps",
  "authentication.k8s.io",
  "authorization.k8s.io",
  "autoscaling",
  "batch",
  "certificates.k8s.io",
  "coordination.k8s.io",
  "discovery.k8s.io",
  "events.k8s.io",
  "flowcontrol.apiserver.k8s.io",
  "internal.apiserver.k8s.io",
  "networking.k8s.io",
  "node.k8s.io",
  "policy",
  "rbac.authorization.k8s.io",
  "resource.k8s.io",
  "scheduling.k8s.io",
  "storage.k8s.io",
  "storagemigration.k8s.io",
]);

/** Kinds of the built-in groups that have no namespace. Source: Kubernetes API reference v1.34. */
const CLUSTER_SCOPED = new Set([
  "APIService",
  "CSIDriver",
  "CSINode",
  "CertificateSigningRequest",
  "ClusterRole",
  "ClusterRoleBinding",
  "ClusterTrustBundle",
  "ComponentStatus",
  "CustomResourceDefinition",
  "DeviceClass",
  "DeviceTaintRule",
  "FlowSchema",
  "IPAddress",
  "IngressClass",
  "MutatingAdmissionPolicy",
  "MutatingAdmissionPolicyBinding",
  "MutatingWebhookConfiguration",
  "Namespace",
  "Node",
  "PersistentVolume",
  "PriorityClass",
  "PriorityLevelConfiguration",
  "ResourceSlice",
  "RuntimeClass",
  "SelfSubjectAccessReview",
  "SelfSubjectReview",
  "SelfSubjectRulesReview",
  "ServiceCIDR",
  "StorageClass",
  "StorageVersion",
  "StorageVersionMigration",
  "SubjectAccessReview",
  "TokenReview",
  "ValidatingAdmissionPolicy",
  "ValidatingAdmissionPolicyBinding",
  "ValidatingWebhookConfiguration",
  "VolumeAttachment",
  "VolumeAttributesClass",
]);

/** True when every Kubernetes has this group. */
export function isBuiltIn(group: string): boolean {
  return BUILT_IN_GROUPS.has(group);
}

/** What a type token says: the kind, and whether it is the kind's `…Patch` resource cannot be told from it alone. */
export interface TypeToken {
  group: string;
  version: string;
  /** `Deployment`, or `DeploymentPatch`. */
  resource: string;
}

/** Reads `kubernetes:apps/v1:Deployment`; undefined when it is no such token. The group `core` becomes "". */
export function parseTypeToken(type: string): TypeToken | undefined {
  const match = /^kubernetes:([^:/]+)\/([^:/]+):([^:]+)$/.exec(type);
  if (match === null) return undefined;
  const [, group = "", version = "", resource = ""] = match;
  return { group: group === "core" ? "" : group, version, resource };
}

/** True when the resource changes fields of an object that somebody else owns. */
export function isPatchResource(type: string, kind: string | undefined): boolean {
  return kind !== undefined && parseTypeToken(type)?.resource === `${kind}Patch`;
}

/** True for the SDK's list kinds (`DeploymentList`), which are no objects. */
export function isListResource(type: string): boolean {
  const token = parseTypeToken(type);
  return token !== undefined && isBuiltIn(token.group) && token.resource.length > 4 && token.resource.endsWith("List");
}

/** Path of one object, or of all of a kind when `name` is undefined. */
export function pathOf(mapping: KindMapping, namespace: string | undefined, name?: string): string {
  const { group, version } = mapping.kind;
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  const scope = mapping.isNamespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${scope}/${mapping.plural}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}

/** Kinds of a cluster by discovery, kept for the plugin's life and asked again where something is missing. */
export class Kinds {
  readonly #api: ApiServer;
  readonly #byApiVersion = new Map<string, Promise<Map<string, KindMapping> | undefined>>();

  constructor(api: ApiServer) {
    this.#api = api;
  }

  /** The mapping of a kind, undefined when the cluster has no such kind now. */
  async find(kind: GroupVersionKind, patience: Patience = {}): Promise<KindMapping | undefined> {
    const apiVersion = apiVersionOf(kind);
    const known = await this.#load(apiVersion, patience);
    const mapping = known?.get(kind.kind);
    if (mapping !== undefined) return mapping;
    // A CustomResourceDefinition may have come since.
    this.#byApiVersion.delete(apiVersion);
    return (await this.#load(apiVersion, patience))?.get(kind.kind);
  }

  /** True when the cluster serves this group and version. */
  async serves(kind: GroupVersionKind, patience: Patience = {}): Promise<boolean> {
    return (await this.#load(apiVersionOf(kind), patience)) !== undefined;
  }

  /** The mapping of a kind. @throws NoSuchKindError when the cluster has none. */
  async get(kind: GroupVersionKind, patience: Patience = {}): Promise<KindMapping> {
    const mapping = await this.find(kind, patience);
    if (mapping === undefined) throw new NoSuchKindError(apiVersionOf(kind), kind.kind);
    return mapping;
  }

  /** Forgets everything, after a CustomResourceDefinition came or went. */
  forget(): void {
    this.#byApiVersion.clear();
  }

  #load(apiVersion: string, patience: Patience): Promise<Map<string, KindMapping> | undefined> {
    const known = this.#byApiVersion.get(apiVersion);
    if (known !== undefined) return known;
    const loading = this.#discover(apiVersion, patience);
    this.#byApiVersion.set(apiVersion, loading);
    const forget = () => {
      if (this.#byApiVersion.get(apiVersion) === loading) this.#byApiVersion.delete(apiVersion);
    };
    loading.then((kinds) => kinds ?? forget(), forget);
    return loading;
  }

  async #discover(apiVersion: string, patience: Patience): Promise<Map<string, KindMapping> | undefined> {
    const path = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const answer = await this.#api.call({ ...patience, method: "GET", path }).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    if (answer === undefined) return undefined;
    const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
    const kinds = new Map<string, KindMapping>();
    for (const entry of listAt(answer, "resources")) {
      const name = textAt(entry, "name") ?? "";
      const kind = textAt(entry, "kind") ?? "";
      // `deployments/scale` is no kind of its own.
      if (name === "" || name.includes("/")) continue;
      kinds.set(kind, {
        kind: { group: group ?? "", version: version ?? "", kind },
        plural: name,
        isNamespaced: isNamespacedEntry(entry),
      });
    }
    return kinds;
  }
}

function isNamespacedEntry(entry: unknown): boolean {
  return typeof entry === "object" && entry !== null && "namespaced" in entry && entry.namespaced === true;
}

/** Whether a kind has namespaces, as far as that can be told without the cluster; undefined when it cannot. */
export function knownScope(kind: GroupVersionKind, planned: ReadonlyMap<string, boolean>): boolean | undefined {
  if (isBuiltIn(kind.group)) return !CLUSTER_SCOPED.has(kind.kind);
  return planned.get(`${kind.group}/${kind.kind}`);
}

/** What a CustomResourceDefinition will bring: `group/Kind` and whether it has namespaces. */
export function plannedScope(definition: JsonObject): [key: string, isNamespaced: boolean] | undefined {
  const spec = definition["spec"];
  if (!isJsonObject(spec)) return undefined;
  const group = textAt(spec, "group");
  const kind = textAt(spec, "names", "kind");
  const scope = textAt(spec, "scope");
  if (group === undefined || kind === undefined || scope === undefined) return undefined;
  return [`${group}/${kind}`, scope === "Namespaced"];
}
