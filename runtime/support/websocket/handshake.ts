import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { Fault } from "../../core/fault.ts";
import type { Dialect } from "../http.ts";

/** The two parts of a request's target. Not read as a URL: a target such as `//` is none, and this is what anybody may send. */
export function targetOf({ url = "/" }: Pick<IncomingMessage, "url">): [path: string, query: string | undefined] {
  const at = url.indexOf("?");
  return at === -1 ? [url, undefined] : [url.slice(0, at), url.slice(at + 1)];
}

/**
 * Lets in programs, which name no origin, and pages of the origins given: any other page would speak with the user's network through his browser.
 * @param setting where origins are allowed, for the message. @throws Fault forbidden
 */
export function checkOrigin(
  { headers }: Pick<IncomingMessage, "headers">,
  origins: readonly string[],
  setting: string,
): void {
  const { origin } = headers;
  if (origin !== undefined && !origins.includes(origin))
    throw new Fault("forbidden", `origin: pages of this origin are not allowed (${setting})`);
}

/** Subprotocols that a client offers, in its order. */
export function offeredBy({ headers }: Pick<IncomingMessage, "headers">): string[] {
  const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim());
  return offered.filter((one) => one !== "");
}

/** Answers a handshake that is refused, in HTTP and with an API's error object. */
export function refuseHandshake(stream: Duplex, fault: Fault, dialect: Dialect): void {
  if (stream.destroyed) return;
  const body = JSON.stringify(dialect.body(fault));
  const head = [
    `HTTP/1.1 ${fault.status} ${STATUS_CODES[fault.status] ?? "Refused"}`,
    "connection: close",
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    ...(fault.retryAfterSeconds === undefined ? [] : [`retry-after: ${fault.retryAfterSeconds}`]),
    ...(fault.code === "unauthorized" ? ["www-authenticate: Bearer"] : []),
  ];
  stream.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => stream.destroy());
}
