import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";

/** Bytes that a registry has: in memory, or a file's. */
export type Content = Buffer | { path: string; bytes: number };

/** One request as the registry saw it. */
export interface Seen {
  path: string;
  range?: string;
  ifRange?: string;
  authorization?: string;
}

/** What goes wrong, set by a test while the registry runs. */
export interface Faults {
  /** Answers with this instead of a blob; undefined goes on as usual. */
  status?: (path: string, times: number) => number | undefined;
  /** Closes the connection after so many bytes of a blob's answer. */
  cutAfter?: (times: number) => number | undefined;
  /** Sends so many bytes of a blob's answer, then nothing. */
  stallAfter?: (times: number) => number | undefined;
  /** Bytes after which a blob is another: ETag and content change. */
  changeAfter?: { bytes: number; to: Buffer };
  /** Knows no ranges. */
  noRanges?: boolean;
  /** Where blobs are redirected to: a base address. */
  redirectTo?: string;
  /** Pause between two pieces of 64 KiB, ms. */
  pauseMs?: number;
}

/** A registry on loopback: the OCI protocol, files by HTTP, and the hub's API. */
export interface Registry {
  url: string;
  /** `127.0.0.1:port`, as it stands in front of a name. */
  host: string;
  faults: Faults;
  seen: Seen[];
  /** Bytes of blobs and files handed to sockets so far. */
  served(): number;
  /** Adds a blob. @returns its digest */
  blob(content: Buffer): string;
  /** Adds a model: a manifest of layers, whose sizes and digests may be lies. @returns the manifest's digest */
  model(repository: string, tag: string, layers: readonly RegistryLayer[]): string;
  /** A whole manifest, as it is. */
  manifest(repository: string, reference: string, text: string): void;
  /** A file at a path, with its own ETag. */
  file(path: string, content: Content, etag?: string): void;
  /** A repository of the hub. */
  hub(repository: string, files: Readonly<Record<string, Buffer>>): void;
  /** Manifests and blobs are only given to whoever shows the token, which the token service gives to this user and password, or to anyone. */
  guard(token: string, basic?: string): void;
  close(): Promise<void>;
}

/** One layer of a model. */
export interface RegistryLayer {
  content: Buffer;
  mediaType?: string;
  title?: string;
  /** Instead of the true ones. */
  digest?: string;
  size?: number;
}

const PIECE_BYTES = 65_536;
const MODEL = "application/vnd.ollama.image.model";

