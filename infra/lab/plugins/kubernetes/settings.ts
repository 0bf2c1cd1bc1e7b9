import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { Secret, Unknown } from "../provider.ts";
import type { DiffResult, Properties, Value } from "../provider.ts";

/** Settings of the provider that are no strings; the SDK sends these as JSON text. */
export const BOOLEAN_SETTINGS = [
  "deleteUnreachable",
  "enableConfigMapMutable",
  "enablePatchForce",
  "enableSecretMutable",
  "enableServerSideApply",
  "skipUpdateUnreachable",
  "suppressDeprecationWarnings",
  "suppressHelmHookWarnings",
  "upsertExistingObjects",
] as const;

const TEXT_SETTINGS = ["cluster", "clusterIdentifier", "context", "kubeconfig", "namespace"];
/** Settings of the real provider that this stand-in has no use for but whose presence changes nothing. */
const IGNORED_SETTINGS = ["kubeClientSettings", "helmReleaseSettings", "version", "pluginDownloadURL"];
/** Settings that turn the provider into something this stand-in is not. */
const REFUSED_SETTINGS = ["renderYamlToDirectory", "alwaysRender", "strictMode", "rejectUnknownResources"];

/** What the program says about the cluster and how to treat it, with the real provider's defaults. */
export interface KubernetesSettings {
  /** Contents of the kubeconfig; undefined when none was given. */
  kubeconfig: string | undefined;
  /** Name of the context in it. @default - its current context */
  context: string | undefined;
  /** Name of the cluster in it. @default - the context's */
  cluster: string | undefined;
  /** Namespace for objects that name none. @default - the context's, else `default` */
  namespace: string | undefined;
  /** Take objects of an unreachable cluster out of the state instead of failing. @default false */
  deleteUnreachable: boolean;
  /** Leave objects of an unreachable cluster as they are instead of failing. @default false */
  skipUpdateUnreachable: boolean;
  /** Change ConfigMaps in place instead of replacing them. @default false */
  enableConfigMapMutable: boolean;
  /** Change Secrets in place instead of replacing them. @default false */
  enableSecretMutable: boolean;
  /** Take fields from other managers on every apply. @default false */
  enablePatchForce: boolean;
  /** Create takes over an object that exists already. @default false */
  upsertExistingObjects: boolean;
}

/** Everything that is wrong with the provider's inputs, one line for each. Never quotes a kubeconfig. */
export function settingFailures(inputs: Properties): { property: string; reason: string }[] {
  const failures: { property: string; reason: string }[] = [];
  for (const [property, raw] of Object.entries(inputs)) {
    const value = plain(raw);
    if (value === null || value instanceof Unknown || IGNORED_SETTINGS.includes(property)) continue;
    if (property.startsWith("__")) continue;
    if (REFUSED_SETTINGS.includes(property)) {
      if (value !== false && value !== "") {
        failures.push({ property, reason: "the lab's kubernetes stand-in does not support this setting; remove it" });
      }
    } else if (TEXT_SETTINGS.includes(property)) {
      if (typeof value !== "string") failures.push({ property, reason: `got a ${typeof value}, want text` });
    } else if (BOOLEAN_SETTINGS.some((name) => name === property)) {
      if (truth(value) === undefined) failures.push({ property, reason: "want true or false" });
      else if (property === "enableServerSideApply" && truth(value) === false) {
        failures.push({ property, reason: "got false; the lab's kubernetes stand-in only applies server-side" });
      }
    } else {
      failures.push({
        property,
        reason: `unknown setting; known are ${[...TEXT_SETTINGS, ...BOOLEAN_SETTINGS].join(", ")}`,
      });
    }
  }
  return failures;
}

/** Reads the provider's settings. Absent and unknown ones get their default. @throws Error on a wrong type. */
export function readSettings(config: Properties): KubernetesSettings {
  const [failure] = settingFailures(config);
  if (failure !== undefined) throw new Error(`kubernetes:${failure.property}: ${failure.reason}`);
  const text = (name: string): string | undefined => {
    const value = plain(config[name] ?? null);
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const flag = (name: (typeof BOOLEAN_SETTINGS)[number], environment?: string): boolean =>
    truth(plain(config[name] ?? null)) ?? (environment !== undefined && process.env[environment] === "true");
  const kubeconfig = text("kubeconfig");
  return {
    kubeconfig: kubeconfig === undefined ? undefined : kubeconfigContents(kubeconfig),
    context: text("context"),
    cluster: text("cluster"),
    namespace: text("namespace"),
    deleteUnreachable: flag("deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE"),
    skipUpdateUnreachable: flag("skipUpdateUnreachable", "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE"),
    enableConfigMapMutable: flag("enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
    enableSecretMutable: flag("enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
    enablePatchForce: flag("enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
    upsertExistingObjects: flag("upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
  };
}

/** The contents of a kubeconfig given as contents or as a path; `~/` is the home directory. */
export function kubeconfigContents(pathOrContents: string): string {
  const path = pathOrContents.startsWith("~/") ? join(homedir(), pathOrContents.slice(2)) : pathOrContents;
  // Contents have line breaks or braces; a path in the lab never has.
  if (/[\n{]/.test(path) || !existsSync(path)) return pathOrContents;
  return readFileSync(path, "utf8");
}

/**
 * Whether changed settings mean another cluster, as the real provider decides it (DiffConfig, v4.32): a changed
 * `clusterIdentifier` replaces, an unchanged one never does, else the active cluster's entry decides.
 * `activeCluster` gives that entry as text, undefined when a kubeconfig has none.
 */
export async function diffSettings(
  olds: Properties,
  news: Properties,
  activeCluster: (config: Properties) => Promise<string | undefined>,
): Promise<DiffResult> {
  const changed = [...new Set([...Object.keys(olds), ...Object.keys(news)])].filter(
    (key) => key !== "version" && fingerprint(olds[key]) !== fingerprint(news[key]),
  );
  if (changed.length === 0) return { changes: false, replaces: [] };
  const oldIdentifier = plain(olds["clusterIdentifier"] ?? null);
  const newIdentifier = plain(news["clusterIdentifier"] ?? null);
  if (oldIdentifier !== null && newIdentifier !== null) {
    return { changes: true, replaces: changed.includes("clusterIdentifier") ? ["clusterIdentifier"] : [] };
  }
  const pointers = ["kubeconfig", "context", "cluster"];
  const unknown = pointers.find((key) => plain(news[key] ?? null) instanceof Unknown);
  if (unknown !== undefined) return { changes: true, replaces: [unknown] };
  const before = await activeCluster(olds);
  const after = await activeCluster(news);
  const moved = before !== undefined && after !== undefined && before !== after;
  return { changes: true, replaces: moved ? pointers.filter((key) => changed.includes(key)) : [] };
}

/** The value of a setting without its secret wrapper. */
export function plain(value: Value): Value {
  return value instanceof Secret ? plain(value.value) : value;
}

function truth(value: Value): boolean | undefined {
  if (value === true || value === "true") return true;
  return value === false || value === "false" ? false : undefined;
}

function fingerprint(value: Value | undefined): string {
  return JSON.stringify(plain(value ?? null));
}
