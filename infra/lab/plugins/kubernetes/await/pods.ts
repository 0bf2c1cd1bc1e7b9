import type { JsonObject } from "../manifest.ts";
import { listAt, nameOf, namespaceOf, numberAt, objectAt, textAt, valueAt } from "../manifest.ts";
import type { Value } from "../../provider.ts";
import { conditionOf } from "./conditions.ts";
import type { Waiting } from "./readiness.ts";

const POD = { group: "", version: "v1", kind: "Pod" };
const EVENT = { group: "", version: "v1", kind: "Event" };
/** Words that only say that things take their course. */
const ON_THE_WAY = new Set(["ContainerCreating", "PodInitializing"]);

/** The pods of an owner, by its uid. */
export async function podsOf(waiting: Waiting, ownerUid: string): Promise<JsonObject[]> {
  const pods = await waiting.objects.list(POD, waiting.namespace, {}, { signal: waiting.signal });
  return pods.filter((pod) => ownedBy(pod, ownerUid));
}

/** True when `ownerUid` is among the object's owners. */
export function ownedBy(live: JsonObject, ownerUid: string): boolean {
  return listAt(live, "metadata", "ownerReferences").some((owner) => textAt(owner, "uid") === ownerUid);
}

/** What keeps pods from being ready, in their own words and their latest warning's. Empty when all are. */
export async function podProblems(waiting: Waiting, pods: readonly JsonObject[]): Promise<string[]> {
  const lines: string[] = [];
  for (const pod of pods) {
    const faults = podFaults(pod);
    if (faults === undefined) continue;
    const warnings = await warningsAbout(waiting, pod);
    const parts = [...faults, ...warnings.filter((warning) => !faults.some((fault) => fault.includes(warning)))];
    lines.push(`[Pod ${qualifiedName(pod)}]: ${parts.length > 0 ? parts.join("; ") : "not ready yet"}`);
  }
  return lines;
}

/** Why one pod is not ready, one line a fault; undefined when it is ready or has done its work. */
export function podFaults(pod: JsonObject): string[] | undefined {
  const ready = conditionOf(pod, "Ready");
  const phase = textAt(pod, "status", "phase");
  if (ready?.status === "True" || phase === "Succeeded") return undefined;
  const scheduled = conditionOf(pod, "PodScheduled");
  if (scheduled !== undefined && scheduled.status !== "True") {
    return [`[${scheduled.reason === "" ? "Unschedulable" : scheduled.reason}] ${scheduled.message}`.trim()];
  }
  const faults = [...listAt(pod, "status", "initContainerStatuses"), ...listAt(pod, "status", "containerStatuses")]
    .filter((status) => valueAt(status, "ready") !== true)
    .flatMap(containerFaults);
  const initialized = conditionOf(pod, "Initialized");
  const said = initialized !== undefined && initialized.status !== "True" ? initialized : ready;
  if (said !== undefined && said.message !== "") faults.unshift(said.message);
  const reason = textAt(pod, "status", "reason");
  if (reason !== undefined) faults.unshift(`[${reason}] ${textAt(pod, "status", "message") ?? ""}`.trim());
  return faults;
}

function containerFaults(status: Value): string[] {
  const name = textAt(status, "name") ?? "";
  const faults: string[] = [];
  const waiting = objectAt(status, "state", "waiting");
  const waitingReason = textAt(waiting, "reason");
  if (waitingReason !== undefined && !ON_THE_WAY.has(waitingReason)) {
    faults.push(`container "${name}": [${waitingReason}] ${textAt(waiting, "message") ?? ""}`.trim());
  }
  const ended = terminated(name, objectAt(status, "state", "terminated"));
  const endedBefore = terminated(name, objectAt(status, "lastState", "terminated"));
  // An init container that did its work is no fault.
  if (ended !== undefined && numberAt(status, "state", "terminated", "exitCode") !== 0) faults.push(ended);
  if (endedBefore !== undefined) faults.push(endedBefore);
  return faults;
}

function terminated(name: string, state: Value): string | undefined {
  const reason = textAt(state, "reason");
  const exitCode = numberAt(state, "exitCode");
  if (reason === undefined && exitCode === undefined) return undefined;
  const message = textAt(state, "message");
  return `container "${name}" ended with exit code ${exitCode ?? "unknown"} (${reason ?? "no reason"})${message === undefined ? "" : `: ${message.trim()}`}`;
}

/** The last warning of each reason about an object: failed probes, failed mounts, no room on any node. */
export async function warningsAbout(waiting: Waiting, live: JsonObject): Promise<string[]> {
  const uid = textAt(live, "metadata", "uid");
  if (uid === undefined) return [];
  const query = { fieldSelector: `involvedObject.uid=${uid},type=Warning` };
  const events = await waiting.objects
    .list(EVENT, namespaceOf(live) ?? "default", query, { signal: waiting.signal, budgetMs: 5_000 })
    // Events only explain; without them the failure is reported all the same.
    .catch(() => []);
  const lastByReason = new Map(events.map((event) => [textAt(event, "reason") ?? "", textAt(event, "message") ?? ""]));
  return [...lastByReason].map(([reason, message]) => `[${reason}] ${message}`);
}

/** `namespace/name`, without the namespace `default`. */
export function qualifiedName(live: JsonObject): string {
  const namespace = namespaceOf(live);
  const name = nameOf(live) ?? "";
  return namespace === undefined || namespace === "default" ? name : `${namespace}/${name}`;
}
