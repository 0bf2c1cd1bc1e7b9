import { isIP } from "node:net";
import type { IncomingHttpHeaders } from "node:http";
import { Fault } from "../../core/fault.ts";

/**
 * Refuses what a browser asks for somebody else's page: a page anywhere can send a question to this machine's ports and, with a name of
 * its own that it lets point here, read the answer. Programs send none of these headers. Who shows a key need not be looked at: no page
 * has one.
 * @param allowed origins that may ask
 * @throws Fault forbidden
 */
export function checkPage(headers: IncomingHttpHeaders, allowed: readonly string[]): void {
  const { origin, host } = headers;
  const site = headers["sec-fetch-site"];
  if (origin === undefined && site === undefined) return;
  if (origin !== undefined && allowed.includes(origin)) return;
  const same =
    origin === undefined ? site === "same-origin" || site === "none" : hostOf(origin) === host?.toLowerCase();
  if (same && host !== undefined && isOwnName(host)) return;
  throw new Fault("forbidden", "origin: pages of this origin may not ask without a key (allow them in horn.origins)");
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

/** Whether a host's name cannot be one that a stranger's page lets point to this machine: an address, localhost, or a name without a dot. */
function isOwnName(host: string): boolean {
  const name = host
    .replace(/:\d*$/, "")
    .replace(/^\[(.*)\]$/, "$1")
    .toLowerCase();
  return isIP(name) !== 0 || name.endsWith(".localhost") || !name.includes(".");
}
