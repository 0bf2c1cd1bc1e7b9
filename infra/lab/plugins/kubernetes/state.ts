import { Secret } from "../provider.ts";
import type { Properties } from "../provider.ts";
import { isPlainObject } from "../values.ts";
import { isJsonObject, manifestOf, markSecrets, propertiesOf, textAt, without } from "./manifest.ts";
import type { JsonObject } from "./manifest.ts";

/** Keys of the state that are no part of the object. Source: pulumi-kubernetes provider/pkg/provider, v4.32. */
const INPUTS = "__inputs";
const API_VERSION = "__initialApiVersion";
const FIELD_MANAGER = "__fieldManager";

/**
 * What the state holds of an object, as the real provider lays it out: the live object, the inputs that made it, and
 * who manages its fields. `given` are the user's properties; what is secret there is secret in all of it.
 */
export function stateOf(live: Properties, inputs: Properties, given: Properties, fieldManager: string): Properties {
  return {
    ...markSecrets(propertiesOf(live), given),
    [INPUTS]: markSecrets(propertiesOf(inputs), given),
    [API_VERSION]: textAt(inputs, "apiVersion") ?? "",
    [FIELD_MANAGER]: fieldManager,
  };
}

/** The live object in a state, secrets unwrapped. */
export function liveIn(state: Properties): Properties {
  return manifestOf(without(state, INPUTS, API_VERSION, FIELD_MANAGER));
}

/** The inputs in a state, secrets unwrapped; `fallback` when the state holds none. */
export function inputsIn(state: Properties, fallback: Properties): Properties {
  const kept = state[INPUTS];
  const inputs = kept instanceof Secret ? kept.value : kept;
  return manifestOf(isPlainObject(inputs) ? inputs : fallback);
}

/** Inputs for a resource that is imported: the live object without what only the server writes. */
export function importedInputs(live: JsonObject): Properties {
  const { metadata } = live;
  const rest = without(live, "status", "metadata");
  if (!isJsonObject(metadata)) return rest;
  const kept: Properties = {};
  for (const key of ["name", "namespace", "labels", "annotations", "finalizers"]) {
    const value = metadata[key];
    if (value !== undefined) kept[key] = value;
  }
  const annotations = kept["annotations"];
  if (isPlainObject(annotations)) {
    const own = Object.entries(annotations).filter(
      ([name]) =>
        name !== "deployment.kubernetes.io/revision" && name !== "kubectl.kubernetes.io/last-applied-configuration",
    );
    kept["annotations"] = Object.fromEntries(own);
    if (own.length === 0) Reflect.deleteProperty(kept, "annotations");
  }
  return { ...rest, metadata: kept };
}
