import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** Hosts that machines may download from through the lab; everything else stays unreachable from inside. */
export const PASS_THROUGH_HOSTS: readonly string[] = [
  "cloud-images.ubuntu.com",
  "get.k3s.io",
  "ghcr.io",
  "github.com",
  "huggingface.co",
  "objects.githubusercontent.com",
  "registry-1.docker.io",
  "registry.ollama.ai",
  "release-assets.githubusercontent.com",
];

/** What the lab's release server hands out. */
export interface ReleaseOptions {
  /** URL path, decoded, e.g. `/k3s/v1.34.2+k3s1/k3s`, to the file served there; asked at every request. */
  files: () => Promise<Record<string, string>>;
  /** Hosts behind `/pass/HOST/PATH`, fetched over HTTPS from the lab's host. */
  passThroughHosts?: readonly string[];
  /** Origin for a pass-through host; tests point it at a server of their own. @default `https://HOST` */
  originOf?: (host: string) => string;
  log?: (line: string) => void;
}

/**
 * The lab's stand-in for the places that releases come from: the machines' image, K3s, container images.
 * Serves `GET` and `HEAD` with ranges, so that an interrupted download goes on. What it does not have it passes
 * through from an allow-listed host under `/pass/`, when the lab's own host can reach that.
 */
export function createReleaseServer(options: ReleaseOptions): Server {
  return createServer((request, response) => {
    answer(options, request, response).catch((error: unknown) => {
      options.log?.(`release server: ${request.url}: ${String(error)}`);
      if (response.headersSent) response.destroy();
      else refuse(response, 502, `cannot be fetched: ${error instanceof Error ? error.message : String(error)}`);
    });
  });
}

async function answer(options: ReleaseOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== "GET" && request.method !== "HEAD") return refuse(response, 405, "only GET and HEAD");
  const path = decodePath(request.url ?? "/");
  if (path === undefined) return refuse(response, 400, "malformed path");
  const files = await options.files();
  const file = Object.hasOwn(files, path) ? files[path] : undefined;
  if (file !== undefined) return serveFile(file, request, response);
  const pass = /^\/pass\/([^/]+)(\/.*)$/.exec(request.url ?? "");
  if (pass?.[1] && pass[2]) return passThrough(options, pass[1], pass[2], request, response);
  refuse(response, 404, `${path} is not here; there is ${Object.keys(files).join(", ")}`);
}

async function serveFile(file: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { size } = await stat(file);
  const range = parseRange(request.headers.range, size);
  if (range === "unsatisfiable") {
    response.writeHead(416, { "content-range": `bytes */${size}` }).end();
    return;
  }
  const { start, end } = range ?? { start: 0, end: size - 1 };
  response.writeHead(range ? 206 : 200, {
    "accept-ranges": "bytes",
    "content-type": "application/octet-stream",
    "content-length": end - start + 1,
    ...(range ? { "content-range": `bytes ${start}-${end}/${size}` } : {}),
  });
  if (request.method === "HEAD" || size === 0) {
    response.end();
    return;
  }
  await pipeline(createReadStream(file, { start, end }), response);
}

/** One range of a `Range` header (RFC 9110, 14.2); undefined when absent or of a form that may be ignored. */
export function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | "unsatisfiable" | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  const start = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === "" || match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  return start > end || start >= size ? "unsatisfiable" : { start, end };
}

async function passThrough(
  options: ReleaseOptions,
  host: string,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const allowed = options.passThroughHosts ?? PASS_THROUGH_HOSTS;
  if (!allowed.includes(host)) return refuse(response, 403, `${host} is not on the lab's list (${allowed.join(", ")})`);
  const origin = options.originOf?.(host) ?? `https://${host}`;
  const abort = new AbortController();
  response.on("close", () => abort.abort());
  const upstream = await fetch(`${origin}${path}`, {
    method: request.method ?? "GET",
    headers: request.headers.range ? { range: request.headers.range } : {},
    signal: abort.signal,
  });
  const headers: Record<string, string> = {};
  for (const name of ["content-length", "content-type", "content-range", "accept-ranges"]) {
    const value = upstream.headers.get(name);
    if (value !== null) headers[name] = value;
  }
  response.writeHead(upstream.status, headers);
  if (!upstream.body || request.method === "HEAD") {
    response.end();
    return;
  }
  await pipeline(Readable.fromWeb(upstream.body), response);
}

function decodePath(url: string): string | undefined {
  try {
    return decodeURIComponent(url.split("?")[0] ?? "/");
  } catch {
    return undefined;
  }
}

function refuse(response: ServerResponse, status: number, reason: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(`${reason}\n`);
}
