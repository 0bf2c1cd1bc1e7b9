import { createHmac, randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { ApiError } from "../api-error.ts";
import { isSameSecret } from "../token.ts";
import type { ApiToken } from "../token.ts";

/** How long a ticket is good, ms (PVE::AccessControl: two hours). */
const TICKET_LIFETIME_MS = 2 * 60 * 60 * 1000;

/** A login, as `POST access/ticket` answers it. */
export interface Ticket {
  username: string;
  ticket: string;
  CSRFPreventionToken: string;
}

/** Makes and checks tickets. They end with the process: their key is kept nowhere. */
export class Tickets {
  readonly #key = randomBytes(32);
  readonly #password: string | undefined;
  readonly #now: () => number;

  /** @param password of `root@pam`; without one nobody can log in that way */
  constructor(password: string | undefined, now: () => number) {
    this.#password = password;
    this.#now = now;
  }

  /** A ticket for a user and password, or for a ticket that is still good. @throws ApiError 401 */
  login(username: string, password: string): Ticket {
    const known = username === "root@pam" && this.#password !== undefined && isSameSecret(password, this.#password);
    if (!known && this.#userOf(password) !== username) throw new ApiError(401, "authentication failure");
    const time = Math.floor(this.#now() / 1000)
      .toString(16)
      .toUpperCase()
      .padStart(8, "0");
    return {
      username,
      ticket: `PVE:${username}:${time}::${this.#sign(`PVE:${username}:${time}`)}`,
      CSRFPreventionToken: `${time}:${this.#sign(`CSRF:${username}:${time}`)}`,
    };
  }

  /** The user of a ticket that is good. @throws ApiError 401 */
  user(ticket: string): string {
    const user = this.#userOf(ticket);
    if (user === undefined) throw unauthorized("permission denied - invalid PVE ticket");
    return user;
  }

  /** @throws ApiError 401 unless the header of a changing request goes with the user */
  checkCsrf(user: string, token: string | undefined): void {
    const time = /^([0-9A-F]{8}):/.exec(token ?? "")?.[1];
    if (
      time === undefined ||
      !this.#isFresh(time) ||
      !isSameSecret(token ?? "", `${time}:${this.#sign(`CSRF:${user}:${time}`)}`)
    ) {
      throw unauthorized("Permission denied - invalid csrf token");
    }
  }

  #userOf(ticket: string): string | undefined {
    const match = /^PVE:([^\s:]+):([0-9A-F]{8})::(.+)$/.exec(ticket);
    if (match?.[1] === undefined || match[2] === undefined || match[3] === undefined) return undefined;
    const signed = isSameSecret(match[3], this.#sign(`PVE:${match[1]}:${match[2]}`));
    return signed && this.#isFresh(match[2]) ? match[1] : undefined;
  }

  #isFresh(time: string): boolean {
    const age = this.#now() - Number.parseInt(time, 16) * 1000;
    return age > -300_000 && age < TICKET_LIFETIME_MS;
  }

  #sign(text: string): string {
    return createHmac("sha256", this.#key).update(text).digest("base64");
  }
}

/** 401 as plain text: what a client without, or with wrong, credentials gets. */
function unauthorized(message: string): ApiError {
  return new ApiError(401, message, { hasBody: false });
}

/** The user behind a request: by API token, else by ticket (and CSRF header where something changes). @throws ApiError 401 */
export function authenticate(request: IncomingMessage, token: ApiToken, tickets: Tickets): string {
  const header = /^PVEAPIToken[= ](.+)=([^=]+)$/.exec(request.headers.authorization ?? "");
  if (header?.[1] !== undefined && header[2] !== undefined) {
    // Both halves are always compared, so that the time taken does not tell which one was wrong.
    const sameId = isSameSecret(header[1], token.id);
    const sameSecret = isSameSecret(header[2].toLowerCase(), token.secret.toLowerCase());
    if (!sameId || !sameSecret) throw unauthorized("Authentication failed!");
    return token.id;
  }
  const cookie = /(?:^|;\s*)PVEAuthCookie=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
  if (cookie === undefined) throw unauthorized("No ticket");
  const user = tickets.user(decodeURIComponent(cookie));
  const csrf = request.headers["csrfpreventiontoken"];
  if (request.method !== "GET") tickets.checkCsrf(user, typeof csrf === "string" ? csrf : undefined);
  return user;
}