export function sha256(bytes: Buffer | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Starts a registry on a free port. */
export async function startRegistry(): Promise<Registry> {
  const files = new Map<string, { content: Content; etag: string; type?: string }>();
  const seen: Seen[] = [];
  const faults: Faults = {};
  let servedBytes = 0;
  let asked = 0;
  let guard: { token: string; basic?: string } | undefined;
  let base = "";

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", base);
    const { range, "if-range": ifRange, authorization } = request.headers;
    seen.push({
      path: `${url.pathname}${url.search}`,
      ...(range === undefined ? {} : { range }),
      ...(typeof ifRange === "string" ? { ifRange } : {}),
      ...(authorization === undefined ? {} : { authorization }),
    });
    if (url.pathname === "/token") {
      const isKnown =
        guard?.basic === undefined || authorization === `Basic ${Buffer.from(guard.basic).toString("base64")}`;
      response.writeHead(isKnown ? 200 : 401, { "content-type": "application/json" });
      response.end(JSON.stringify({ token: guard?.token }));
      return;
    }
    if (guard !== undefined && url.pathname.startsWith("/v2/") && authorization !== `Bearer ${guard.token}`) {
      const challenge = `Bearer realm="${base}/token",service="registry",scope="repository:x:pull"`;
      response.writeHead(401, { "www-authenticate": challenge }).end();
      return;
    }
    const isBlob = !url.pathname.includes("/manifests/") && !url.pathname.startsWith("/api/");
    if (isBlob) asked++;
    const status = isBlob ? faults.status?.(url.pathname, asked) : undefined;
    if (status !== undefined) {
      response.writeHead(status, { "retry-after": "0" }).end();
      return;
    }
    if (isBlob && faults.redirectTo !== undefined) {
      response.writeHead(307, { location: `${faults.redirectTo}${url.pathname}` }).end();
      return;
    }
    const found = files.get(url.pathname);
    if (found === undefined) response.writeHead(404).end("{}");
    else await send(found, isBlob, request, response);
  };

  const send = async (
    file: { content: Content; etag: string; type?: string },
    isBlob: boolean,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> => {
    const { changeAfter } = faults;
    const isOther = isBlob && changeAfter !== undefined && servedBytes >= changeAfter.bytes;
    const content = isOther ? changeAfter.to : file.content;
    const etag = isOther ? '"other"' : file.etag;
    const total = Buffer.isBuffer(content) ? content.length : content.bytes;
    const condition = request.headers["if-range"];
    const wanted = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const isPart = wanted !== null && faults.noRanges !== true && (condition === undefined || condition === etag);
    const first = isPart ? Number(wanted[1]) : 0;
    const last = isPart && wanted[2] !== "" ? Math.min(Number(wanted[2]), total - 1) : total - 1;
    if (first >= total && total > 0) {
      response.writeHead(416, { "content-range": `bytes */${total}` }).end();
      return;
    }
    response.writeHead(isPart ? 206 : 200, {
      etag,
      "content-length": String(last - first + 1),
      "content-type": file.type ?? "application/octet-stream",
      ...(isPart ? { "content-range": `bytes ${first}-${last}/${total}` } : {}),
    });
    const cut = isBlob ? faults.cutAfter?.(asked) : undefined;
    const stall = isBlob ? faults.stallAfter?.(asked) : undefined;
    const most = Math.min(cut ?? Number.POSITIVE_INFINITY, stall ?? Number.POSITIVE_INFINITY);
    let sent = 0;
    for await (const piece of pieces(content, first, last)) {
      if (response.destroyed) return;
      const part = piece.subarray(0, Math.max(0, most - sent));
      sent += part.length;
      if (isBlob) servedBytes += part.length;
      if (!response.write(part)) await writable(response);
      if (sent >= most) {
        if (cut === undefined) return;
        // What was written is to arrive before the end does.
        await new Promise((resolve) => setTimeout(resolve, 20));
        response.destroy();
        return;
      }
      if (faults.pauseMs !== undefined) await new Promise((resolve) => setTimeout(resolve, faults.pauseMs));
    }
    response.end();
  };

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  base = `http://${host}`;
  const repositories = new Set<string>();
  const blobs = new Map<string, Buffer>();
  const publish = (): void => {
    for (const repository of repositories)
      for (const [digest, content] of blobs)
        files.set(`/v2/${repository}/blobs/${digest}`, { content, etag: `"${digest}"` });
  };
  const registry: Registry = {
    url: base,
    host,
    faults,
    seen,
    served: () => servedBytes,
    blob: (content) => {
      const digest = `sha256:${sha256(content)}`;
      blobs.set(digest, content);
      publish();
      return digest;
    },
    model: (repository, tag, layers) => {
      const described = layers.map(({ content, mediaType = MODEL, title, digest, size }) => ({
        mediaType,
        digest: digest ?? registry.blob(content),
        size: size ?? content.length,
        ...(title === undefined ? {} : { annotations: { "org.opencontainers.image.title": title } }),
      }));
      for (const { digest, content } of layers) if (digest !== undefined) blobs.set(digest, content);
      const config = Buffer.from("{}");
      const text = JSON.stringify({
        schemaVersion: 2,
        mediaType: "application/vnd.docker.distribution.manifest.v2+json",
        config: { mediaType: "application/vnd.docker.container.image.v1+json", digest: registry.blob(config), size: 2 },
        layers: described,
      });
      registry.manifest(repository, tag, text);
      registry.manifest(repository, `sha256:${sha256(text)}`, text);
      return `sha256:${sha256(text)}`;
    },
    manifest: (repository, reference, text) => {
      repositories.add(repository);
      publish();
      const type = "application/vnd.docker.distribution.manifest.v2+json";
      files.set(`/v2/${repository}/manifests/${reference}`, { content: Buffer.from(text), etag: '"m"', type });
    },
    file: (path, content, etag = Buffer.isBuffer(content) ? `"${sha256(content).slice(0, 16)}"` : '"file"') =>
      void files.set(path, { content, etag }),
    hub: (repository, contents) => {
      const sha = sha256(repository).slice(0, 40);
      const siblings = Object.entries(contents).map(([rfilename, content]) => ({
        rfilename,
        size: content.length,
        lfs: { sha256: sha256(content), size: content.length, pointerSize: 134 },
      }));
      const description = Buffer.from(JSON.stringify({ id: repository, sha, siblings }));
      files.set(`/api/models/${repository}/revision/main`, {
        content: description,
        etag: '"hub"',
        type: "application/json",
      });
      for (const [name, content] of Object.entries(contents))
        registry.file(`/${repository}/resolve/${sha}/${name}`, content);
    },
    guard: (token, basic) => {
      guard = { token, ...(basic === undefined ? {} : { basic }) };
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return registry;
}

/** Waits until more may be written, or nobody reads any more. */
function writable(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

async function* pieces(content: Content, first: number, last: number): AsyncIterable<Buffer> {
  if (Buffer.isBuffer(content)) {
    for (let at = first; at <= last; at += PIECE_BYTES)
      yield content.subarray(at, Math.min(last + 1, at + PIECE_BYTES));
    return;
  }
  const stream: Readable = createReadStream(content.path, { start: first, end: last, highWaterMark: 4 * PIECE_BYTES });
  for await (const piece of stream) yield piece as Buffer;
}
