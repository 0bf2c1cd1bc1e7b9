import { AssetValue, ResourceReference, Secret, Unknown } from "./provider.ts";
import type { Properties, PropertyDiffKind, Value } from "./provider.ts";
import { isPlainObject } from "./wire.ts";

export { isPlainObject } from "./wire.ts";

/** A value without wrappers: what JSON can say. */
export type Plain = null | boolean | number | string | Plain[] | { [key: string]: Plain };

/** The same value with every {@link Secret} wrapper taken off, at any depth. */
export function withoutSecrets(value: Value): Value {
  if (value instanceof Secret) return withoutSecrets(value.value);
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (isPlainObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutSecrets(inner)]));
  }
  return value;
}

/**
 * Plain JSON of a value whose secrets are opened. Properties that are unknown, null, assets or resources are left out
 * (in arrays: null), so use {@link containsUnknown} first where that matters.
 */
export function plainOf(value: Value | undefined): Plain {
  if (value === undefined || value === null) return null;
  if (value instanceof Secret) return plainOf(value.value);
  if (Array.isArray(value)) return value.map(plainOf);
  if (isPlainObject(value)) {
    const result: { [key: string]: Plain } = {};
    for (const [key, inner] of Object.entries(value)) {
      const plain = plainOf(inner);
      if (plain !== null) result[key] = plain;
    }
    return result;
  }
  if (value instanceof Unknown || value instanceof AssetValue || value instanceof ResourceReference) return null;
  return value;
}

/** True when any part of the value is not known yet. */
export function containsUnknown(value: Value | undefined): boolean {
  return some(value, (part) => part instanceof Unknown);
}

/** True when any part of the value is secret. */
export function containsSecret(value: Value | undefined): boolean {
  return some(value, (part) => part instanceof Secret);
}

function some(value: Value | undefined, test: (part: Value) => boolean): boolean {
  if (value === undefined) return false;
  if (test(value)) return true;
  if (value instanceof Secret) return some(value.value, test);
  if (Array.isArray(value)) return value.some((item) => some(item, test));
  if (isPlainObject(value)) return Object.values(value).some((item) => some(item, test));
  return false;
}

/** True when both are the same, secret or not. Null and absent are the same; an unknown equals nothing. */
export function sameValue(left: Value | undefined, right: Value | undefined): boolean {
  if (left instanceof Secret) return sameValue(left.value, right);
  if (right instanceof Secret) return sameValue(left, right.value);
  const a = left ?? null;
  const b = right ?? null;
  if (a instanceof Unknown || b instanceof Unknown) return false;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => sameValue(item, b[index]));
  }
  if (a instanceof AssetValue) return b instanceof AssetValue && sameAsset(a, b);
  if (a instanceof ResourceReference) return b instanceof ResourceReference && a.urn === b.urn;
  if (isPlainObject(a)) {
    if (!isPlainObject(b)) return false;
    return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((key) => sameValue(a[key], b[key]));
  }
  return a === b;
}

function sameAsset(a: AssetValue, b: AssetValue): boolean {
  if (a.kind !== b.kind) return false;
  if (a.hash !== undefined && b.hash !== undefined) return a.hash === b.hash;
  return a.text === b.text && a.path === b.path && a.uri === b.uri && sameValue(a.members ?? null, b.members ?? null);
}

/** Paths (`disks[0].size`) at which two property bags differ, each with what happens to it. Sorted by path. */
export function diffProperties(olds: Properties, news: Properties): Record<string, "add" | "update" | "delete"> {
  const result: Record<string, "add" | "update" | "delete"> = {};
  const visit = (path: string, left: Value | undefined, right: Value | undefined): void => {
    if (sameValue(left, right)) return;
    const a = left instanceof Secret ? left.value : (left ?? null);
    const b = right instanceof Secret ? right.value : (right ?? null);
    if (isPlainObject(a) && isPlainObject(b)) {
      for (const key of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()) {
        visit(path === "" ? pathKey(key) : `${path}${/^[\w]+$/.test(key) ? "." : ""}${pathKey(key)}`, a[key], b[key]);
      }
    } else if (Array.isArray(a) && Array.isArray(b)) {
      for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
        visit(`${path}[${index}]`, a[index], b[index]);
      }
    } else {
      result[path] = a === null ? "add" : b === null ? "delete" : "update";
    }
  };
  visit("", olds, news);
  return result;
}

function pathKey(key: string): string {
  return /^\w+$/.test(key) ? key : `["${key.replaceAll('"', '\\"')}"]`;
}

/** The top-level property that a path of {@link diffProperties} belongs to. */
export function rootOfPath(path: string): string {
  return /^\["((?:[^"\\]|\\")*)"\]/.exec(path)?.[1]?.replaceAll('\\"', '"') ?? /^\w+/.exec(path)?.[0] ?? path;
}

/** Turns plain diff kinds into those that force a replacement where `replaces` says so. */
export function markReplaces(
  diffs: Record<string, "add" | "update" | "delete">,
  replaces: (path: string) => boolean,
): Record<string, PropertyDiffKind> {
  return Object.fromEntries(
    Object.entries(diffs).map(([path, kind]) => [path, replaces(path) ? (`${kind}-replace` as const) : kind]),
  );
}
