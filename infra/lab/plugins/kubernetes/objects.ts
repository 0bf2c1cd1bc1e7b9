import type { Properties } from "../provider.ts";
import { ApiError, isNotFound } from "./api-error.ts";
import type { ApiServer, Patience } from "./api-server.ts";
import { pathOf } from "./kinds.ts";
import type { KindMapping, Kinds } from "./kinds.ts";
import { isJsonObject, jsonObjectOf, listAt, nameOf, namespaceOf, objectAt, textAt } from "./manifest.ts";
import type { GroupVersionKind, Json, JsonObject } from "./manifest.ts";

/** How an object is applied. */
export interface ApplyOptions extends Patience {
  fieldManager: string;
  /** Take fields that other managers own instead of failing. */
  force: boolean;
  /** Ask what would become of it, and change nothing. */
  dryRun: boolean;
}

/** One object's place in the API. */
export interface ObjectKey {
  kind: GroupVersionKind;
  namespace: string | undefined;
  name: string;
}

/** Managers whose fields belong to whoever applies next. Source: pulumi-kubernetes await.go fixCSAFieldManagers, v4.32. */
const EARLIER_MANAGERS = ["kubectl", "before-first-apply", "pulumi-kubernetes", "pulumi-resource-kubernetes"];

/** Reads and writes single objects of any kind. */
export class Objects {
  readonly kinds: Kinds;
  readonly #api: ApiServer;

  constructor(api: ApiServer, kinds: Kinds) {
    this.#api = api;
    this.kinds = kinds;
  }

  /** The live object. @throws ApiError, 404 when it is gone. */
  async get(key: ObjectKey, patience: Patience): Promise<JsonObject> {
    const mapping = await this.kinds.get(key.kind, patience);
    return this.#api.call({ ...patience, method: "GET", path: pathOf(mapping, key.namespace, key.name) });
  }

  /** The live object, undefined when it is gone. */
  async find(key: ObjectKey, patience: Patience): Promise<JsonObject | undefined> {
    return this.get(key, patience).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
  }

  /** The objects of a kind in a namespace (in all when undefined) that match `query`. */
  async list(
    kind: GroupVersionKind,
    namespace: string | undefined,
    query: Record<string, string>,
    patience: Patience,
  ): Promise<JsonObject[]> {
    const mapping = await this.kinds.get(kind, patience);
    const answer = await this.#api.call({ ...patience, method: "GET", path: pathOf(mapping, namespace), query });
    const items = answer["items"];
    return Array.isArray(items) ? items.filter(isJsonObject) : [];
  }

  /** Server-side apply: creates the object or changes it, and owns the fields that `manifest` names. */
  async apply(manifest: Properties, name: string, options: ApplyOptions): Promise<JsonObject> {
    const mapping = await this.#mappingOf(manifest, options);
    return this.#api.call({
      ...options,
      method: "PATCH",
      path: pathOf(mapping, namespaceOf(manifest), name),
      query: {
        fieldManager: options.fieldManager,
        force: String(options.force),
        ...(options.dryRun ? { dryRun: "All" } : {}),
      },
      // JSON is YAML; the content type exists in YAML alone up to v1.34.
      contentType: "application/apply-patch+yaml",
      body: jsonObjectOf(manifest),
    });
  }

  /** Replaces the whole object, as the real provider does for CustomResourceDefinitions. */
  async replace(manifest: Properties, live: JsonObject, options: Omit<ApplyOptions, "force">): Promise<JsonObject> {
    const mapping = await this.#mappingOf(manifest, options);
    const metadata = {
      ...objectAt(manifest, "metadata"),
      resourceVersion: textAt(live, "metadata", "resourceVersion") ?? "",
    };
    return this.#api.call({
      ...options,
      method: "PUT",
      path: pathOf(mapping, namespaceOf(manifest), nameOf(live)),
      query: { fieldManager: options.fieldManager, ...(options.dryRun ? { dryRun: "All" } : {}) },
      body: jsonObjectOf({ ...manifest, metadata }),
    });
  }

  /** Asks for the deletion; does not wait. @throws ApiError, 404 when it is gone. */
  async delete(key: ObjectKey, propagation: "Foreground" | "Background" | "Orphan", patience: Patience): Promise<void> {
    const mapping = await this.kinds.get(key.kind, patience);
    await this.#api.call({
      ...patience,
      method: "DELETE",
      path: pathOf(mapping, key.namespace, key.name),
      body: { kind: "DeleteOptions", apiVersion: "v1", propagationPolicy: propagation },
    });
  }

  /** Gives up every field of `manager`: what no one else owns is removed. */
  async relinquish(live: JsonObject, manager: string, patience: Patience): Promise<void> {
    const { name, namespace } = objectAt(live, "metadata");
    const bare = {
      apiVersion: live["apiVersion"] ?? "",
      kind: live["kind"] ?? "",
      metadata: { name: name ?? "", ...(namespace === undefined ? {} : { namespace }) },
    };
    await this.apply(bare, nameOf(live) ?? "", { ...patience, fieldManager: manager, force: true, dryRun: false });
  }

  /**
   * Makes `manager` the owner of what earlier managers of the same people wrote (kubectl, an `up` under another name),
   * so that what leaves the program leaves the object, too. Tries again when the object changes meanwhile.
   */
  async takeOver(live: JsonObject, manager: string, patience: Patience): Promise<void> {
    let current = live;
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const fields = mergedManagers(current, manager);
      if (fields === undefined) return;
      const key = keyOf(current);
      if (key === undefined) return;
      const mapping = await this.kinds.get(key.kind, patience);
      try {
        await this.#api.call({
          ...patience,
          method: "PATCH",
          path: pathOf(mapping, key.namespace, key.name),
          contentType: "application/json-patch+json",
          body: [
            {
              op: "test",
              path: "/metadata/resourceVersion",
              value: textAt(current, "metadata", "resourceVersion") ?? "",
            },
            { op: "replace", path: "/metadata/managedFields", value: fields },
          ],
        });
        return;
      } catch (error) {
        // A failed `test` is 422, a lost race 409: read again.
        if (!(error instanceof ApiError) || (error.status !== 409 && error.status !== 422)) throw error;
        current = await this.get(key, patience);
      }
    }
  }

  async #mappingOf(manifest: Properties, patience: Patience): Promise<KindMapping> {
    const key = keyOf(manifest);
    if (key === undefined) throw new Error("apiVersion and kind: both must be set");
    return this.kinds.get(key.kind, patience);
  }
}

