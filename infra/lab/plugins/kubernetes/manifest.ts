import { Secret, UNKNOWN, Unknown } from "../provider.ts";
import type { Properties, Value } from "../provider.ts";
import { isPlainObject } from "../values.ts";

/** What the API server sends and takes. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
/** A JSON object: a manifest, or a part of one. */
export interface JsonObject {
  [key: string]: Json;
}

/** Group, version and kind of an object; the core group is "". */
export interface GroupVersionKind {
  group: string;
  version: string;
  kind: string;
}

/**
 * Property names that the SDKs spell with underscores because a dash is no identifier.
 * Source: pulumi-kubernetes provider/pkg/provider/provider.go, underscoreToDashMap, v4.32.
 */
const DASHED_BY_PROPERTY = new Map(
  [
    "embedded-resource",
    "int-or-string",
    "list-map-keys",
    "list-type",
    "map-type",
    "preserve-unknown-fields",
    "validations",
  ].map((end) => [`x_kubernetes_${end.replaceAll("-", "_")}`, `x-kubernetes-${end}`]),
);
const PROPERTY_BY_DASHED = new Map([...DASHED_BY_PROPERTY].map(([property, dashed]) => [dashed, property]));

/** True for JSON objects; false for arrays, null and scalars. */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value at `path`, undefined when any step of it is missing. Looks through no secret. */
export function valueAt(root: Value | undefined, ...path: (string | number)[]): Value | undefined {
  let here: Value | undefined = root;
  for (const step of path) {
    if (typeof step === "number") here = Array.isArray(here) ? here[step] : undefined;
    else here = isPlainObject(here) ? here[step] : undefined;
  }
  return here;
}

/** The text at `path`, undefined when there is none or it is no text. */
export function textAt(root: Value | undefined, ...path: (string | number)[]): string | undefined {
  const found = valueAt(root, ...path);
  return typeof found === "string" ? found : undefined;
}

/** The number at `path`, undefined when there is none or it is no number. */
export function numberAt(root: Value | undefined, ...path: (string | number)[]): number | undefined {
  const found = valueAt(root, ...path);
  return typeof found === "number" ? found : undefined;
}

/** The array at `path`; empty when there is none. */
export function listAt(root: Value | undefined, ...path: (string | number)[]): Value[] {
  const found = valueAt(root, ...path);
  return Array.isArray(found) ? found : [];
}

/** The object at `path`; empty when there is none. */
export function objectAt(root: Value | undefined, ...path: (string | number)[]): Properties {
  const found = valueAt(root, ...path);
  return isPlainObject(found) ? found : {};
}

/** A copy of `root` with `value` at `path`; objects on the way are made. An undefined `value` removes the key. */
export function withValueAt(root: Properties, path: readonly string[], value: Value | undefined): Properties {
  const [key, ...rest] = path;
  if (key === undefined) return root;
  const copy = { ...root };
  if (rest.length > 0) {
    const child = copy[key];
    if (child !== undefined && !isPlainObject(child)) return root;
    if (child === undefined && value === undefined) return root;
    copy[key] = withValueAt(child ?? {}, rest, value);
  } else if (value === undefined) {
    Reflect.deleteProperty(copy, key);
  } else {
    copy[key] = value;
  }
  return copy;
}

/** A copy of `root` without some of its keys. */
export function without(root: Properties, ...keys: string[]): Properties {
  return Object.fromEntries(Object.entries(root).filter(([key]) => !keys.includes(key)));
}

/** Name of an object; undefined when it has none, or none that is known yet. */
export function nameOf(manifest: Value | undefined): string | undefined {
  return textAt(manifest, "metadata", "name") || undefined;
}

/** Namespace of an object; undefined when it has none, or none that is known yet. */
export function namespaceOf(manifest: Value | undefined): string | undefined {
  return textAt(manifest, "metadata", "namespace") || undefined;
}

/** Value of an annotation; undefined when absent. */
export function annotationOf(manifest: Value | undefined, name: string): string | undefined {
  return textAt(manifest, "metadata", "annotations", name);
}

/** True when the annotation is there and says `true`. */
export function isAnnotated(manifest: Value | undefined, name: string): boolean {
  return annotationOf(manifest, name) === "true";
}

/** Group, version and kind that a manifest names; undefined when either is missing or not known yet. */
export function kindOf(manifest: Value): GroupVersionKind | undefined {
  const apiVersion = textAt(manifest, "apiVersion");
  const kind = textAt(manifest, "kind");
  if (apiVersion === undefined || kind === undefined) return undefined;
  const slash = apiVersion.indexOf("/");
  return slash < 0
    ? { group: "", version: apiVersion, kind }
    : { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1), kind };
}

