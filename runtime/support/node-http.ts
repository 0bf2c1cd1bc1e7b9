import type { IncomingMessage, ServerResponse } from "node:http";
import { Fault } from "../core/fault.ts";
import type { Dialect } from "./http.ts";

/** How long what a refused client still sends is read and thrown away, ms: a closed line would make it miss the answer. */
const DISCARD_MS = 1_000;

/** Writes an error in an API's dialect. Nothing when the answer has begun. @param headers name, value, name, value */
export function sendFault(
  outgoing: ServerResponse,
  fault: Fault,
  dialect: Dialect,
  headers: readonly string[] = [],
): void {
  if (outgoing.headersSent || outgoing.destroyed) return;
  const retry = fault.retryAfterSeconds === undefined ? [] : ["retry-after", String(fault.retryAfterSeconds)];
  sendJson(outgoing, fault.status, dialect.body(fault), [
    ...headers,
    ...retry,
    ...Object.entries(fault.headers).flat(),
  ]);
}

/** Writes a JSON document. @param headers name, value, name, value */
export function sendJson(
  outgoing: ServerResponse,
  status: number,
  document: unknown,
  headers: readonly string[] = [],
): void {
  const bytes = Buffer.from(JSON.stringify(document));
  outgoing.writeHead(status, [...headers, "content-type", "application/json", "content-length", String(bytes.length)]);
  outgoing.end(bytes);
}

/** Lets a client that still sends read its refusal, then closes the line. */
export function discard(incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (incoming.complete) return;
  outgoing.setHeader("connection", "close");
  incoming.resume();
  const timer = setTimeout(() => incoming.destroy(), DISCARD_MS);
  incoming.on("close", () => clearTimeout(timer));
}

/**
 * Reads a body whole.
 * @throws Fault body_too_large as soon as it is known, cancelled when the client went away
 */
export function readBody(incoming: IncomingMessage, mostBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const tooLarge = (): Fault => new Fault("body_too_large", `body: want at most ${mostBytes} bytes`);
    if (Number(incoming.headers["content-length"] ?? 0) > mostBytes) {
      reject(tooLarge());
      return;
    }
    const parts: Buffer[] = [];
    let size = 0;
    const onData = (part: Buffer): void => {
      size += part.length;
      if (size > mostBytes) {
        incoming.off("data", onData);
        reject(tooLarge());
      } else parts.push(part);
    };
    incoming.on("data", onData);
    incoming.on("end", () => resolve(parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts)));
    incoming.on("error", (cause) => reject(new Fault("cancelled", "the client went away", { cause })));
    incoming.on("close", () => {
      if (!incoming.complete) reject(new Fault("cancelled", "the client went away"));
    });
  });
}

/** Bodies that were read before the app saw the request. */
const bodies = new WeakMap<IncomingMessage, Buffer>();

/** Keeps a body that was read for the app that answers the request. */
export function keepBody(incoming: IncomingMessage, body: Buffer): void {
  bodies.set(incoming, body);
}

/** The body that was read already; undefined where nobody has. */
export function keptBody(incoming: IncomingMessage | undefined): Buffer | undefined {
  return incoming === undefined ? undefined : bodies.get(incoming);
}
