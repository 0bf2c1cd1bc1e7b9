import { codeOf } from "../../support/error-code.ts";

/** Codes of connections that could not be made, or that broke: the same may work later. Source: Node's and undici's error documentation. */
const BROKEN = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
  "UND_ERR_SOCKET",
  "UND_ERR_CLOSED",
  "UND_ERR_DESTROYED",
  "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
]);

/** Whether an error is a connection's, which a further try may not meet. */
export function isBroken(error: unknown): boolean {
  return BROKEN.has(codeOf(error) ?? "");
}
