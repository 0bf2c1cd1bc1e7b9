import type { IncomingHttpHeaders } from "node:http";
import type { AccessConfig, KeyRecord } from "../../contracts/access-config.ts";
import { Fault } from "../../core/fault.ts";
import type { Admission, Gate, Knock, TokensUsed } from "../gate.ts";
import { limitKeyOf, type Origin, type Whereabouts } from "./address.ts";
import { checkPage } from "./browser.ts";
import { type Keyring, refusalOf } from "./keyring.ts";
import { headersOf, type Limits, type Meter, type Verdict } from "./meter.ts";
import { bearerOf, idOfKey } from "./secret.ts";

/** Why a request was refused, for the metrics. */
export const REFUSALS = [
  "no_key",
  "wrong_key",
  "ended_key",
  "too_many_failures",
  "page",
  "requests",
  "tokens",
  "user",
  "model",
] as const;
/** Why a request was refused. */
export type Refusal = (typeof REFUSALS)[number];

/** What a gate is made of, time included. */
export interface AccessParts {
  config: AccessConfig;
  /** Origins of browsers' pages that may ask without a key. */
  origins: readonly string[];
  keyring: Keyring;
  whereabouts: Whereabouts;
  /** Counts what keys and addresses ask. */
  meter: Meter;
  /** Counts wrong keys by address; always of this process alone, so that it works whatever else is down. */
  failures: Meter;
  /** Time of day, ms. */
  now?: () => number;
  /** Told of each refusal. */
  refused?: (why: Refusal) => void;
}

/** Who asks: somebody with a key, or somebody at an address. */
interface Caller {
  subject: string;
  key?: KeyRecord;
}

/** Paths that tell of the service and not of anybody's questions. */
const FIGURES = new Set(["/metrics", "/openapi.json"]);

/** Decides who may ask, and how much. It looks at the head of a request alone, so that who may not ask costs a digest and no more. */
export class AccessGate implements Gate {
  readonly #parts: AccessParts;
  readonly #now: () => number;
  readonly #live = new Map<Caller, AbortController>();

  constructor(parts: AccessParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
  }

  /** @throws Fault unauthorized, forbidden, rate_limited */
  admit(knock: Knock): Admission | Promise<Admission> {
    const { config } = this.#parts;
    if (config.metrics === "open" && FIGURES.has(knock.path)) return this.#admission({ subject: "" }, {});
    const caller = this.caller(knock.headers, knock.remoteAddress, bearerOf(knock.headers.authorization));
    return this.take(caller);
  }

