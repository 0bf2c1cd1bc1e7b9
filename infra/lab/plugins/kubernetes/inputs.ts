import { createHash } from "node:crypto";
import type { Autonaming, Properties } from "../provider.ts";
import { Unknown } from "../provider.ts";
import { isPlainObject } from "../values.ts";
import { SERVER_METADATA } from "./diff.ts";
import { isBuiltIn } from "./kinds.ts";
import { annotationOf, isAnnotated, kindOf, manifestOf, nameOf, objectAt, valueAt, withValueAt } from "./manifest.ts";
import { withCanonicalQuantities } from "./quantity.ts";

/** Annotations that steer the provider. Source: pulumi-kubernetes provider/pkg/metadata/annotations.go, v4.32. */
export const ANNOTATIONS = {
  autonamed: "pulumi.com/autonamed",
  skipAwait: "pulumi.com/skipAwait",
  waitFor: "pulumi.com/waitFor",
  timeoutSeconds: "pulumi.com/timeoutSeconds",
  replaceUnready: "pulumi.com/replaceUnready",
  patchForce: "pulumi.com/patchForce",
  fieldManager: "pulumi.com/patchFieldManager",
  deletionPropagation: "pulumi.com/deletionPropagationPolicy",
} as const;

/** Hex digits that make a made-up name unique. Source: pulumi sdk/go/common/resource, NewUniqueName, v3.250.0. */
const RANDOM_NAME_DIGITS = 8;

/**
 * The manifest that a program's properties mean, spelled as the API server spells it: no fields that only the server
 * writes, canonical quantities, a Secret's `stringData` as `data`. Two properties that mean the same come out equal.
 */
export function normalizedManifest(properties: Properties): Properties {
  let manifest = manifestOf(properties);
  for (const field of SERVER_METADATA) manifest = withValueAt(manifest, ["metadata", field], undefined);
  const kind = kindOf(manifest);
  if (kind === undefined || !isBuiltIn(kind.group)) return manifest;
  if (kind.kind === "CustomResourceDefinition") return withValueAt(manifest, ["status"], undefined);
  if (kind.group === "" && kind.kind === "Secret") return withEncodedStringData(manifest);
  return withCanonicalQuantities(manifest);
}

/** The API server writes `stringData` over `data`, encoded. Source: Kubernetes v1.34 pkg/apis/core/v1/conversion.go. */
function withEncodedStringData(manifest: Properties): Properties {
  const given = manifest["stringData"];
  if (!isPlainObject(given)) return manifest;
  const data = { ...objectAt(manifest, "data") };
  for (const [key, value] of Object.entries(given)) {
    // What is not known yet stays so, under the name that it will have.
    data[key] = typeof value === "string" ? Buffer.from(value, "utf8").toString("base64") : value;
  }
  return withValueAt({ ...manifest, data }, ["stringData"], undefined);
}

/** True when the object has a name, known or not yet. */
export function isNamed(manifest: Properties): boolean {
  const metadata = manifest["metadata"];
  return (
    metadata instanceof Unknown ||
    valueAt(manifest, "metadata", "name") instanceof Unknown ||
    nameOf(manifest) !== undefined
  );
}

/** Names an object that has no name: as before when that was made up too, else anew from `randomSeed`. */
export function withAutoname(
  manifest: Properties,
  logicalName: string,
  olds: Properties | undefined,
  naming: { randomSeed: Uint8Array; autonaming?: Autonaming },
): Properties {
  if (isNamed(manifest)) return manifest;
  const named = (name: string) =>
    withValueAt(
      withValueAt(manifest, ["metadata", "name"], name),
      ["metadata", "annotations", ANNOTATIONS.autonamed],
      "true",
    );
  const oldName = olds === undefined ? undefined : nameOf(olds);
  if (olds !== undefined && oldName !== undefined && isAnnotated(olds, ANNOTATIONS.autonamed)) return named(oldName);
  if (olds !== undefined && nameOf(olds) !== undefined) return manifest;
  if (naming.autonaming?.mode === "disable") {
    throw new Error("metadata.name: none given, and pulumi:autonaming is disabled; set a name");
  }
  if (naming.autonaming !== undefined && naming.autonaming.proposedName !== "")
    return named(naming.autonaming.proposedName);
  // An empty seed comes from engines that send none: then the name must still differ from the one it replaces.
  const seed = naming.randomSeed.length > 0 ? naming.randomSeed : crypto.getRandomValues(new Uint8Array(32));
  const digits = createHash("sha256").update(seed).update(logicalName).digest("hex").slice(0, RANDOM_NAME_DIGITS);
  return named(`${logicalName}-${digits}`);
}

/**
 * Field manager of a resource: the one that its annotation names, else the one in its state, else one made from its
 * URN, so that an `up` that was killed before it wrote its state goes on under the same name.
 */
export function fieldManagerOf(urn: string, manifest: Properties, state: Properties): string {
  const annotated = annotationOf(manifest, ANNOTATIONS.fieldManager);
  if (annotated !== undefined && annotated !== "") return annotated;
  const kept = state["__fieldManager"];
  if (typeof kept === "string" && kept !== "") return kept;
  return `pulumi-kubernetes-${createHash("sha256").update(urn).digest("hex").slice(0, 8)}`;
}

/** How long to wait for an object, ms: the resource option, else the annotation, else ten minutes as the real provider. */
export function waitBudgetMs(timeoutMs: number, manifest: Properties): number {
  if (timeoutMs > 0) return timeoutMs;
  const annotated = annotationOf(manifest, ANNOTATIONS.timeoutSeconds);
  if (annotated !== undefined && /^\d+$/.test(annotated)) return Number(annotated) * 1000;
  return 600_000;
}
