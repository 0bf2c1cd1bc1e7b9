import type { IncomingHttpHeaders } from "node:http";
import { digestOfSecret, isSecretOf } from "../../support/secret.ts";
import type { TokensUsed } from "../gate.ts";

/** A question that may be asked. */
export interface Grant {
  /** Whose conversation it is in; undefined: nobody's. */
  user: string | undefined;
  /** Told at the answer's end what it cost. */
  spent: (used: TokensUsed) => void;
}

/** What a token lets its bearer do. */
export interface Pass {
  /** Whose sessions it opens: a session is gone on with only by the owner that began it. */
  owner: string;
  /**
   * Asked before each question. Absent: whatever is asked is allowed.
   * @param user whom the question names. @throws Fault forbidden, rate_limited
   */
  ask?(user: string | undefined): Grant | Promise<Grant>;
}

/** Says who may use the horn. It is asked at each connection, and again while one is open, so that what has expired ends. */
export interface Guard {
  /**
   * @param token what the client showed; undefined when it showed none
   * @param address its address, in the form of `canonicalAddress`; `unknown` where the socket has none
   * @param headers of its handshake
   * @returns nothing when it may not
   * @throws Fault that says more than that
   */
  check(
    token: string | undefined,
    address: string,
    headers: IncomingHttpHeaders,
  ): Pass | undefined | Promise<Pass | undefined>;
}

/** Lets in whoever shows one token, or everybody where there is none. */
export function oneToken(wanted: string | undefined): Guard {
  const pass: Pass = { owner: "token" };
  if (wanted === undefined) return { check: () => pass };
  const digest = digestOfSecret(wanted);
  return { check: (token) => (token !== undefined && isSecretOf(token, digest) ? pass : undefined) };
}

/** The token of an `authorization` header; undefined for another scheme, which is as good as a wrong one. */
export function bearerOf(authorization: string): string | undefined {
  return /^Bearer +(\S+)$/i.exec(authorization.trim())?.[1];
}