  /**
   * Who asks, by key or by address.
   * @param token the key that was shown; undefined when none was
   * @throws Fault unauthorized, forbidden, rate_limited (too many wrong keys from this address)
   */
  caller(headers: IncomingHttpHeaders, remoteAddress: string | undefined, token: string | undefined): Caller {
    const origin = this.#parts.whereabouts.of(remoteAddress, headers);
    const key = token === undefined ? undefined : this.#parts.keyring.find(token);
    if (key !== undefined) {
      const ended = refusalOf(key, this.#now());
      if (ended !== undefined) throw this.#unauthorized(origin, "ended_key", ended);
      return { subject: `key:${key.id}`, key };
    }
    // What has the shape of a key is meant as one. Anything else is what clients send that must send something.
    if (token !== undefined && idOfKey(token) !== undefined)
      throw this.#unauthorized(origin, "wrong_key", "the key is wrong, or was taken back");
    const { anonymous } = this.#parts.config;
    if (anonymous === "nobody" || (anonymous === "loopback" && !origin.local)) {
      const shown = token === undefined ? "no key was shown" : "what was shown is no key of this service";
      throw this.#unauthorized(origin, token === undefined ? "no_key" : "wrong_key", `${shown}; ${wanted(anonymous)}`);
    }
    try {
      checkPage(headers, this.#parts.origins);
    } catch (error) {
      this.#refused("page");
      throw error;
    }
    return { subject: `at:${limitKeyOf(origin.address)}` };
  }

  /** Counts a request of a caller and lets it in. @throws Fault rate_limited */
  take(caller: Caller): Admission | Promise<Admission> {
    const limits = this.#limitsOf(caller);
    if (limits.requestsPerMinute === undefined && limits.tokensPerDay === undefined) return this.#admission(caller, {});
    const verdict = this.#parts.meter.take(caller.subject, limits);
    return verdict instanceof Promise
      ? verdict.then((said) => this.#decided(caller, limits, said))
      : this.#decided(caller, limits, verdict);
  }

  /** Looks at the keys of all answers in work again, and ends those whose key may no longer be used. */
  recheck(): void {
    for (const [caller, stop] of this.#live) {
      const { key } = caller;
      const now = key === undefined ? undefined : this.#parts.keyring.byId(key.id);
      const why = now === undefined || now.hash !== key?.hash ? "the key was taken back" : refusalOf(now, this.#now());
      if (why !== undefined) stop.abort(new Fault("unauthorized", why));
    }
  }

  /** Answers in work that a revoked key would end. */
  get watched(): number {
    return this.#live.size;
  }

  #decided(caller: Caller, limits: Limits, verdict: Verdict): Admission {
    const headers = headersOf(verdict.allowance);
    if (verdict.ok) return this.#admission(caller, headers);
    this.#refused(verdict.of);
    const most =
      verdict.of === "requests"
        ? `${limits.requestsPerMinute ?? 0} requests a minute`
        : `${limits.tokensPerDay ?? 0} tokens a day`;
    throw new Fault("rate_limited", `${nameOf(caller)} may ask ${most}; ask again in ${verdict.retrySeconds} s`, {
      retryAfterSeconds: verdict.retrySeconds,
      headers,
    });
  }

  #admission(caller: Caller, headers: Record<string, string>): Admission {
    const { key, subject } = caller;
    const { keyring, meter } = this.#parts;
    const refused = (why: Refusal): void => this.#refused(why);
    const live = this.#live;
    let settled = false;
    return {
      principal: subject,
      admin: key?.admin ?? false,
      headers,
      userFor: (named) => {
        if (key?.users === "any" || (key?.admin ?? false)) return named;
        if (key?.user !== undefined) {
          if (named === undefined || named === key.user) return key.user;
          refused("user");
          throw new Fault("forbidden", `user: the key ${key.id} asks as ${key.user} and as nobody else`);
        }
        if (named === undefined || !keyring.owns(named)) return named;
        refused("user");
        throw new Fault("forbidden", "user: this user has a key of his own; show it to ask as him");
      },
      checkModel: (names) => {
        if (key?.models === undefined || key.models.some((one) => names.includes(one))) return;
        refused("model");
        throw new Fault("forbidden", `model: the key ${key.id} may ask ${key.models.join(", ")}`);
      },
      get ended(): AbortSignal | undefined {
        if (key === undefined) return undefined;
        let stop = live.get(caller);
        if (stop === undefined) live.set(caller, (stop = new AbortController()));
        return stop.signal;
      },
      settle: ({ promptTokens, answerTokens }: TokensUsed) => {
        if (settled) return;
        settled = true;
        if (subject !== "") meter.spend(subject, promptTokens + answerTokens);
      },
      release: () => {
        live.delete(caller);
      },
    };
  }

  #limitsOf({ key }: Caller): Limits {
    return key ?? this.#parts.config.anonymousLimits;
  }

  /** A failure of an address, counted. */
  #unauthorized(origin: Origin, why: Refusal, message: string): Fault {
    const subject = limitKeyOf(origin.address);
    const verdict = this.#parts.failures.take(subject, { requestsPerMinute: this.#parts.config.failuresPerMinute });
    if (!(verdict instanceof Promise) && !verdict.ok) {
      this.#refused("too_many_failures");
      return new Fault(
        "rate_limited",
        "too many requests without a right key from this address (access.failuresPerMinute)",
        {
          retryAfterSeconds: verdict.retrySeconds,
          headers: headersOf(verdict.allowance),
        },
      );
    }
    this.#refused(why);
    return new Fault("unauthorized", message, { headers: { "www-authenticate": 'Bearer realm="gorkheavy"' } });
  }

  #refused(why: Refusal): void {
    this.#parts.refused?.(why);
  }
}

function nameOf({ key }: Caller): string {
  return key === undefined ? "this address" : `the key ${key.id}`;
}

function wanted(anonymous: AccessConfig["anonymous"]): string {
  const without =
    anonymous === "nobody"
      ? "nobody may ask without one (access.anonymous: nobody)"
      : "without one only programs on this machine may ask, straight and through no proxy (access.anonymous: loopback)";
  return `send authorization: Bearer gh_…; ${without}`;
}
