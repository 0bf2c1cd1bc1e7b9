import { Fault } from "../../core/fault.ts";
import { hexOf, shown } from "./digest.ts";

/** A model's name, whole: `host/namespace/model:tag`, and the digest that it is pinned to. */
export interface ModelName {
  host: string;
  namespace: string;
  model: string;
  tag: string;
  /** 64 hex digits. Absent: not pinned. */
  digest?: string;
}

/** Host and namespace of short names. Source: ollama/ollama types/model/name.go, DefaultName. */
export const DEFAULT_HOST = "registry.ollama.ai";
const DEFAULT_NAMESPACE = "library";
const DEFAULT_TAG = "latest";

/** Longest name as a whole. */
const MOST = 512;

/**
 * The parts, stricter than Ollama's: each begins with a letter, a digit or `_`, so that none is hidden, an option or a way up, and no dot
 * follows another. Nothing here needs escaping in a path, a URL or a log.
 */
const PARTS = {
  host: /^[a-z0-9](?:[a-z0-9-]|\.(?=[a-z0-9])){0,252}(?::[0-9]{1,5})?$/i,
  namespace: /^[a-z0-9_](?:[a-z0-9_-]|\.(?=[a-z0-9_-])){0,79}$/i,
  model: /^[a-z0-9_](?:[a-z0-9_-]|\.(?=[a-z0-9_-])){0,127}$/i,
  tag: /^[a-z0-9_](?:[a-z0-9_-]|\.(?=[a-z0-9_-])){0,127}$/i,
} as const;

/**
 * Reads a name as Ollama does: `[host/][namespace/]model[:tag][@sha256:…]`.
 * @param defaultHost of names that name none
 * @throws Fault invalid_request naming the part that is none
 */
export function parseModelName(text: string, defaultHost = DEFAULT_HOST): ModelName {
  const bad = (part: string, got: string): Fault =>
    new Fault(
      "invalid_request",
      `model: the ${part} of ${shown(text)} is ${shown(got)}; want [host/][namespace/]family[:tag][@sha256:<64 hex digits>] of letters, digits and - _ .`,
    );
  if (text.length > MOST)
    throw new Fault("invalid_request", `model: a name of ${text.length} characters, want at most ${MOST}`);
  const at = text.indexOf("@");
  const digest = at === -1 ? undefined : hexOf(text.slice(at + 1), `digest of model ${shown(text.slice(0, at))}`);
  const name = at === -1 ? text : text.slice(0, at);
  const slash = name.lastIndexOf("/");
  const colon = name.indexOf(":", slash + 1);
  const parts = (colon === -1 ? name : name.slice(0, colon)).split("/");
  if (parts.length > 3) throw bad("path", name);
  const [model = "", namespace = DEFAULT_NAMESPACE, host = defaultHost] = parts.toReversed();
  const whole = { host: host.toLowerCase(), namespace, model, tag: colon === -1 ? DEFAULT_TAG : name.slice(colon + 1) };
  for (const part of ["host", "namespace", "model", "tag"] as const)
    if (!PARTS[part].test(whole[part])) throw bad(part, whole[part]);
  return { ...whole, ...(digest === undefined ? {} : { digest }) };
}

/** The name as people write it, without what goes without saying and without the pin. */
export function shortName({ host, namespace, model, tag }: ModelName, defaultHost = DEFAULT_HOST): string {
  const place =
    host === defaultHost ? (namespace === DEFAULT_NAMESPACE ? "" : `${namespace}/`) : `${host}/${namespace}/`;
  return `${place}${model}:${tag}`;
}

/** What two names that mean the same model have in common. Letters' case does not tell models apart, as in Ollama; files are named by it. */
export function nameKey({ host, namespace, model, tag }: ModelName): string {
  return [host, namespace, model, tag].join("/").toLowerCase();
}

/** The name of a manifest's path below `manifests/`; undefined for what no name makes. */
export function nameOfKey(key: string): ModelName | undefined {
  const [host = "", namespace = "", model = "", tag = "", ...more] = key.split("/");
  if (more.length > 0) return undefined;
  try {
    const name = parseModelName(`${host}/${namespace}/${model}:${tag}`);
    return nameKey(name) === key ? name : undefined;
  } catch {
    return undefined;
  }
}
