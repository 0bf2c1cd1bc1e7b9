import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { z } from "zod";
import { Fault, toFault } from "../core/fault.ts";
import { timer } from "./clock.ts";
import { keptBody } from "./node-http.ts";

/** Longest wait for a JSON body, ms, where the server itself bounds no request. */
const MOST_BODY_MS = 60_000;

/** Deepest nesting of a JSON body; more is refused before it is parsed. */
export const DEEPEST_JSON = 64;

/**
 * Reads and checks a JSON body.
 * @throws Fault body_too_large, body_timeout, unsupported_media_type, invalid_request (malformed, too deep, bad UTF-8, or not what the schema says)
 */
export async function readJson<S extends z.ZodType>(c: Context, schema: S, mostBytes: number): Promise<z.output<S>> {
  const type = c.req.header("content-type") ?? "";
  // Ollama's clients and curl -d send other types; only what a browser can send across origins without asking, and can be read as JSON, is refused.
  if (/^(multipart\/form-data|text\/html|application\/xml)/i.test(type)) {
    throw new Fault("unsupported_media_type", "content-type: want application/json");
  }
  const encoding = c.req.header("content-encoding") ?? "identity";
  if (encoding !== "identity")
    throw new Fault("unsupported_media_type", `content-encoding: got ${encoding.slice(0, 40)}, want none`);
  const text = await readText(c, mostBytes);
  return conforming(parseJson(text), schema);
}

/** A value as a schema has it. @throws Fault invalid_request naming the first field that is not */
export function conforming<S extends z.ZodType>(value: unknown, schema: S): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue === undefined ? "" : issue.path.map(String).join(".");
  throw new Fault(
    "invalid_request",
    `${where === "" ? "body" : where}: ${issue?.message ?? "not what the API says"}`,
    where === "" ? {} : { param: where },
  );
}

/** The body as text, given up as soon as it is too large. */
async function readText(c: Context, mostBytes: number): Promise<string> {
  const kept = keptBody((c.env as Partial<HttpBindings> | undefined)?.incoming);
  if (kept !== undefined) return decode(kept);
  const request = c.req.raw;
  const declared = Number(request.headers.get("content-length") ?? 0);
  const tooLarge = (): Fault => new Fault("body_too_large", `body: want at most ${mostBytes} bytes`);
  if (declared > mostBytes) throw tooLarge();
  if (request.body === null) return "";
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader();
  let late = false;
  const inTime = timer(MOST_BODY_MS, () => {
    late = true;
    void reader.cancel();
  });
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      size += part.value.length;
      if (size > mostBytes) throw tooLarge();
      parts.push(part.value);
    }
  } finally {
    inTime();
    if (size > mostBytes) void reader.cancel();
  }
  if (late) throw new Fault("body_timeout", `body: not whole after ${MOST_BODY_MS / 1000} seconds`);
  return decode(Buffer.concat(parts));
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Fault("invalid_request", "body: not UTF-8", { cause });
  }
}

/** JSON of a body. @throws Fault invalid_request */
export function parseJson(text: string): unknown {
  if (depthOf(text) > DEEPEST_JSON)
    throw new Fault("invalid_request", `body: want JSON at most ${DEEPEST_JSON} levels deep`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Fault("invalid_request", text.trim() === "" ? "body: empty, want JSON" : "body: not JSON", { cause });
  }
}

/** How deep brackets nest outside strings. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (quoted) {
      if (code === 92) i++;
      else if (code === 34) quoted = false;
    } else if (code === 34) quoted = true;
    else if (code === 123 || code === 91) deepest = Math.max(deepest, ++depth);
    else if (code === 125 || code === 93) depth--;
  }
  return deepest;
}

/** How one API writes an error. */
export interface Dialect {
  body(fault: Fault): unknown;
}

/** Error object of the Ollama API. */
export const OLLAMA_DIALECT: Dialect = { body: (fault) => ({ error: fault.message, code: fault.code }) };

/** An error as a response in an API's dialect. */
export function errorResponse(error: unknown, dialect: Dialect): Response {
  const fault = toFault(error);
  const headers = new Headers({ "content-type": "application/json", ...fault.headers });
  if (fault.retryAfterSeconds !== undefined) headers.set("retry-after", String(fault.retryAfterSeconds));
  return new Response(JSON.stringify(dialect.body(fault)), { status: fault.status, headers });
}

/** How the events of a stream are written. */
export interface Framing<T> {
  contentType: string;
  frame(event: T): string;
  /** What a failure in the middle looks like. */
  failure(fault: Fault): string;
  /** Closes a whole stream. @default nothing */
  end?: string;
}

/**
 * Streams events as they come. The first one is awaited before the status is sent, so that what fails at once has its own status.
 * When the client goes away the iterator is closed, and with it what it waits for.
 */
export async function streamResponse<T>(events: AsyncIterable<T>, framing: Framing<T>): Promise<Response> {
  const iterator = events[Symbol.asyncIterator]();
  const first = await iterator.next();
  const encoder = new TextEncoder();
  let pending: IteratorResult<T> | undefined = first;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = pending ?? (await iterator.next());
          pending = undefined;
          if (next.done === true) {
            if (framing.end !== undefined) controller.enqueue(encoder.encode(framing.end));
            controller.close();
            return;
          }
          controller.enqueue(encoder.encode(framing.frame(next.value)));
        } catch (error) {
          controller.enqueue(encoder.encode(framing.failure(toFault(error))));
          controller.close();
        }
      },
      async cancel() {
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, {
    headers: { "content-type": framing.contentType, "cache-control": "no-cache", "x-accel-buffering": "no" },
  });
}

/** One JSON document a line. */
export function ndjson<T>(failure: (fault: Fault) => unknown): Framing<T> {
  return {
    contentType: "application/x-ndjson",
    frame: (event) => `${JSON.stringify(event)}\n`,
    failure: (fault) => `${JSON.stringify(failure(fault))}\n`,
  };
}

/** An abort signal of a request: it fires when the client goes away. */
export function clientSignal(c: Context): AbortSignal {
  return c.req.raw.signal;
}
