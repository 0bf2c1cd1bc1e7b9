import { isDeepStrictEqual } from "node:util";
import { Unknown } from "../provider.ts";
import type { DiffResult, Properties, PropertyDiffKind, Value } from "../provider.ts";
import { isPlainObject } from "../values.ts";
import { touches } from "./replace-rules.ts";
import type { Path } from "./replace-rules.ts";

/** Fields of `metadata` that only the server writes. Source: Kubernetes API reference v1.34, ObjectMeta. */
export const SERVER_METADATA = [
  "creationTimestamp",
  "deletionGracePeriodSeconds",
  "deletionTimestamp",
  "generation",
  "managedFields",
  "resourceVersion",
  "selfLink",
  "uid",
];

/** One property that differs. */
export interface Change {
  path: Path;
  kind: "add" | "update" | "delete";
  /** What is wanted now; undefined when deleted. */
  value: Value | undefined;
}

/** Everything in which `wanted` differs from `current`, deepest path first reached. Null counts as absent. */
export function changesOf(current: Value | undefined, wanted: Value | undefined, path: Path = []): Change[] {
  const before = current ?? undefined;
  const after = wanted ?? undefined;
  if (after === undefined) return before === undefined ? [] : [{ path, kind: "delete", value: undefined }];
  if (before === undefined) return [{ path, kind: "add", value: after }];
  if (after instanceof Unknown) return [{ path, kind: "update", value: after }];
  if (isPlainObject(before) && isPlainObject(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys].flatMap((key) => changesOf(before[key], after[key], [...path, key]));
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    const length = Math.max(before.length, after.length);
    return Array.from({ length }, (_, index) => changesOf(before[index], after[index], [...path, index])).flat();
  }
  return isDeepStrictEqual(before, after) ? [] : [{ path, kind: "update", value: after }];
}

/** Changes as the engine wants them: paths as text, those that force a new object marked. */
export function toDiffResult(
  changes: readonly Change[],
  replacing: readonly Path[],
  ignored: readonly string[],
): DiffResult & { detailed: Record<string, PropertyDiffKind> } {
  const detailed: Record<string, PropertyDiffKind> = {};
  const replaces: string[] = [];
  for (const change of changes) {
    const path = propertyPath(change.path);
    if (ignored.some((prefix) => isBelow(path, prefix))) continue;
    const isReplacing = touches(replacing, change.path, change.value);
    detailed[path] = isReplacing ? `${change.kind}-replace` : change.kind;
    if (isReplacing) replaces.push(path);
  }
  return { changes: Object.keys(detailed).length > 0, replaces, detailed };
}

/** `spec.template.spec.containers[0].image`, with `["a.b"]` for keys that hold dots, quotes or brackets. */
export function propertyPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (/[."[\]]/.test(step)) text += `["${step.replaceAll('"', '\\"')}"]`;
    else text += text === "" ? step : `.${step}`;
  }
  return text;
}

function isBelow(path: string, prefix: string): boolean {
  return path === prefix || path.startsWith(`${prefix}.`) || path.startsWith(`${prefix}[`);
}

/**
 * What a live object says about the things that the program set: the live values in the shape of `shape`. Things that
 * the server added, and array elements beyond those of `shape`, are left out; things that are gone stay gone.
 */
export function pruneTo(live: Properties, shape: Properties): Properties {
  const pruned: Properties = {};
  for (const [key, wanted] of Object.entries(shape)) {
    const value = live[key];
    if (value !== undefined) pruned[key] = pruneValue(value, wanted);
    // The server drops false, 0, "" and empty lists that are the default anyway; that is no drift.
    else if (isEmpty(wanted)) pruned[key] = wanted;
  }
  return pruned;
}

function pruneValue(live: Value, shape: Value): Value {
  if (isPlainObject(live) && isPlainObject(shape)) return pruneTo(live, shape);
  if (Array.isArray(live) && Array.isArray(shape)) {
    return live.slice(0, shape.length).map((item, index) => pruneValue(item, shape[index] ?? null));
  }
  return live;
}

function isEmpty(value: Value): boolean {
  if (value === null || value === false || value === 0 || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return isPlainObject(value) && Object.values(value).every(isEmpty);
}
