import { isDeepStrictEqual } from "node:util";
import { listAt, objectAt, textAt, valueAt } from "../manifest.ts";
import { withCanonicalQuantities } from "../quantity.ts";
import { conditionOf, conditionsOf, describe } from "./conditions.ts";
import { warningsAbout } from "./pods.ts";
import { pending, READY } from "./readiness.ts";
import type { Readiness, Waiting } from "./readiness.ts";

const ENDPOINTS = { group: "", version: "v1", kind: "Endpoints" };
const STORAGE_CLASS = { group: "storage.k8s.io", version: "v1", kind: "StorageClass" };
/**
 * A Service whose endpoints stay empty this long counts as ready: its pods may come later in the program.
 * Source: pulumi-kubernetes provider/pkg/await/service.go, v4.32 (10 s after the last change).
 */
const ENDPOINTS_SETTLE_MS = 10_000;

/** Ready when it directs traffic to ready pods only; headless, selector-less and external ones at once. */
export async function serviceReadiness(waiting: Waiting): Promise<Readiness> {
  const { live } = waiting;
  const type = textAt(live, "spec", "type") ?? "ClusterIP";
  if (type === "LoadBalancer" && listAt(live, "status", "loadBalancer", "ingress").length === 0) {
    return pending(
      "Waiting for the load balancer's address",
      "the Service got no load balancer address; does this cluster have a load balancer?",
    );
  }
  const isHeadless = textAt(live, "spec", "clusterIP") === "None";
  const hasSelector = Object.keys(objectAt(live, "spec", "selector")).length > 0;
  if (type === "ExternalName" || isHeadless || !hasSelector) return READY;

  const key = { kind: ENDPOINTS, namespace: waiting.namespace, name: waiting.name };
  const endpoints = await waiting.objects.find(key, { signal: waiting.signal });
  const subsets = endpoints === undefined ? [] : listAt(endpoints, "subsets");
  const isPending = subsets.some((subset) => listAt(subset, "notReadyAddresses").length > 0);
  const hasReady = subsets.some((subset) => listAt(subset, "addresses").length > 0);
  if (!isPending && (hasReady || isSettled(waiting, JSON.stringify(subsets)))) return READY;
  return pending(
    isPending ? "Waiting for the pods behind the Service" : "Waiting for pods to direct traffic to",
    "the Service does not target ready pods only; its pods may not be ready, or spec.selector may match none",
  );
}

/** True when `state` has not changed for long enough; a refresh takes it as it is. */
function isSettled(waiting: Waiting, state: string): boolean {
  const { elapsedMs, notes } = waiting;
  if (elapsedMs === undefined) return true;
  if (notes.get("endpoints") !== state) {
    notes.set("endpoints", state);
    notes.set("since", String(elapsedMs));
  }
  return elapsedMs - Number(notes.get("since")) >= ENDPOINTS_SETTLE_MS;
}

/** Ready when bound, or pending where its storage class waits for the first consumer. */
export async function claimReadiness(waiting: Waiting): Promise<Readiness> {
  const { live } = waiting;
  const phase = textAt(live, "status", "phase") ?? "Pending";
  if (phase === "Bound") return READY;
  const className = textAt(live, "spec", "storageClassName") ?? "";
  const storageClass =
    className === ""
      ? undefined
      : await waiting.objects.find(
          { kind: STORAGE_CLASS, namespace: undefined, name: className },
          { signal: waiting.signal },
        );
  if (phase === "Pending" && textAt(storageClass, "volumeBindingMode") === "WaitForFirstConsumer") return READY;
  return {
    isReady: false,
    isHopeless: phase === "Lost",
    status: `Waiting for the claim to be bound (${phase})`,
    async problems() {
      const reason =
        storageClass === undefined
          ? [`storage class "${className}" does not exist`]
          : [`the claim is ${phase}, not Bound`];
      return [...reason, ...(await warningsAbout(waiting, live))];
    },
  };
}

/** Ready when available or bound. */
export async function volumeReadiness(waiting: Waiting): Promise<Readiness> {
  const phase = textAt(waiting.live, "status", "phase") ?? "Pending";
  return phase === "Available" || phase === "Bound" ? READY : pending(`Waiting for the volume (${phase})`);
}

/** Ready when the API server serves its kind. */
export async function definitionReadiness(waiting: Waiting): Promise<Readiness> {
  const refused = conditionOf(waiting.live, "NamesAccepted");
  if (refused?.status === "False") {
    return { ...pending("Waiting for the names to be accepted", describe(refused)), isHopeless: true };
  }
  return conditionOf(waiting.live, "Established")?.status === "True"
    ? READY
    : pending("Waiting for the kind to be established");
}

/** Ready when the quota controller has taken the limits over. */
export async function quotaReadiness(waiting: Waiting): Promise<Readiness> {
  const canonical = (side: string) => withCanonicalQuantities({ hard: objectAt(waiting.live, side, "hard") });
  return isDeepStrictEqual(canonical("spec"), canonical("status"))
    ? READY
    : pending("Waiting for the quota controller");
}

/** A service account's token is written into its Secret by a controller; every other Secret is ready at once. */
export async function secretReadiness(waiting: Waiting): Promise<Readiness> {
  if (textAt(waiting.live, "type") !== "kubernetes.io/service-account-token") return READY;
  return Object.keys(objectAt(waiting.live, "data")).length > 0 ? READY : pending("Waiting for the account's token");
}

/**
 * What `pulumi.com/waitFor` asks for: one expression or a JSON array of them, each `condition=Type[=Status]` or
 * `jsonpath={.status.phase}[=value]` with a path of plain names.
 * @throws Error on any other expression.
 */
export function customReadiness(annotation: string): (waiting: Waiting) => Promise<Readiness> {
  const checks = expressionsOf(annotation).map((expression) => ({ expression, holds: parseExpression(expression) }));
  return (waiting) => {
    const open = checks.filter(({ holds }) => !holds(waiting)).map(({ expression }) => expression);
    if (open.length === 0) return Promise.resolve(READY);
    const conditions = conditionsOf(waiting.live).filter((condition) => condition.status !== "True");
    return Promise.resolve(
      pending(`Waiting for ${open.join(", ")}`, `${open.join(", ")} does not hold`, ...conditions.map(describe)),
    );
  };
}

function expressionsOf(annotation: string): string[] {
  if (!annotation.trimStart().startsWith("[")) return [annotation];
  const parsed: unknown = JSON.parse(annotation);
  const expressions = Array.isArray(parsed) ? parsed.filter((item) => typeof item === "string") : [];
  if (expressions.length === 0) throw new Error("pulumi.com/waitFor: want at least one expression");
  return expressions;
}

function parseExpression(expression: string): (waiting: Waiting) => boolean {
  const condition = /^condition=([^=]+)(?:=(.+))?$/.exec(expression);
  if (condition !== null) {
    const [, type = "", status = "True"] = condition;
    return ({ live }) => conditionOf(live, type)?.status.toLowerCase() === status.toLowerCase();
  }
  const path = /^jsonpath=\{?((?:\.[A-Za-z0-9_-]+)+)\}?(?:=(.+))?$/.exec(expression);
  if (path === null) {
    throw new Error(
      `pulumi.com/waitFor: got "${expression}", want condition=Type[=Status] or jsonpath={.plain.path}[=value]`,
    );
  }
  const [, steps = "", wanted] = path;
  return ({ live }) => {
    const found = valueAt(live, ...steps.slice(1).split("."));
    if (wanted === undefined) return found !== undefined && found !== null;
    return typeof found === "object" ? false : String(found) === wanted;
  };
}
