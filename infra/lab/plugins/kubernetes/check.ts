import type { CheckCall, CheckFailure, Properties } from "../provider.ts";
import type { Cluster } from "./cluster.ts";
import { isNamed, normalizedManifest, withAutoname } from "./inputs.ts";
import { isBuiltIn, isListResource, isPatchResource, parseTypeToken, plannedScope } from "./kinds.ts";
import {
  apiVersionOf,
  hasUnknown,
  jsonObjectOf,
  kindOf,
  manifestOf,
  markSecrets,
  nameOf,
  propertiesOf,
  textAt,
  valueAt,
  withValueAt,
} from "./manifest.ts";

/**
 * Checks what a program asks for and fills in what it left out: a made-up name, the namespace.
 * @throws Error for what is no object at all (lists, Helm releases).
 */
export async function checkResource(
  cluster: Cluster,
  call: CheckCall,
): Promise<{ inputs: Properties; failures: CheckFailure[] }> {
  const token = parseTypeToken(call.type);
  if (token === undefined || token.group === "helm.sh") {
    throw new Error(`${call.type}: the lab's kubernetes stand-in does not have this resource; use plain objects`);
  }
  if (isListResource(call.type)) {
    throw new Error(`${call.type}: lists cannot be created; use a resource for each object in it`);
  }
  let manifest = normalizedManifest(call.news);
  const failures = await kindFailures(cluster, call.type, manifest);
  const kind = kindOf(manifest);
  if (kind === undefined || failures.length > 0) return { inputs: call.news, failures };

  if (isPatchResource(call.type, kind.kind) && !isNamed(manifest)) {
    failures.push({ property: "metadata.name", reason: "none given; a patch must name the object that it changes" });
  }
  if (textAt(manifest, "metadata", "generateName") !== undefined && nameOf(manifest) === undefined) {
    failures.push({
      property: "metadata.generateName",
      reason: "not supported with server-side apply; leave the name out",
    });
  }
  if (failures.length > 0) return { inputs: call.news, failures };

  const olds = call.olds === undefined || Object.keys(call.olds).length === 0 ? undefined : manifestOf(call.olds);
  manifest = withAutoname(manifest, call.name, olds, call);
  const { defaultNamespace } = cluster;
  const hasNamespace = valueAt(manifest, "metadata", "namespace") !== undefined;
  if (!hasNamespace && defaultNamespace !== undefined && (await cluster.isNamespaced(kind))) {
    manifest = withValueAt(manifest, ["metadata", "namespace"], defaultNamespace);
  }
  if (kind.kind === "CustomResourceDefinition" && !hasUnknown(manifest)) {
    const planned = plannedScope(jsonObjectOf(manifest));
    if (planned !== undefined) cluster.plannedScopes.set(...planned);
  }
  return { inputs: markSecrets(propertiesOf(manifest), call.news), failures };
}

async function kindFailures(cluster: Cluster, type: string, manifest: Properties): Promise<CheckFailure[]> {
  const token = parseTypeToken(type);
  const kind = kindOf(manifest);
  const missing = ["apiVersion", "kind"].filter((property) => textAt(manifest, property) === undefined);
  if (token === undefined || kind === undefined) {
    return missing.map((property) => ({ property, reason: "none given; every Kubernetes object needs one" }));
  }
  if (token.group !== kind.group || token.version !== kind.version) {
    const wanted = apiVersionOf({ ...token, kind: kind.kind });
    return [{ property: "apiVersion", reason: `got "${apiVersionOf(kind)}", want "${wanted}" for ${type}` }];
  }
  if (token.resource !== kind.kind && token.resource !== `${kind.kind}Patch`) {
    return [
      { property: "kind", reason: `got "${kind.kind}", want "${token.resource.replace(/Patch$/, "")}" for ${type}` },
    ];
  }
  // A custom kind may come with a definition of the same program; a built-in one must be there.
  if (!isBuiltIn(kind.group)) return [];
  const patience = { budgetMs: 3_000 };
  const kinds = (await cluster.glance())?.kinds;
  if (kinds === undefined) return [];
  const mapping = await kinds.find(kind, patience).catch(() => "unseen" as const);
  if (mapping !== undefined) return [];
  return [{ property: "kind", reason: `the cluster has no kind "${kind.kind}" in "${apiVersionOf(kind)}"` }];
}
