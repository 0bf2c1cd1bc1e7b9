import type { CreateCall, DeleteCall, Properties, ReadCall, RunningCall, UpdateCall } from "../provider.ts";
import { ApiError, isNotFound, NoSuchKindError, UnreachableError } from "./api-error.ts";
import { assertInOrder, awaitGone, awaitReady, NotReadyError } from "./await/index.ts";
import type { Cluster } from "./cluster.ts";
import { pruneTo } from "./diff.ts";
import { ANNOTATIONS, fieldManagerOf, normalizedManifest, waitBudgetMs } from "./inputs.ts";
import { isPatchResource, parseTypeToken } from "./kinds.ts";
import {
  annotationOf,
  apiVersionOf,
  hasUnknown,
  isAnnotated,
  kindOf,
  markSecrets,
  objectId,
  parseObjectId,
  propertiesOf,
  without,
  withUnknownAt,
  withValueAt,
} from "./manifest.ts";
import type { JsonObject } from "./manifest.ts";
import { keyOf } from "./objects.ts";
import type { ObjectKey, Objects } from "./objects.ts";
import { importedInputs, inputsIn, liveIn, stateOf } from "./state.ts";
import { intentOf, isPreviewOnly, previewNew, refusal, titleOf, whenMissing, writeChange, writeNew } from "./write.ts";
import type { Intent } from "./write.ts";

/** What became of an object. */
export interface Outcome {
  id: string;
  inputs: Properties;
  properties: Properties;
  /** Set when the object exists but is not in order. */
  fault?: NotReadyError;
}

/** Parts of a Service that a dry run makes up anew. */
const ASSIGNED_TO_SERVICES = ["clusterIP", "clusterIPs", "healthCheckNodePort"];

/** Creates an object and waits until it is ready; in a preview asks what would be made. */
export async function createObject(cluster: Cluster, call: CreateCall): Promise<Outcome> {
  const manifest = normalizedManifest(call.inputs);
  const unseen: Outcome = { id: "", inputs: call.inputs, properties: call.inputs };
  if (call.preview) {
    const objects = hasUnknown(manifest) ? undefined : await cluster.glance();
    if (objects === undefined || isPatchResource(call.type, kindOf(manifest)?.kind)) return unseen;
    const manager = fieldManagerOf(call.urn, manifest, {});
    try {
      const intent = await intentOf(cluster, objects, manifest, manager, call.signal);
      const answer = await previewNew(intent, call.signal);
      if (answer === undefined) return unseen;
      return { ...unseen, properties: stateOf(openEnds(answer), manifest, call.inputs, manager) };
    } catch (error) {
      if (isPreviewOnly(error) || error instanceof UnreachableError) return unseen;
      throw refusal(error, titleOf(manifest), undefined);
    }
  }
  const objects = await reachable(cluster, call.signal);
  const manager = fieldManagerOf(call.urn, manifest, {});
  let intent: Intent | undefined;
  const applied = await whenMissing(call, async () => {
    intent = await intentOf(cluster, objects, manifest, manager, call.signal);
    return writeNew(cluster, intent, call);
  }).catch((error: unknown) => {
    throw refusal(error, titleOf(manifest), undefined);
  });
  return finish(objects, applied, manifest, manager, call, call.inputs);
}

/** What only the real run decides is unknown in a preview. */
function openEnds(answer: JsonObject): Properties {
  let open = without(answer, "status");
  for (const field of ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"]) {
    open = withUnknownAt(open, "metadata", field);
  }
  if (open["kind"] === "Service") for (const field of ASSIGNED_TO_SERVICES) open = withUnknownAt(open, "spec", field);
  return open;
}

