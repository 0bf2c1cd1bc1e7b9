import type { IncomingHttpHeaders, IncomingMessage } from "node:http";

/** What a request shows of itself before its body is read. */
export interface Knock {
  /** Such as `POST`. */
  method: string;
  /** Path without the query, such as `/v1/chat/completions`. */
  path: string;
  headers: IncomingHttpHeaders;
  /** The peer's address as the socket has it, IPv4 also as `::ffff:…`; empty when the peer has gone. */
  remoteAddress: string;
}

/** Tokens that one answer cost; 0 where the server did not say. */
export interface TokensUsed {
  promptTokens: number;
  answerTokens: number;
}

/** A request that was let in. */
export interface Admission {
  /** Who asks, fit for logs and metrics; never the key itself. */
  readonly principal: string;
  /** It may do what changes the service itself. */
  readonly admin: boolean;
  /** Further headers of the answer: what is left of a limit. */
  readonly headers: Readonly<Record<string, string>>;
  /** Aborts when who asks may no longer, with a fault that says why. Undefined where that cannot happen. Who reads it must release. */
  readonly ended: AbortSignal | undefined;
  /** The user that a request asks as. @param named whom it names; undefined when nobody. @throws Fault forbidden */
  userFor(named: string | undefined): string | undefined;
  /** @param names all names of the model that is asked for. @throws Fault forbidden when it may not be asked */
  checkModel(names: readonly string[]): void;
  /** Told once at the answer's end, however it ended, what it cost. Must not throw. */
  settle(used: TokensUsed): void;
  /** The request is over: nobody looks any more whether it may go on. */
  release(): void;
}

/**
 * Decides who may ask. Every HTTP request but the probes passes it once, before its body is read, on the pass-through and
 * elsewhere alike; the WebSocket asks it at its upgrade.
 */
export interface Gate {
  /** Lets a request in. Answer at once where possible: a promise costs a turn of the loop. @throws Fault unauthorized, forbidden, rate_limited */
  admit(knock: Knock): Admission | Promise<Admission>;
}

/** What everybody gets where there is no gate: all is allowed, nothing is counted. */
const UNGUARDED: Admission = {
  principal: "anonymous",
  admin: false,
  headers: {},
  ended: undefined,
  userFor: (named) => named,
  checkModel: () => undefined,
  settle: () => undefined,
  release: () => undefined,
};

/** Lets everybody in and counts nothing. */
export const OPEN_GATE: Gate = { admit: () => UNGUARDED };

/** Paths that no gate stands before: probes have no key. */
const PROBES = new Set(["/", "/healthz", "/readyz"]);

/** Whether a path is asked by a probe and not by a user. */
export function isProbe(path: string): boolean {
  return PROBES.has(path);
}

const admissions = new WeakMap<IncomingMessage, Admission>();

/** Keeps the admission of a request for whoever answers it. */
export function keepAdmission(incoming: IncomingMessage, admission: Admission): void {
  admissions.set(incoming, admission);
}

/** The admission of a request; that of everybody where no gate stands before the app. */
export function admissionOf(incoming: IncomingMessage | undefined): Admission {
  return (incoming === undefined ? undefined : admissions.get(incoming)) ?? UNGUARDED;
}
