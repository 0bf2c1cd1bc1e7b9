import { rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { Server } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { ApiError, errorText, failure } from "../api-error.ts";
import type { Lab } from "../lab.ts";
import type { ApiToken } from "../token.ts";
import { authenticate } from "./authentication.ts";
import type { Endpoint } from "./endpoint.ts";
import { Router, mergeParameters } from "./router.ts";
import { receiveUpload } from "./upload.ts";
import type { Upload } from "./upload.ts";

/** Longest form body, bytes (pve-http-server, `$limit_max_post`). */
const MAX_FORM_BYTES = 512 * 1024;
const PREFIX = "/api2/json";

/** What the server needs beside the lab itself. */
export interface ServerSettings {
  token: ApiToken;
  tls: { certPem: string; keyPem: string };
  /** How long an answer to wrong credentials is held back, ms. */
  authDelayMs: number;
  log: (line: string) => void;
}

/** The HTTPS server of the API, not yet listening. TLS 1.3 only, as the provider asks for. */
export function createApiServer(lab: Lab, endpoints: readonly Endpoint[], settings: ServerSettings): Server {
  const router = new Router(endpoints);
  const { certPem, keyPem } = settings.tls;
  const server = createServer({ cert: certPem, key: keyPem, minVersion: "TLSv1.3" }, (request, response) => {
    void respond(lab, router, settings, request, response);
  });
  // An upload of a large image takes as long as it takes; a stalled one ends with the idle timeout of its socket.
  server.requestTimeout = 0;
  server.timeout = 120_000;
  return server;
}

async function respond(
  lab: Lab,
  router: Router,
  settings: ServerSettings,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
  try {
    const data = await answer(lab, router, settings.token, request);
    send(response, 200, "OK", { data: data ?? null });
  } catch (error) {
    const known = error instanceof ApiError ? error : failure(errorText(error));
    // Only the names of wrong parameters: their values may be secret.
    const names = Object.keys(known.errors ?? {}).join(", ");
    settings.log(
      `${request.method ?? "?"} ${path}: ${known.status} ${firstLine(known.message)}${names === "" ? "" : ` (${names})`}`,
    );
    if (known.status === 401 && settings.authDelayMs > 0) await sleep(settings.authDelayMs);
    // A body that nobody read would be taken for the next request.
    response.setHeader("Connection", "close");
    const body = {
      data: null,
      message: `${known.message.trimEnd()}\n`,
      ...(known.errors === undefined ? {} : { errors: known.errors }),
    };
    send(response, known.status, firstLine(known.message), known.hasBody ? body : undefined);
    request.resume();
  }
}

function send(response: ServerResponse, status: number, reason: string, body: unknown): void {
  if (response.destroyed) return;
  const text = body === undefined ? "" : JSON.stringify(body);
  response.writeHead(status, reason, {
    "Content-Type": "application/json;charset=UTF-8",
    "Content-Length": Buffer.byteLength(text),
    "Cache-Control": "max-age=0",
    Server: "pve-api-daemon/3.0",
  });
  response.end(text);
}

// A reason phrase is one line of Latin-1 (RFC 9112, section 4).
function firstLine(message: string): string {
  return (message.split("\n", 1)[0] ?? "").replace(/[^\x20-\x7e\xa0-\xff]/g, "?");
}

async function answer(lab: Lab, router: Router, token: ApiToken, request: IncomingMessage): Promise<unknown> {
  const method = request.method ?? "GET";
  const [path = "/", query = ""] = splitOnce(request.url ?? "/", "?");
  const match = path.startsWith(`${PREFIX}/`) ? router.find(method, path.slice(PREFIX.length)) : undefined;
  const user = match?.endpoint.open === true ? "" : authenticate(request, token, lab.tickets);
  if (match === undefined)
    throw new ApiError(501, `Method '${method} ${path.replace(PREFIX, "")}' not implemented`, { hasBody: false });
  if (request.headers["transfer-encoding"] !== undefined)
    throw new ApiError(501, "chunked transfer encoding not supported", { hasBody: false });
  const { endpoint, pathParameters } = match;
  const fromQuery = formValues(query);
  if (endpoint.upload) {
    const { fields, upload } = await receiveUpload(request, lab.uploadDirectory);
    try {
      return await endpoint.run(mergeParameters(pathParameters, { ...fromQuery, ...fields }), { lab, user, upload });
    } catch (error) {
      await discard(upload);
      throw error;
    }
  }
  const fromBody = method === "GET" || method === "DELETE" ? {} : await readBody(request);
  return endpoint.run(mergeParameters(pathParameters, { ...fromQuery, ...fromBody }), { lab, user, upload: undefined });
}

async function discard(upload: Upload | undefined): Promise<void> {
  if (upload !== undefined) await rm(upload.path, { force: true });
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}

function formValues(text: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(text));
}

/** A JSON body's values as a form would have them. */
const JsonBody = z.record(
  z.string(),
  z.union([z.string(), z.number().transform(String), z.boolean().transform((value) => (value ? "1" : "0"))]),
);

async function readBody(request: IncomingMessage): Promise<Record<string, string>> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    length += bytes.length;
    if (length > MAX_FORM_BYTES) throw new ApiError(501, "for data too large", { hasBody: false });
    chunks.push(bytes);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  const type = request.headers["content-type"] ?? "";
  if (text === "" || /^application\/x-www-form-urlencoded\b/i.test(type)) return formValues(text);
  if (!/^application\/json\b/i.test(type)) throw new ApiError(501, "got unexpected content type", { hasBody: false });
  try {
    return JsonBody.parse(JSON.parse(text));
  } catch {
    throw new ApiError(400, "Parameter verification failed.", {
      errors: { body: "want a JSON object of texts, numbers and booleans" },
    });
  }
}
