import { setTimeout as pause } from "node:timers/promises";
import type { LogLevel, Properties } from "../../provider.ts";
import { isNotFound } from "../api-error.ts";
import { ANNOTATIONS } from "../inputs.ts";
import { annotationOf, apiVersionOf, isAnnotated, listAt, textAt } from "../manifest.ts";
import type { JsonObject } from "../manifest.ts";
import type { ObjectKey, Objects } from "../objects.ts";
import { conditionsOf, describe } from "./conditions.ts";
import {
  claimReadiness,
  customReadiness,
  definitionReadiness,
  quotaReadiness,
  secretReadiness,
  serviceReadiness,
  volumeReadiness,
} from "./network-and-storage.ts";
import type { Readiness, ReadinessCheck, Waiting } from "./readiness.ts";
import {
  daemonSetReadiness,
  deploymentReadiness,
  jobReadiness,
  podReadiness,
  statefulSetReadiness,
} from "./workloads.ts";

/** Kinds that are not ready the moment they exist, by `apiVersion/kind`. An Ingress is taken as it is. */
const CHECKS = new Map<string, ReadinessCheck>([
  ["apiextensions.k8s.io/v1/CustomResourceDefinition", definitionReadiness],
  ["apps/v1/DaemonSet", daemonSetReadiness],
  ["apps/v1/Deployment", deploymentReadiness],
  ["apps/v1/StatefulSet", statefulSetReadiness],
  ["batch/v1/Job", jobReadiness],
  ["v1/PersistentVolume", volumeReadiness],
  ["v1/PersistentVolumeClaim", claimReadiness],
  ["v1/Pod", podReadiness],
  ["v1/ResourceQuota", quotaReadiness],
  ["v1/Secret", secretReadiness],
  ["v1/Service", serviceReadiness],
]);
/** Kinds that a refresh looks into, as the real provider does (awaiters.go, awaitRead, v4.32). */
const CHECKED_IN_REFRESH = new Set(["DaemonSet", "Deployment", "Job", "Pod", "Service", "StatefulSet"]);

/** Polls start fast, since most things are ready within a second or two, and slow down. */
const FIRST_POLL_MS = 200;
const MAX_POLL_MS = 1_500;
/** How often the problems of what is awaited are told. */
const REPORT_EVERY_MS = 15_000;

/** The object exists, but is not in order. */
export class NotReadyError extends Error {
  readonly live: JsonObject;
  /** One line for each thing that is wrong. */
  readonly reasons: string[];
  constructor(message: string, live: JsonObject, reasons: string[]) {
    super(message);
    this.name = "NotReadyError";
    this.live = live;
    this.reasons = [...new Set(reasons)];
  }
}

/** What to wait for, and how long. */
export interface Wait {
  objects: Objects;
  key: ObjectKey;
  /** The object as the apply left it. */
  applied: JsonObject;
  inputs: Properties;
  budgetMs: number;
  signal: AbortSignal;
  log(level: LogLevel, text: string): void;
}

/** Waits until the object is ready and gives its last state. @throws NotReadyError on deadline, interrupt and failure. */
export async function awaitReady(wait: Wait): Promise<JsonObject> {
  const check = checkOf(wait.key, wait.inputs);
  if (check === undefined) return wait.applied;
  const startedMs = Date.now();
  // The engine's own clock stops this call at the same time; the report must come before that.
  const deadlineMs = startedMs + wait.budgetMs - Math.min(1_000, wait.budgetMs / 5);
  const notes = new Map<string, string>();
  let live = wait.applied;
  let reportedMs = startedMs;
  let lastStatus = "";
  for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * 1.3, MAX_POLL_MS)) {
    const waiting = waitingFor(wait, live, notes, Date.now() - startedMs, wait.signal);
    // While the API server restarts, nothing can be seen; the deadline still holds.
    const readiness = await check(waiting).catch((error: unknown) => unseen(error));
    if (readiness.isReady) return live;
    const isOver = wait.signal.aborted || Date.now() >= deadlineMs || readiness.isHopeless === true;
    if (isOver) throw await notReady(wait, readiness, live, notes, Date.now() - startedMs);
    if (Date.now() - reportedMs >= REPORT_EVERY_MS) {
      reportedMs = Date.now();
      const lines = [readiness.status, ...(await readiness.problems().catch(() => []))];
      const status = [...new Set(lines)].join("\n");
      if (status !== lastStatus) wait.log("info", status);
      lastStatus = status;
    }
    await pause(pollMs, undefined, { signal: wait.signal }).catch(() => undefined);
    live = await look(wait, live);
  }
}

