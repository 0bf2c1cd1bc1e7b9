import { BROKEN_CONNECTION, codeOf } from "../../support/error-code.ts";

/** What a further try may not meet: a connection that broke, or was silent, or ended early. */
const BROKEN = new Set([
  ...BROKEN_CONNECTION,
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
  "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
]);

/** Whether an error is a connection's, which a further try may not meet. */
export function isBroken(error: unknown): boolean {
  return BROKEN.has(codeOf(error) ?? "");
}
