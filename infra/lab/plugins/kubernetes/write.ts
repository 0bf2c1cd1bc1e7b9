import { setTimeout as pause } from "node:timers/promises";
import type { CreateCall, Properties, RunningCall, UpdateCall } from "../provider.ts";
import { ApiError, NoSuchKindError } from "./api-error.ts";
import { awaitGone } from "./await/index.ts";
import type { Cluster } from "./cluster.ts";
import { ANNOTATIONS, waitBudgetMs } from "./inputs.ts";
import { isPatchResource } from "./kinds.ts";
import { isAnnotated, nameOf, objectId, textAt, valueAt, withValueAt } from "./manifest.ts";
import type { JsonObject } from "./manifest.ts";
import { isOurs, keyOf, owns } from "./objects.ts";
import type { ObjectKey, Objects } from "./objects.ts";

/** An object that is about to be written. */
export interface Intent {
  objects: Objects;
  key: ObjectKey;
  manifest: Properties;
  fieldManager: string;
}

/** Waits between tries when a namespace or a kind is not there yet. */
const RETRY_PAUSES_MS = [500, 1_000, 2_000, 4_000, 8_000, 16_000];

/** Settles where an object goes, now that the cluster can be asked. @throws NoSuchKindError */
export async function intentOf(
  cluster: Cluster,
  objects: Objects,
  manifest: Properties,
  fieldManager: string,
  signal: AbortSignal,
): Promise<Intent> {
  const key = keyOf(manifest);
  if (key === undefined || key.name === "") throw new Error("metadata.name: not known; the object cannot be written");
  const { isNamespaced } = await objects.kinds.get(key.kind, { signal });
  const namespace = isNamespaced ? (key.namespace ?? cluster.defaultNamespace ?? "default") : undefined;
  return {
    objects,
    key: { ...key, namespace },
    manifest: withValueAt(manifest, ["metadata", "namespace"], namespace),
    fieldManager,
  };
}

/** Creates an object, or takes over one that an interrupted run left. Waits out a deletion that is under way. */
export async function writeNew(cluster: Cluster, intent: Intent, call: CreateCall): Promise<JsonObject> {
  const { objects, key, manifest, fieldManager } = intent;
  const patience = { signal: call.signal };
  const isPatch = isPatchResource(call.type, key.kind.kind);
  let existing = await objects.find(key, patience);
  if (existing !== undefined && textAt(existing, "metadata", "deletionTimestamp") !== undefined) {
    call.log("info", `Waiting until the old ${key.kind.kind} "${key.name}" is gone`);
    const budgetMs = waitBudgetMs(call.timeoutMs, manifest);
    await awaitGone({ objects, key, applied: existing, budgetMs, signal: call.signal, log: call.log });
    existing = undefined;
  }
  if (existing !== undefined && !isPatch) {
    if (!cluster.settings.upsertExistingObjects) admitExisting(existing, key, call);
    await objects.takeOver(existing, fieldManager, patience);
  }
  const force = isForced(cluster, manifest);
  return objects.apply(manifest, key.name, { ...patience, fieldManager, force, dryRun: false });
}

/** An object of an earlier run is gone on with, and said so; anybody else's is left alone. */
function admitExisting(existing: JsonObject, key: ObjectKey, call: RunningCall): void {
  const id = objectId(existing);
  if (!isOurs(existing)) {
    throw new Error(
      `${key.kind.kind} "${id}" already exists in the cluster. Import it (pulumi import), change single fields of it ` +
        "with a …Patch resource, or set upsertExistingObjects on the provider to take it over",
    );
  }
  call.log(
    "warning",
    `${key.kind.kind} "${id}" was left by an interrupted run and is taken over. The real provider does so only with ` +
      "upsertExistingObjects: true on the kubernetes.Provider",
  );
}

/** Changes an object. CustomResourceDefinitions are replaced whole, as the real provider does. */
export async function writeChange(cluster: Cluster, intent: Intent, call: UpdateCall): Promise<JsonObject> {
  const { objects, key, fieldManager } = intent;
  const patience = { signal: call.signal };
  const live = await objects.get(key, patience);
  const dryRun = call.preview;
  if (key.kind.kind === "CustomResourceDefinition" && key.kind.group === "apiextensions.k8s.io") {
    return objects.replace(intent.manifest, live, { ...patience, fieldManager, dryRun });
  }
  const isPatch = isPatchResource(call.type, key.kind.kind);
  if (!dryRun && !isPatch) await objects.takeOver(live, fieldManager, patience);
  const manifest = withIgnored(intent.manifest, live, fieldManager, call.ignoreChanges);
  // In a preview nobody takes fields over, so conflicts with earlier managers say nothing.
  const force = isForced(cluster, manifest) || (dryRun && isOurs(live));
  return objects.apply(manifest, key.name, { ...patience, fieldManager, force, dryRun });
}

