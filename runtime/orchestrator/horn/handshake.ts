import type { IncomingMessage } from "node:http";
import { HORN_PROTOCOLS, type HornProtocol } from "../../contracts/horn.ts";
import { Fault } from "../../core/fault.ts";
import { checkOrigin, offeredBy, targetOf } from "../../support/websocket/handshake.ts";

/** Path of the WebSocket. */
export const HORN_PATH = "/horn";

/**
 * Checks what a handshake says of itself, its token apart.
 * @throws Fault not_found (another path), forbidden (a page of another origin: it must not speak with the user's network through his browser), invalid_request
 */
export function checkHandshake(request: Pick<IncomingMessage, "url" | "headers">, origins: readonly string[]): void {
  const [path, query] = targetOf(request);
  if (path !== HORN_PATH) throw new Fault("not_found", `no WebSocket here; the horn is ${HORN_PATH}`);
  checkOrigin(request, origins, "horn.origins");
  if (query !== undefined)
    throw new Fault(
      "invalid_request",
      "the horn's address takes no query; a token goes into the authorization header or the first frame",
    );
  if (protocolOf(offeredBy(request)) === undefined)
    throw new Fault("invalid_request", `sec-websocket-protocol: want ${HORN_PROTOCOLS.join(" or ")}`);
}

/** The subprotocol that a client prefers among those it offers; undefined when it offers none of ours. */
export function protocolOf(offered: Iterable<string>): HornProtocol | undefined {
  for (const name of offered) {
    const known = HORN_PROTOCOLS.find((one) => one === name);
    if (known !== undefined) return known;
  }
  return undefined;
}