/** `apps/v1`, or `v1` for the core group. */
export function apiVersionOf(kind: GroupVersionKind): string {
  return kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
}

/** Id in the state: `namespace/name`, or `name` for what has no namespace. */
export function objectId(manifest: Value): string {
  const namespace = namespaceOf(manifest);
  const name = nameOf(manifest) ?? "";
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** Takes an id apart. */
export function parseObjectId(id: string): { namespace: string | undefined; name: string } {
  const slash = id.indexOf("/");
  return slash < 0 ? { namespace: undefined, name: id } : { namespace: id.slice(0, slash), name: id.slice(slash + 1) };
}

/** True when anything in `value` is only known after `up`. */
export function hasUnknown(value: Value): boolean {
  if (value instanceof Unknown) return true;
  if (value instanceof Secret) return hasUnknown(value.value);
  if (Array.isArray(value)) return value.some(hasUnknown);
  return isPlainObject(value) && Object.values(value).some(hasUnknown);
}

/** True when anything in `value` is a secret. */
export function hasSecret(value: Value): boolean {
  if (value instanceof Secret) return true;
  if (Array.isArray(value)) return value.some(hasSecret);
  return isPlainObject(value) && Object.values(value).some(hasSecret);
}

/** Every secret text in `value`, for taking it out of messages. */
export function secretTexts(value: Value, inSecret = false): string[] {
  if (value instanceof Secret) return secretTexts(value.value, true);
  if (typeof value === "string") return inSecret && value !== "" ? [value] : [];
  if (Array.isArray(value)) return value.flatMap((item) => secretTexts(item, inSecret));
  return isPlainObject(value) ? Object.values(value).flatMap((item) => secretTexts(item, inSecret)) : [];
}

/** The manifest that properties stand for: secrets unwrapped, dashed names restored, nulls left out of objects. */
export function manifestOf(properties: Properties): Properties {
  const plain = (value: Value): Value => {
    if (value instanceof Secret) return plain(value.value);
    if (Array.isArray(value)) return value.map(plain);
    return isPlainObject(value) ? manifestOf(value) : value;
  };
  const manifest: Properties = {};
  for (const [key, value] of Object.entries(properties)) {
    if (value !== null) manifest[DASHED_BY_PROPERTY.get(key) ?? key] = plain(value);
  }
  return manifest;
}

/** Properties for the state from a manifest: dashed names become the SDK's. */
export function propertiesOf(manifest: Properties): Properties {
  const convert = (value: Value): Value => {
    if (Array.isArray(value)) return value.map(convert);
    return isPlainObject(value) ? propertiesOf(value) : value;
  };
  return Object.fromEntries(
    Object.entries(manifest).map(([key, value]) => [PROPERTY_BY_DASHED.get(key) ?? key, convert(value)]),
  );
}

/** JSON for the API server. @throws Error when something in it is not known yet or is no JSON. */
export function jsonOf(value: Value, path = "$"): Json {
  if (value === null || typeof value === "boolean" || typeof value === "number" || typeof value === "string") {
    return value;
  }
  if (Array.isArray(value)) return value.map((item, index) => jsonOf(item, `${path}[${index}]`));
  if (isPlainObject(value)) return jsonObjectOf(value, path);
  throw new Error(`${path}: this is no JSON value and cannot be sent to Kubernetes`);
}

/** JSON object for the API server. @throws Error as {@link jsonOf}. */
export function jsonObjectOf(value: Properties, path = "$"): JsonObject {
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, jsonOf(item, `${path}.${key}`)]));
}

/**
 * Copies secretness from what the user gave to what the server answered. Objects are walked, so that one secret does
 * not hide a whole Deployment; in an array one secret hides all, since the server may reorder it. `data` and
 * `stringData` of a Secret are secret whatever the user said.
 */
export function markSecrets(outputs: Properties, inputs: Properties | undefined): Properties {
  const marked = { ...outputs };
  if (outputs["kind"] === "Secret" && outputs["apiVersion"] === "v1") {
    for (const key of ["data", "stringData"]) {
      const value = marked[key];
      if (value !== undefined && !(value instanceof Secret)) marked[key] = new Secret(value);
    }
  }
  for (const [key, given] of Object.entries(inputs ?? {})) {
    const value = marked[key];
    if (value === undefined || value instanceof Secret) continue;
    if (isPlainObject(value) && isPlainObject(given)) marked[key] = markSecrets(value, given);
    else if (hasSecret(given)) marked[key] = new Secret(value);
  }
  return marked;
}

/** Marks parts of a dry run's answer that the real run will fill in anew. */
export function withUnknownAt(manifest: Properties, ...path: string[]): Properties {
  return valueAt(manifest, ...path) === undefined ? manifest : withValueAt(manifest, path, UNKNOWN);
}