/** What a create would make, by a dry run. Undefined when that cannot be told before it is done. */
export async function previewNew(intent: Intent, signal: AbortSignal): Promise<JsonObject | undefined> {
  const { objects, key, manifest, fieldManager } = intent;
  const options = { signal, budgetMs: 10_000, fieldManager, force: true, dryRun: true };
  try {
    return await objects.apply(manifest, key.name, options);
  } catch (error) {
    if (!isImmutable(error)) throw error;
    // A replacement: the old object is still there under this name, so another name stands in.
    const standIn = `${key.name.slice(0, 200)}-preview`;
    const renamed = withValueAt(manifest, ["metadata", "name"], standIn);
    const answer = await objects.apply(renamed, standIn, options);
    const metadata = answer["metadata"];
    return typeof metadata === "object" && metadata !== null && !Array.isArray(metadata)
      ? { ...answer, metadata: { ...metadata, name: key.name } }
      : undefined;
  }
}

function isImmutable(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    error.status === 422 &&
    /immutable|may not be (changed|updated)|updates to .* are forbidden/i.test(error.message)
  );
}

/** True for refusals of a dry run that say nothing about the real run. */
export function isPreviewOnly(error: unknown): boolean {
  if (error instanceof NoSuchKindError) return true;
  if (!(error instanceof ApiError)) return false;
  if (error.status === 403 || error.status === 404) return true;
  return error.status === 400 && error.message.includes("does not support dry run");
}

/** Tries again while a namespace or a kind that the program makes at the same time is not there yet. */
export async function whenMissing<T>(call: RunningCall, write: () => Promise<T>): Promise<T> {
  for (const pauseMs of RETRY_PAUSES_MS) {
    try {
      return await write();
    } catch (error) {
      if (!mayComeSoon(error)) throw error;
    }
    await pause(pauseMs, undefined, { signal: call.signal });
  }
  return write();
}

function mayComeSoon(error: unknown): boolean {
  if (error instanceof NoSuchKindError) return true;
  if (!(error instanceof ApiError)) return false;
  if (error.status === 404) return true;
  // A new namespace gets its service account a moment later.
  if (error.status === 403 && error.message.includes("serviceaccount")) return true;
  return error.status === 409 && !error.isFieldConflict;
}

function isForced(cluster: Cluster, manifest: Properties): boolean {
  return cluster.settings.enablePatchForce || isAnnotated(manifest, ANNOTATIONS.patchForce);
}

/** Ignored fields keep what is live; those that somebody else owns are not named at all. Paths through arrays stay. */
function withIgnored(
  manifest: Properties,
  live: JsonObject,
  fieldManager: string,
  ignored: readonly string[],
): Properties {
  let result = manifest;
  for (const text of ignored) {
    const path = text.split(".");
    if (path.some((step) => /[[\]"*]/.test(step))) continue;
    const value = valueAt(live, ...path);
    if (value === undefined) continue;
    result = withValueAt(result, path, owns(live, fieldManager, path) ? value : undefined);
  }
  return result;
}

/** What to tell the user when a write was refused. */
export function refusal(error: unknown, what: string, intentName: string | undefined): Error {
  if (error instanceof NoSuchKindError) {
    return new Error(`${what}: ${error.message}; make its CustomResourceDefinition first`, { cause: error });
  }
  if (error instanceof ApiError && error.isFieldConflict) {
    return new Error(
      `${what}: ${error.message}. Another field manager owns these fields; set the annotation ${ANNOTATIONS.patchForce}: "true" to take them`,
      { cause: error },
    );
  }
  if (error instanceof ApiError && error.status === 404 && intentName !== undefined) {
    return new Error(`${what}: ${error.message}; it is not in the cluster any more, run pulumi refresh`, {
      cause: error,
    });
  }
  return error instanceof Error ? new Error(`${what}: ${error.message}`, { cause: error }) : new Error(what);
}

/** Name for messages: `Deployment "models/judge"`. */
export function titleOf(manifest: Properties): string {
  return `${textAt(manifest, "kind") ?? "object"} "${nameOf(manifest) === undefined ? "?" : objectId(manifest)}"`;
}