/** Where a manifest's object lives; undefined when the manifest does not say what it is. */
export function keyOf(manifest: Properties): ObjectKey | undefined {
  const apiVersion = textAt(manifest, "apiVersion");
  const kind = textAt(manifest, "kind");
  if (apiVersion === undefined || kind === undefined) return undefined;
  const [first = "", second] = apiVersion.split("/");
  return {
    kind: second === undefined ? { group: "", version: first, kind } : { group: first, version: second, kind },
    namespace: namespaceOf(manifest),
    name: nameOf(manifest) ?? "",
  };
}

/** True when an earlier run of the provider wrote this object. */
export function isOurs(live: JsonObject): boolean {
  return listAt(live, "metadata", "managedFields").some((entry) =>
    (textAt(entry, "manager") ?? "").startsWith("pulumi-kubernetes"),
  );
}

/** `managedFields` with the earlier managers' entries joined into `manager`'s; undefined when there is nothing to join. */
export function mergedManagers(live: JsonObject, manager: string): Json[] | undefined {
  const metadata = live["metadata"];
  const managed = isJsonObject(metadata) ? metadata["managedFields"] : undefined;
  if (!Array.isArray(managed)) return undefined;
  const entries = managed.filter(isJsonObject);
  const isOwn = (entry: JsonObject) => entry["manager"] === manager && entry["operation"] === "Apply";
  const isEarlier = (entry: JsonObject) =>
    !isOwn(entry) &&
    // The status is its controller's; `kubectl scale` writes the spec.
    entry["subresource"] !== "status" &&
    EARLIER_MANAGERS.some((name) => (textAt(entry, "manager") ?? "").startsWith(name));
  const earlier = entries.filter(isEarlier);
  if (earlier.length === 0) return undefined;
  const own = entries.find(isOwn);
  const joined = [...(own === undefined ? [] : [own]), ...earlier]
    .map((entry) => entry["fieldsV1"])
    .reduce<JsonObject>((all, fields) => (isJsonObject(fields) ? joinFields(all, fields) : all), {});
  const { apiVersion = "", time = null } = own ?? earlier[0] ?? {};
  const entry = { manager, operation: "Apply", apiVersion, time, fieldsType: "FieldsV1", fieldsV1: joined };
  return [entry, ...entries.filter((other) => !isOwn(other) && !isEarlier(other))];
}

function joinFields(left: JsonObject, right: JsonObject): JsonObject {
  const joined = { ...left };
  for (const [key, value] of Object.entries(right)) {
    const before = joined[key];
    joined[key] = isJsonObject(before) && isJsonObject(value) ? joinFields(before, value) : value;
  }
  return joined;
}

/** True when `manager` owns the field at `path` of a live object. Paths through arrays are owned as a whole. */
export function owns(live: JsonObject, manager: string, path: readonly string[]): boolean {
  return listAt(live, "metadata", "managedFields").some((entry) => {
    if (textAt(entry, "manager") !== manager) return false;
    let fields = objectAt(entry, "fieldsV1");
    for (const step of path) {
      if (!(`f:${step}` in fields)) return false;
      fields = objectAt(fields, `f:${step}`);
    }
    return true;
  });
}