/** Changes an object and waits until it is ready again; in a preview asks what would become of it. */
export async function updateObject(cluster: Cluster, call: UpdateCall): Promise<Outcome> {
  const manifest = normalizedManifest(call.news);
  const unseen: Outcome = { id: call.id, inputs: call.news, properties: call.news };
  const { name } = parseObjectId(call.id);
  const manager = fieldManagerOf(call.urn, manifest, call.olds);
  const named = hasUnknown(manifest) ? manifest : withValueAt(manifest, ["metadata", "name"], name);
  if (call.preview) {
    const objects = hasUnknown(manifest) ? undefined : await cluster.glance();
    if (objects === undefined) return unseen;
    try {
      const intent = await intentOf(cluster, objects, named, manager, call.signal);
      const answer = await writeChange(cluster, intent, call);
      return { ...unseen, properties: stateOf(answer, manifest, call.news, manager) };
    } catch (error) {
      if (isPreviewOnly(error) || error instanceof UnreachableError) return unseen;
      throw refusal(error, titleOf(manifest), name);
    }
  }
  const objects = await reachable(cluster, call.signal);
  try {
    const intent = await intentOf(cluster, objects, named, manager, call.signal);
    const applied = await writeChange(cluster, intent, call);
    const outcome = await finish(objects, applied, manifest, manager, call, call.news);
    const oldManager = fieldManagerOf(call.urn, {}, call.olds);
    if (oldManager !== manager) await objects.relinquish(applied, oldManager, { signal: call.signal });
    return { ...outcome, id: call.id };
  } catch (error) {
    throw refusal(error, titleOf(manifest), name);
  }
}

async function finish(
  objects: Objects,
  applied: JsonObject,
  manifest: Properties,
  manager: string,
  call: RunningCall,
  given: Properties,
): Promise<Outcome> {
  const outcome = (live: JsonObject): Outcome => ({
    id: objectId(applied),
    inputs: given,
    properties: stateOf(live, manifest, given, manager),
  });
  const key = keyOf(applied);
  if (key === undefined) return outcome(applied);
  const budgetMs = waitBudgetMs(call.timeoutMs, manifest);
  try {
    const { signal } = call;
    const live = await awaitReady({ objects, key, applied, inputs: manifest, budgetMs, signal, log: call.log });
    if (key.kind.kind === "CustomResourceDefinition") objects.kinds.forget();
    return outcome(live);
  } catch (error) {
    if (!(error instanceof NotReadyError)) throw error;
    return { ...outcome(error.live), fault: error };
  }
}

/** Reads an object for a refresh or an import; undefined when it is gone. */
export async function readObject(cluster: Cluster, call: ReadCall): Promise<Outcome | undefined> {
  const state = call.properties ?? {};
  const given = call.inputs ?? {};
  const objects = await reachable(cluster, call.signal).catch((error: unknown) => {
    if (cluster.settings.deleteUnreachable) return "gone" as const;
    if (cluster.settings.skipUpdateUnreachable) return "kept" as const;
    throw unreachable(error, "read");
  });
  if (objects === "gone") {
    call.log("warning", "the cluster cannot be reached and deleteUnreachable is set: taken out of the state");
    return undefined;
  }
  if (objects === "kept") return { id: call.id, inputs: given, properties: state };

  const oldInputs = normalizedManifest(given);
  const key = readKey(call, oldInputs, liveIn(state));
  const live = await objects.get(key, { signal: call.signal }).catch((error: unknown) => {
    if (isNotFound(error) || error instanceof NoSuchKindError) return undefined;
    throw error;
  });
  if (live === undefined) return undefined;

  const isImport = kindOf(oldInputs) === undefined;
  const inputs = isImport ? importedInputs(live) : pruneTo(live, oldInputs);
  const manager = fieldManagerOf(call.urn, inputs, state);
  const outcome: Outcome = {
    id: call.id === "" ? objectId(live) : call.id,
    inputs: markSecrets(propertiesOf(inputs), given),
    properties: stateOf(live, inputs, given, manager),
  };
  if (isImport) return outcome;
  try {
    await assertInOrder(objects, key, live, oldInputs, call.signal);
    return outcome;
  } catch (error) {
    if (!(error instanceof NotReadyError)) throw error;
    return { ...outcome, fault: error };
  }
}

function readKey(call: ReadCall, inputs: Properties, live: Properties): ObjectKey {
  const { namespace, name } = parseObjectId(call.id);
  const token = parseTypeToken(call.type);
  const kind =
    kindOf(inputs) ??
    kindOf(live) ??
    (token === undefined
      ? undefined
      : { group: token.group, version: token.version, kind: token.resource.replace(/Patch$/, "") });
  if (kind === undefined || name === "") {
    throw new Error(`id: got "${call.id}", want name or namespace/name of a ${call.type}`);
  }
  return { kind, namespace, name };
}

