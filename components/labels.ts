import { ENSEMBLE_LABEL } from "../runtime/contracts/index.ts";

/** What a pod of the ensemble is: it decides which network policy applies to it. `weights`: what fills the models' store. */
export type PartKind = "model" | "orchestrator" | "weights";

/**
 * Labels of every object that belongs to one part of the ensemble. `app` and `ensemble` are the seed's and are what its
 * troubleshooting selects by; the rest is Kubernetes' recommended set.
 */
export function labelsFor(name: string, kind: PartKind): Record<string, string> {
  return {
    app: name,
    ensemble: ENSEMBLE_LABEL,
    "app.kubernetes.io/name": name,
    "app.kubernetes.io/component": kind,
    "app.kubernetes.io/part-of": ENSEMBLE_LABEL,
    "app.kubernetes.io/managed-by": "gorkheavy",
  };
}

/** Selects the pods of one part. Deployment and Service use the same, the seed's `app`. It cannot change on a living Deployment. */
export function selectorFor(name: string): Record<string, string> {
  return { app: name };
}

/** Selects every pod of the ensemble, or those of one kind. */
export function ensembleSelector(kind?: PartKind): Record<string, string> {
  return { ensemble: ENSEMBLE_LABEL, ...(kind === undefined ? {} : { "app.kubernetes.io/component": kind }) };
}
