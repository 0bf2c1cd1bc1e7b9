import type { DiffCall, DiffResult, Properties } from "../provider.ts";
import { conditionOf } from "./await/conditions.ts";
import type { Cluster } from "./cluster.ts";
import { changesOf, toDiffResult } from "./diff.ts";
import { ANNOTATIONS, isNamed, normalizedManifest } from "./inputs.ts";
import { isPatchResource } from "./kinds.ts";
import { isAnnotated, kindOf, nameOf, namespaceOf, textAt, withValueAt } from "./manifest.ts";
import { replacingFields } from "./replace-rules.ts";
import { inputsIn, liveIn } from "./state.ts";
import { keyOf } from "./objects.ts";

/**
 * What an update would change: the inputs of last time against those of now. A refresh writes what is live into the
 * inputs, so that drift shows up here, too.
 */
export async function diffObject(cluster: Cluster, call: DiffCall): Promise<DiffResult> {
  const live = liveIn(call.olds);
  const wanted = await scoped(cluster, normalizedManifest(call.news));
  let before = await scoped(cluster, normalizedManifest(inputsIn(call.olds, call.oldInputs)));
  const oldName = nameOf(live) ?? nameOf(before);
  // A program may at last name the object as it is called already.
  if (isNamed(wanted) && oldName !== undefined) before = withValueAt(before, ["metadata", "name"], oldName);

  const kind = textAt(wanted, "kind");
  const isPatch = isPatchResource(call.type, kind);
  const fields = replacingFields(wanted, isPatch, cluster.settings);
  const result = toDiffResult(changesOf(before, wanted), fields, call.ignoreChanges);
  if (isAnnotated(wanted, ANNOTATIONS.replaceUnready) && (await isUnreadyJob(cluster, live))) {
    result.changes = true;
    result.replaces.push(`metadata.annotations["${ANNOTATIONS.replaceUnready}"]`);
  }
  const keepsName =
    isNamed(wanted) &&
    !isAnnotated(wanted, ANNOTATIONS.autonamed) &&
    nameOf(wanted) === oldName &&
    (namespaceOf(wanted) ?? "default") === (namespaceOf(live) ?? namespaceOf(before) ?? "default");
  return { ...result, deleteBeforeReplace: result.replaces.length > 0 && keepsName };
}

/** Spells the namespace out, or leaves it out where there is none, so that both sides compare alike. */
async function scoped(cluster: Cluster, manifest: Properties): Promise<Properties> {
  const kind = kindOf(manifest);
  if (kind === undefined) return manifest;
  if (!(await cluster.isNamespaced(kind))) return withValueAt(manifest, ["metadata", "namespace"], undefined);
  const metadata = manifest["metadata"];
  const isOpen = typeof metadata !== "object" || metadata === null || !("namespace" in metadata);
  return isOpen ? withValueAt(manifest, ["metadata", "namespace"], "default") : manifest;
}

async function isUnreadyJob(cluster: Cluster, live: Properties): Promise<boolean> {
  const key = keyOf(live);
  if (key === undefined || key.kind.kind !== "Job") return false;
  const objects = await cluster.glance();
  const job = await objects?.find(key, { budgetMs: 5_000 }).catch(() => undefined);
  return job !== undefined && conditionOf(job, "Complete")?.status !== "True";
}