/** Deletes an object and waits until it is gone. What is gone already is well. A patch gives its fields back. */
export async function deleteObject(cluster: Cluster, call: DeleteCall): Promise<void> {
  const inputs = inputsIn(call.properties, call.inputs);
  const live = liveIn(call.properties);
  const key = keyOf(kindOf(live) === undefined ? inputs : live);
  if (key === undefined) throw new Error(`${call.id}: the state does not say what kind of object this is`);
  const { namespace, name } = parseObjectId(call.id);
  const target = { ...key, namespace, name };
  const objects = await reachable(cluster, call.signal).catch((error: unknown) => {
    if (cluster.settings.deleteUnreachable) return undefined;
    throw unreachable(error, "delete");
  });
  if (objects === undefined) {
    call.log("warning", "the cluster cannot be reached and deleteUnreachable is set: taken out of the state");
    return;
  }
  try {
    await deleteAndWait(objects, target, inputs, fieldManagerOf(call.urn, inputs, call.properties), call);
  } catch (error) {
    if (isNotFound(error) || error instanceof NoSuchKindError) return;
    throw error;
  }
}

async function deleteAndWait(
  objects: Objects,
  key: ObjectKey,
  inputs: Properties,
  manager: string,
  call: DeleteCall,
): Promise<void> {
  const patience = { signal: call.signal };
  const live = await objects.get(key, patience);
  if (isPatchResource(call.type, key.kind.kind)) {
    await objects.relinquish(live, manager, patience).catch((error: unknown) => {
      const required =
        error instanceof ApiError ? error.causes.find((cause) => cause.reason === "FieldValueRequired") : undefined;
      if (required === undefined) throw error;
      throw new Error(
        `${required.field}: this patch owns a required field, so it cannot be deleted; set retainOnDelete or give the field to another manager`,
        { cause: error },
      );
    });
    return;
  }
  await objects.delete(key, propagationOf(inputs), patience);
  if (key.kind.kind === "CustomResourceDefinition") objects.kinds.forget();
  if (
    isAnnotated(inputs, ANNOTATIONS.skipAwait) &&
    SKIPS_AWAIT_ON_DELETE.has(`${apiVersionOf(key.kind)}/${key.kind.kind}`)
  ) {
    return;
  }
  const budgetMs = waitBudgetMs(call.timeoutMs, inputs);
  await awaitGone({ objects, key, applied: live, budgetMs, signal: call.signal, log: call.log });
}

/** Kinds whose `skipAwait` holds for their deletion, too. Source: pulumi-kubernetes overrides.go, v4.32. */
const SKIPS_AWAIT_ON_DELETE = new Set([
  "apps/v1/DaemonSet",
  "apps/v1/Deployment",
  "apps/v1/StatefulSet",
  "batch/v1/Job",
  "v1/Namespace",
  "v1/Pod",
  "v1/ReplicationController",
]);

function propagationOf(inputs: Properties): "Foreground" | "Background" | "Orphan" {
  const policy = annotationOf(inputs, ANNOTATIONS.deletionPropagation)?.toLowerCase();
  if (policy === "orphan") return "Orphan";
  return policy === "background" ? "Background" : "Foreground";
}

async function reachable(cluster: Cluster, signal: AbortSignal): Promise<Objects> {
  return cluster.reach({ signal }).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : "no reason given";
    throw new UnreachableError(`configured Kubernetes cluster is unreachable: ${reason}`, error);
  });
}

function unreachable(error: unknown, verb: string): Error {
  const reason = error instanceof Error ? error.message : "the cluster cannot be reached";
  return new Error(
    `${reason}. The object was not ${verb === "read" ? "read" : "deleted"}; if the cluster is gone, run again with ` +
      "PULUMI_K8S_DELETE_UNREACHABLE=true to take its objects out of the state",
    { cause: error },
  );
}