/** Looks once whether an object is in order, for a refresh. @throws NotReadyError when it is not. */
export async function assertInOrder(
  objects: Objects,
  key: ObjectKey,
  live: JsonObject,
  inputs: Properties,
  signal: AbortSignal,
): Promise<void> {
  const check = CHECKED_IN_REFRESH.has(key.kind.kind) ? checkOf(key, inputs) : undefined;
  if (check === undefined) return;
  const { namespace, name } = key;
  const readiness = await check({
    objects,
    namespace,
    name,
    live,
    elapsedMs: undefined,
    notes: new Map(),
    signal,
  });
  if (readiness.isReady) return;
  throw new NotReadyError(`${key.kind.kind} "${name}" exists but is not ready`, live, await readiness.problems());
}

function checkOf(key: ObjectKey, inputs: Properties): ReadinessCheck | undefined {
  if (isAnnotated(inputs, ANNOTATIONS.skipAwait)) return undefined;
  const custom = annotationOf(inputs, ANNOTATIONS.waitFor);
  if (custom !== undefined && custom !== "") return customReadiness(custom);
  return CHECKS.get(`${apiVersionOf(key.kind)}/${key.kind.kind}`);
}

function waitingFor(
  wait: Wait,
  live: JsonObject,
  notes: Map<string, string>,
  elapsedMs: number,
  signal: AbortSignal | undefined,
): Waiting {
  const { objects, key } = wait;
  return { objects, namespace: key.namespace, name: key.name, live, elapsedMs, notes, signal };
}

/** The object as it is now; as it was when it cannot be seen. */
async function look(wait: Wait, last: JsonObject): Promise<JsonObject> {
  try {
    return await wait.objects.get(wait.key, { signal: wait.signal, budgetMs: 10_000 });
  } catch (error) {
    if (isNotFound(error)) throw new NotReadyError(`"${wait.key.name}" was deleted while it was awaited`, last, []);
    return last;
  }
}

function unseen(error: unknown): Readiness {
  const status = `the API server cannot be asked: ${error instanceof Error ? error.message : "no reason given"}`;
  return { isReady: false, status, problems: () => Promise.resolve([status]) };
}

async function notReady(
  wait: Wait,
  last: Readiness,
  live: JsonObject,
  notes: Map<string, string>,
  elapsedMs: number,
): Promise<NotReadyError> {
  const { kind } = wait.key.kind;
  const what = `${kind} "${wait.key.name}"`;
  if (last.isHopeless === true) return new NotReadyError(`${what} failed`, live, await last.problems().catch(() => []));
  // The call's own signal may have ended already; the last look goes without it.
  const check = checkOf(wait.key, wait.inputs);
  const waiting = waitingFor(wait, live, notes, elapsedMs, AbortSignal.timeout(5_000));
  const reasons = await (check?.(waiting) ?? Promise.resolve(last))
    .then((seen) => seen.problems())
    .catch(() => [last.status]);
  const isInterrupted = wait.signal.aborted && elapsedMs < wait.budgetMs - 2_000;
  const how = isInterrupted
    ? "was interrupted before it was ready"
    : `was not ready after ${Math.round(elapsedMs / 1000)} s`;
  return new NotReadyError(`${what} ${how}`, live, reasons);
}

/** Waits until the object is gone; another object of the same name counts as gone. @throws Error on the deadline. */
export async function awaitGone(wait: Omit<Wait, "inputs">): Promise<void> {
  const startedMs = Date.now();
  const uid = textAt(wait.applied, "metadata", "uid");
  for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * 1.3, MAX_POLL_MS)) {
    const live = await wait.objects.find(wait.key, { signal: wait.signal });
    if (live === undefined || textAt(live, "metadata", "uid") !== uid) return;
    if (Date.now() - startedMs > wait.budgetMs - Math.min(1_000, wait.budgetMs / 5))
      throw new Error(stuck(wait, live, startedMs));
    await pause(pollMs, undefined, { signal: wait.signal });
  }
}

/** Conditions in which a namespace says what it still waits for. */
const LEFT_OVER = ["NamespaceContentRemaining", "NamespaceFinalizersRemaining", "NamespaceDeletionContentFailure"];

function stuck(wait: Omit<Wait, "inputs">, live: JsonObject, startedMs: number): string {
  const finalizers = listAt(live, "metadata", "finalizers").filter((item) => typeof item === "string");
  const seconds = Math.round((Date.now() - startedMs) / 1000);
  const left = conditionsOf(live).filter((entry) => LEFT_OVER.includes(entry.type) && entry.status === "True");
  return [
    `${wait.key.kind.kind} "${wait.key.name}" still exists ${seconds} s after its deletion was asked for`,
    `finalizers: ${finalizers.length > 0 ? finalizers.join(", ") : "none"}`,
    ...left.map(describe),
  ].join("; ");
}
