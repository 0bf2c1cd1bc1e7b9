import https from "node:https";
import type { IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Settings } from "./settings.ts";

/** Form fields of one request; undefined ones are left out. */
export type Parameters = Record<string, string | number | boolean | undefined>;

/** A refusal by the Proxmox API. */
export class PveError extends Error {
  /** HTTP status. */
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = "PveError";
    this.status = status;
  }

  /** The thing asked for is not there; Proxmox says so with 404, or with 500 and words. */
  get missing(): boolean {
    return (
      this.status === 404 ||
      (this.status === 500 && /does not exist|no such resource|no such ha|No such file or directory/.test(this.message))
    );
  }

  /** What was to be made is there already. */
  get exists(): boolean {
    return this.message.includes("already exists");
  }
}

/** A file to upload. */
export interface Upload {
  content: string;
  fileName: string;
  data: Buffer;
}

/** The Proxmox VE API of one host, as the provider's client speaks it. */
export interface PveClient {
  /** @throws PveError when the host refuses; Error naming the endpoint when it cannot be reached. */
  get(path: string, query?: Parameters, signal?: AbortSignal): Promise<unknown>;
  post(path: string, form?: Parameters, signal?: AbortSignal): Promise<unknown>;
  put(path: string, form?: Parameters, signal?: AbortSignal): Promise<unknown>;
  delete(path: string, signal?: AbortSignal): Promise<unknown>;
  upload(path: string, upload: Upload, signal?: AbortSignal): Promise<unknown>;
}

const ticketSchema = z.object({ ticket: z.string(), CSRFPreventionToken: z.string(), username: z.string() });
const envelopeSchema = z.object({ data: z.unknown() });
const failureSchema = z.object({
  message: z.string().nullish(),
  errors: z.record(z.string(), z.string()).nullish(),
});

interface Body {
  type: string;
  bytes: Buffer;
}

/** Speaks to the host of `settings`. Nothing is sent before the first call; a ticket is fetched when first needed. */
export function createPveClient(settings: Settings): PveClient {
  const agent = new https.Agent({
    keepAlive: true,
    ca: settings.trust,
    minVersion: settings.minTls,
    rejectUnauthorized: !settings.insecure,
  });
  let ticket: Promise<z.output<typeof ticketSchema>> | undefined;

  const authenticate = async (method: string): Promise<Record<string, string>> => {
    const { credentials } = settings;
    if (credentials.kind === "token") return { Authorization: `PVEAPIToken=${credentials.token}` };
    const { username, password } = credentials;
    ticket ??= exchange("POST", "access/ticket", {}, formOf({ username, password })).then((data) =>
      ticketSchema.parse(data),
    );
    const granted = await ticket;
    const headers: Record<string, string> = { Cookie: `PVEAuthCookie=${granted.ticket}` };
    if (method !== "GET") headers["CSRFPreventionToken"] = granted.CSRFPreventionToken;
    return headers;
  };

  const exchange = async (
    method: string,
    path: string,
    headers: Record<string, string>,
    body?: Body,
    signal?: AbortSignal,
  ): Promise<unknown> => {
    const url = new URL(`/api2/json/${path}`, settings.origin);
    const response = await send(url, { method, headers, agent, signal }, body);
    const text = response.text;
    if (response.status < 200 || response.status >= 300) throw failureOf(settings, response, text);
    return envelopeSchema.parse(text === "" ? { data: null } : JSON.parse(text)).data;
  };

  const request = async (method: string, path: string, body?: Body, signal?: AbortSignal): Promise<unknown> => {
    // Only reads are tried again when the connection breaks: a write may have arrived.
    const attempts = method === "GET" ? 3 : 1;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await exchange(method, path, await authenticate(method), body, signal);
      } catch (error) {
        if (error instanceof PveError || error instanceof z.ZodError) throw error;
        const reason = unreachable(settings, error);
        if (attempt >= attempts || signal?.aborted === true || !reason.transient) throw reason.error;
        await sleep(300 * attempt, undefined, { signal });
      }
    }
  };

  return {
    get: (path, query, signal) => request("GET", withQuery(path, query), undefined, signal),
    post: (path, form, signal) => request("POST", path, form === undefined ? undefined : formOf(form), signal),
    put: (path, form, signal) => request("PUT", path, form === undefined ? undefined : formOf(form), signal),
    delete: (path, signal) => request("DELETE", path, undefined, signal),
    upload: (path, upload, signal) => request("POST", path, multipartOf(upload), signal),
  };
}

