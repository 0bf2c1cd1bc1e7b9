import { createHash } from "node:crypto";
import { basename } from "node:path";
import { z } from "zod";
import type { ModelHost, ModelStoreSettings } from "../../contracts/model-store-config.ts";
import { Fault } from "../../core/fault.ts";
import { jsonOf } from "../../support/json.ts";
import { sleep } from "../../support/clock.ts";
import { isBroken } from "./codes.ts";
import { hexOf } from "./digest.ts";
import type { Wanted } from "./download.ts";
import { type Answer, discard, HostClient, textOf, type Wire } from "./host-client.ts";
import {
  kindOf,
  type Layer,
  MANIFEST_TYPES,
  MOST_MANIFEST_BYTES,
  MOST_TEXT_BYTES,
  parseManifest,
  weightsOf,
} from "./manifest.ts";
import { chooseGguf, profileNamed, tagsFor } from "./profile.ts";
import { backoffMs } from "./ranges.ts";
import type { Source } from "./source.ts";

/** A file of a model before it is here: what it is, and where it comes from. */
export type Piece = Pick<Layer, "mediaType" | "title"> & { from: Wanted | { path: string } };

/** A model at a place. */
export interface Resolved {
  /** Where it is, for people: no token, no query. */
  origin: string;
  /** Files, weights among them. */
  pieces: readonly Piece[];
  /** Digest of the registry's manifest, 64 hex digits. Absent elsewhere. */
  manifestHex?: string;
}

/** What a request for a model says beside its place. */
export interface Asked {
  /** Digest of the weights or of the manifest, 64 hex digits. */
  hex?: string;
  /** Name of a quantization profile. */
  profile?: string;
}

const GGUF = "application/vnd.ollama.image.model";
const SAFETENSORS = "application/vnd.gorkheavy.image.safetensors";
const COMPANION = "application/vnd.gorkheavy.image.file";

/** Finds models at their places. */
export class Resolver {
  readonly #settings: ModelStoreSettings;
  readonly #wire: Wire;
  readonly #clients = new Map<string, HostClient>();

  constructor(settings: ModelStoreSettings, wire: Wire) {
    this.#settings = settings;
    this.#wire = wire;
  }

  /** What has to be fetched. @throws Fault unknown_model, pull_failed, bad_model, invalid_request */
  resolve(source: Source, asked: Asked, signal: AbortSignal): Promise<Resolved> {
    switch (source.kind) {
      case "file":
        return Promise.resolve({
          origin: `file:${source.path}`,
          pieces: [{ mediaType: mediaTypeOf(source.path), title: titleOf(source.path), from: { path: source.path } }],
        });
      case "web":
        return Promise.resolve(this.#web(source.url, asked.hex));
      case "hub":
        return this.#hub(source, asked, signal);
      case "registry":
        return this.#registry(source, asked, signal);
    }
  }

  #client(name: string, host: ModelHost): HostClient {
    const known = this.#clients.get(name);
    if (known !== undefined) return known;
    const client = new HostClient(name, host, this.#wire);
    this.#clients.set(name, client);
    return client;
  }

  #host(name: string): HostClient {
    // A machine speaks plain HTTP to itself, as other clients of registries do.
    const usual = /^(localhost|127\.\d+\.\d+\.\d+)(:\d+)?$/.test(name) ? { url: `http://${name}` } : {};
    return this.#client(name, { ...usual, tokenHosts: [], ...this.#settings.hosts[name] });
  }

  #web(href: string, hex: string | undefined): Resolved {
    const url = new URL(href);
    const origin = `${url.origin}${url.pathname}`;
    if (hex === undefined && this.#settings.webDigest === "required")
      throw new Fault(
        "invalid_request",
        `${origin}: no digest; add @sha256:<64 hex digits>, or set store.webDigest to optional`,
      );
    const client = this.#client(url.origin, { tokenHosts: [], ...this.#settings.hosts[url.host], url: url.origin });
    const from: Wanted = {
      what: origin,
      address: href,
      ...(hex === undefined ? {} : { hex }),
      get: (headers, signal) => client.get(href, headers, signal),
      refusal: (status, what) => client.refusal(status, what),
    };
    return { origin, pieces: [{ mediaType: mediaTypeOf(url.pathname), title: titleOf(url.pathname), from }] };
  }

