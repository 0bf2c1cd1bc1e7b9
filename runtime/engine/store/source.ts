import { resolve as absolute } from "node:path";
import { Fault } from "../../core/fault.ts";
import { hexOf, shown } from "./digest.ts";
import type { ModelName } from "./name.ts";

/** A place that a model comes from. */
export type Source =
  | { kind: "file"; path: string }
  | { kind: "web"; url: string }
  | { kind: "hub"; repository: string; revision?: string; pick?: string }
  | { kind: "registry"; host: string; repository: string; reference?: string };

/** Hosts in front of names that mean Hugging Face. */
const HUB_HOSTS = new Set(["hf.co", "huggingface.co"]);

const HOST = /^[a-z0-9](?:[a-z0-9-]|\.(?=[a-z0-9])){0,252}(?::[0-9]{1,5})?$/i;
/** A repository's path. Source: the OCI distribution specification, "Pulling manifests". */
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*){0,15}$/i;
const REFERENCE = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const HUB_REPOSITORY = /^[A-Za-z0-9][A-Za-z0-9._-]{0,95}\/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/;
/** A file in a repository of the hub, folders and all; no part of it is hidden or leads up. */
const HUB_FILE = /^[A-Za-z0-9_][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*)*$/;

/** Takes a digest off the end of a source. @returns what is left, and the 64 hex digits. @throws Fault invalid_request */
export function splitPin(text: string): { rest: string; hex?: string } {
  const at = text.lastIndexOf("@sha");
  if (at === -1) return { rest: text };
  return { rest: text.slice(0, at), hex: hexOf(text.slice(at + 1), `digest after ${shown(text.slice(0, at))}`) };
}

/** The place that a name means when nobody says another. */
export function sourceOfName({ host, namespace, model, tag }: ModelName): Source {
  if (!HUB_HOSTS.has(host)) return { kind: "registry", host, repository: `${namespace}/${model}`, reference: tag };
  return { kind: "hub", repository: `${namespace}/${model}`, ...(tag === "latest" ? {} : { pick: tag }) };
}

/**
 * Reads a source: `file:PATH`, `https://…`, `hf.co/ORG/REPO[@REVISION][:FILE or QUANTIZATION]`, `oci:HOST/REPOSITORY[:TAG]`, or a model's name.
 * @param nameOf reads a model's name
 * @throws Fault invalid_request naming what it got
 */
export function parseSource(text: string, nameOf: (text: string) => ModelName): Source {
  const bad = (why: string): Fault =>
    new Fault(
      "invalid_request",
      `source: got ${shown(text.replace(/\/\/[^/@]*@/, "//…@").replace(/[?#].*$/, "?…"))}: ${why}; want file:PATH, https://…, hf.co/ORG/REPO[:FILE or QUANTIZATION], oci:HOST/REPOSITORY[:TAG] or a model's name`,
    );
  if (text.startsWith("file:")) {
    const path = text.slice("file:".length).replace(/^\/\/(?=\/)/, "");
    if (path === "" || path.includes("\0")) throw bad("no path");
    return { kind: "file", path: absolute(path) };
  }
  if (/^https?:\/\//i.test(text)) {
    if (!URL.canParse(text)) throw bad("no URL");
    const url = new URL(text);
    if (url.username !== "" || url.password !== "")
      throw bad("a user and password in a URL end up in logs; use store.hosts");
    url.hash = "";
    return { kind: "web", url: url.href };
  }
  if (text.startsWith("oci:")) return ociSource(text.slice("oci:".length), bad);
  const slash = text.indexOf("/");
  if (HUB_HOSTS.has(text.slice(0, Math.max(0, slash)).toLowerCase())) return hubSource(text.slice(slash + 1), bad);
  return sourceOfName(nameOf(text));
}

function ociSource(text: string, bad: (why: string) => Fault): Source {
  const slash = text.indexOf("/");
  const host = text.slice(0, Math.max(0, slash));
  const path = text.slice(slash + 1);
  const colon = path.indexOf(":");
  const repository = colon === -1 ? path : path.slice(0, colon);
  const reference = colon === -1 ? undefined : path.slice(colon + 1);
  if (!HOST.test(host)) throw bad("no host");
  if (!REPOSITORY.test(repository)) throw bad("no repository");
  if (reference !== undefined && !REFERENCE.test(reference)) throw bad("no tag");
  return { kind: "registry", host: host.toLowerCase(), repository, ...(reference === undefined ? {} : { reference }) };
}

function hubSource(text: string, bad: (why: string) => Fault): Source {
  const [, repository = "", revision, pick] = /^([^@:]+)(?:@([^:]+))?(?::(.+))?$/.exec(text) ?? [];
  if (!HUB_REPOSITORY.test(repository) || repository.includes("..")) throw bad("no repository");
  if (revision !== undefined && !REFERENCE.test(revision)) throw bad("no revision");
  if (pick !== undefined && (!HUB_FILE.test(pick) || pick.length > 500)) throw bad("no file or quantization");
  return {
    kind: "hub",
    repository,
    ...(revision === undefined ? {} : { revision }),
    ...(pick === undefined ? {} : { pick }),
  };
}