function encode(parameters: Parameters): string {
  const search = new URLSearchParams();
  for (const key of Object.keys(parameters).sort()) {
    const value = parameters[key];
    if (value !== undefined) search.append(key, typeof value === "boolean" ? (value ? "1" : "0") : String(value));
  }
  return search.toString();
}

function withQuery(path: string, query: Parameters | undefined): string {
  const text = query === undefined ? "" : encode(query);
  return text === "" ? path : `${path}?${text}`;
}

function formOf(form: Parameters): Body {
  return { type: "application/x-www-form-urlencoded", bytes: Buffer.from(encode(form)) };
}

function multipartOf({ content, fileName, data }: Upload): Body {
  const boundary = `gorkheavy-${Date.now().toString(36)}-${data.length}`;
  const quoted = fileName.replaceAll("\\", "\\\\").replaceAll('"', '\\"');
  const head =
    `--${boundary}\r\nContent-Disposition: form-data; name="content"\r\n\r\n${content}\r\n` +
    `--${boundary}\r\nContent-Disposition: form-data; name="filename"; filename="${quoted}"\r\n` +
    "Content-Type: application/octet-stream\r\n\r\n";
  return {
    type: `multipart/form-data; boundary=${boundary}`,
    bytes: Buffer.concat([Buffer.from(head), data, Buffer.from(`\r\n--${boundary}--\r\n`)]),
  };
}

interface Answer {
  status: number;
  reason: string;
  text: string;
}

function send(url: URL, options: https.RequestOptions, body: Body | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string | number> = { Accept: "application/json" };
    Object.assign(headers, options.headers);
    if (body !== undefined) headers["Content-Type"] = body.type;
    if (body !== undefined || options.method === "POST" || options.method === "PUT") {
      headers["Content-Length"] = body?.bytes.length ?? 0;
    }
    const sent = https.request(url, { ...options, headers }, (message: IncomingMessage) => {
      const chunks: Buffer[] = [];
      message.on("data", (chunk: Buffer) => chunks.push(chunk));
      message.on("error", reject);
      message.on("end", () =>
        resolve({
          status: message.statusCode ?? 0,
          reason: message.statusMessage ?? "",
          text: Buffer.concat(chunks).toString("utf8"),
        }),
      );
    });
    sent.on("error", reject);
    sent.end(body?.bytes);
  });
}

/** Words a refusal as the provider does: the reason phrase, then what the body adds. */
function failureOf(settings: Settings, { status, reason }: Answer, text: string): PveError {
  const details: string[] = [];
  const parsed = failureSchema.safeParse(safeJson(text));
  if (parsed.success) {
    for (const [key, value] of Object.entries(parsed.data.errors ?? {})) details.push(`${key}: ${value.trimEnd()}`);
    for (const line of (parsed.data.message ?? "").split("\n")) {
      if (line !== "" && !line.startsWith(reason) && !details.includes(line)) details.push(line);
    }
  }
  const words = `${settings.origin.host}: HTTP ${status} ${reason}${details.length > 0 ? ` (${details.join(" - ")})` : ""}`;
  if (status === 401) {
    const setting = settings.credentials.kind === "token" ? "proxmoxve:apiToken" : "proxmoxve:username and password";
    return new PveError(
      status,
      `${words}. The host does not accept ${setting}: check that it exists and is not expired.`,
    );
  }
  if (status === 403) {
    return new PveError(
      status,
      `${words}. The token's user (or the token itself, with privilege separation) lacks it.`,
    );
  }
  return new PveError(status, words);
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const CERTIFICATE_CODES = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|ERR_TLS_CERT_ALTNAME_INVALID/;

function unreachable(settings: Settings, cause: unknown): { error: Error; transient: boolean } {
  const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "";
  const words = cause instanceof Error ? cause.message || code : "unknown error";
  const endpoint = settings.origin.origin;
  if (CERTIFICATE_CODES.test(code)) {
    return {
      transient: false,
      error: new Error(
        `proxmoxve:endpoint: ${endpoint} has a certificate that is not trusted here (${words}). Put the authority that ` +
          "signed it into a file and name that file in SSL_CERT_FILE; nothing was sent.",
        { cause },
      ),
    };
  }
  return {
    transient: true,
    error: new Error(
      `proxmoxve:endpoint: ${endpoint} cannot be reached (${words}). Check that the host is on, that its API listens ` +
        "there (port 8006) and that nothing between drops it.",
      { cause },
    ),
  };
}