  async #registry(
    { host, repository, reference }: Extract<Source, { kind: "registry" }>,
    { hex, profile }: Asked,
    signal: AbortSignal,
  ): Promise<Resolved> {
    const client = this.#host(host);
    const tag = reference ?? "latest";
    const chosen = profile === undefined ? undefined : this.#profile(profile);
    const references =
      chosen !== undefined
        ? tagsFor(tag, chosen)
        : reference === undefined && hex !== undefined
          ? [`sha256:${hex}`, tag]
          : [tag];
    for (const one of references) {
      const where = `${host}/${repository}:${one}`;
      const path = `/v2/${repository}/manifests/${one}`;
      const answer = await this.#ask(client, path, { accept: MANIFEST_TYPES.join(", ") }, signal);
      if (answer.status === 404 && one !== references.at(-1)) {
        discard(answer);
        continue;
      }
      const text = await this.#text(client, answer, where, MOST_MANIFEST_BYTES);
      const manifestHex = createHash("sha256").update(text).digest("hex");
      if (one.startsWith("sha256:") && hexOf(one) !== manifestHex)
        throw new Fault("bad_model", `manifest of ${where}: it has digest sha256:${manifestHex}`);
      return { origin: where, manifestHex, pieces: this.#layers(client, repository, text, where) };
    }
    throw new Fault("unknown_model", `${host}/${repository}: none of the tags ${references.join(", ")} is there`);
  }

  #profile(name: string): NonNullable<ReturnType<typeof profileNamed>> {
    const profile = profileNamed(this.#settings.profiles, name);
    if (profile !== undefined) return profile;
    throw new Fault(
      "invalid_request",
      `profile: got ${name}, want one of ${Object.keys(this.#settings.profiles).join(", ")}`,
    );
  }

  #layers(client: HostClient, repository: string, text: string, where: string): Piece[] {
    const manifest = parseManifest(text, where);
    weightsOf(manifest, where);
    const wanted = manifest.layers.filter(
      (layer) => kindOf(layer) !== "other" || layer.mediaType.startsWith("application/vnd.ollama."),
    );
    return wanted.map(({ digest, size, mediaType, title }) => {
      if (kindOf({ mediaType, digest, size, title }) === "text" && size > MOST_TEXT_BYTES)
        throw new Fault("bad_model", `manifest of ${where}: a text of ${size} bytes, want at most ${MOST_TEXT_BYTES}`);
      const path = `/v2/${repository}/blobs/${digest}`;
      const from: Wanted = {
        what: `${where} ${digest.slice(0, 19)}`,
        address: `${client.base}${path}`,
        hex: hexOf(digest),
        size,
        get: (headers, signal) => client.get(path, headers, signal),
        refusal: (status, what) => client.refusal(status, what),
      };
      return { mediaType, ...(title === undefined ? {} : { title }), from };
    });
  }

  async #hub(
    { repository, revision = "main", pick }: Extract<Source, { kind: "hub" }>,
    { profile }: Asked,
    signal: AbortSignal,
  ): Promise<Resolved> {
    const client = this.#client("hf.co", this.#settings.hub);
    const where = `hf.co/${repository}`;
    const answer = await this.#ask(client, `/api/models/${repository}/revision/${revision}?blobs=true`, {}, signal);
    const text = await this.#text(client, answer, where, 4 * MOST_MANIFEST_BYTES);
    const found = HubModel.safeParse(jsonOf(text)).data;
    if (found === undefined) throw new Fault("pull_failed", `${where}: the hub's answer is no description of a model`);
    const offered = found.siblings.map((one) => ({
      path: one.rfilename,
      bytes: one.lfs?.size ?? one.size ?? 0,
      hex: one.lfs?.sha256,
    }));
    if (profile !== undefined) this.#profile(profile);
    const chosen =
      pick === "safetensors"
        ? offered.filter(({ path }) =>
            /^[A-Za-z0-9_][A-Za-z0-9._-]*\.(safetensors|safetensors\.index\.json|json|model|txt)$/.test(path),
          )
        : [chooseGguf(offered, profile ?? pick, this.#settings.profiles, where)];
    if (!chosen.some(({ path }) => mediaTypeOf(path) !== COMPANION))
      throw new Fault("unknown_model", `${where}: it has no safetensors file`);
    const pieces = chosen.map(({ path, bytes }): Piece => {
      const hex = offered.find((one) => one.path === path)?.hex;
      const at = `/${repository}/resolve/${found.sha}/${path.split("/").map(encodeURIComponent).join("/")}`;
      const from: Wanted = {
        what: `${where}/${path}`,
        address: `${client.base}${at}`,
        ...(hex === undefined ? {} : { hex }),
        size: bytes,
        get: (headers, stop) => client.get(at, headers, stop),
        refusal: (status, what) => client.refusal(status, what),
      };
      return { mediaType: mediaTypeOf(path), title: titleOf(path), from };
    });
    return { origin: `${where}@${found.sha}`, pieces };
  }

  async #text(client: HostClient, answer: Answer, where: string, mostBytes: number): Promise<string> {
    if (answer.status === 200) return textOf(answer, mostBytes, where);
    discard(answer);
    throw client.refusal(answer.status, where);
  }

  /** One GET, again after a while when the connection breaks or the server is not well. */
  async #ask(
    client: HostClient,
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Answer> {
    for (let failures = 0; ; failures++) {
      const last = failures >= this.#settings.retries;
      try {
        const answer = await client.get(path, headers, signal);
        if ((answer.status !== 429 && answer.status < 500) || last) return answer;
        discard(answer);
      } catch (error) {
        signal.throwIfAborted();
        if (!isBroken(error)) throw error;
        if (last)
          throw new Fault(
            "pull_failed",
            `${client.base}: cannot be reached after ${failures + 1} tries: ${(error as Error).message}`,
            {
              cause: error,
            },
          );
      }
      await sleep(backoffMs(failures + 1, Math.random()), signal);
    }
  }
}

/** What the hub says of a model. Source: huggingface.co/docs/hub/api, `GET /api/models/{repo_id}/revision/{revision}`. */
const HubModel = z.looseObject({
  sha: z.string().regex(/^[0-9a-f]{40,64}$/),
  siblings: z
    .array(
      z.looseObject({
        rfilename: z
          .string()
          .max(1_000)
          .regex(/^(?!.*(^|\/)\.{1,2}(\/|$))[^\0\\]+$/),
        size: z.int().min(0).nullish(),
        lfs: z.looseObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().min(0) }).nullish(),
      }),
    )
    .max(10_000),
});

function mediaTypeOf(path: string): string {
  if (/\.safetensors$/i.test(path)) return SAFETENSORS;
  return /\.(json|model|txt)$/i.test(path) ? COMPANION : GGUF;
}

/** A file's own name, where it is a plain one. */
function titleOf(path: string): string {
  const name = basename(path);
  return /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/.test(name) ? name : "model";
}
