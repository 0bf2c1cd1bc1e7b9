/** What one subject may ask. Absent: no limit. */
export interface Limits {
  requestsPerMinute?: number | undefined;
  tokensPerDay?: number | undefined;
}

/** What is left of a subject's requests, for the answer's headers. */
export interface Allowance {
  limit: number;
  remaining: number;
  /** Until all of it is there again, s. */
  resetSeconds: number;
}

/** Whether a request may go on. */
export type Verdict =
  | { ok: true; allowance?: Allowance }
  | { ok: false; of: "requests" | "tokens"; retrySeconds: number; allowance?: Allowance };

/** Counts what subjects ask: requests by the minute, tokens by the day (midnight to midnight UTC). */
export interface Meter {
  /** Takes one request, unless a limit is reached; then nothing is taken. */
  take(subject: string, limits: Limits): Verdict | Promise<Verdict>;
  /** Adds tokens that an answer cost. Never fails. */
  spend(subject: string, tokens: number): void;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** What is kept of a subject. */
interface Account {
  /**
   * When all of its requests are there again, ms of the clock: a full bucket is one whose time has passed. One number is the whole bucket
   * (the generic cell rate algorithm, ITU-T I.371): a bucket holds a minute's requests and gets one each `60 / requestsPerMinute` seconds.
   */
  fullAtMs: number;
  /** Day that `tokens` are of, counted from 1970. */
  day: number;
  tokens: number;
}

/** Accounts in this process, of those heard of last: memory is the same whatever comes. One that goes begins anew, which its owner had by another address too. */
export class MemoryMeter implements Meter {
  readonly #accounts = new Map<string, Account>();
  readonly #most: number;
  readonly #now: () => number;

  /** @param most accounts kept. @param now time of day, ms */
  constructor(most: number, now: () => number = Date.now) {
    this.#most = most;
    this.#now = now;
  }

  /** Accounts kept now. */
  get size(): number {
    return this.#accounts.size;
  }

  take(subject: string, { requestsPerMinute, tokensPerDay }: Limits): Verdict {
    const nowMs = this.#now();
    const account = this.#accounts.get(subject);
    const day = Math.floor(nowMs / DAY_MS);
    if (tokensPerDay !== undefined && account?.day === day && account.tokens >= tokensPerDay)
      return { ok: false, of: "tokens", retrySeconds: secondsToMidnight(nowMs) };
    if (requestsPerMinute === undefined) return { ok: true };
    const eachMs = MINUTE_MS / requestsPerMinute;
    const fullAtMs = Math.max(nowMs, account?.fullAtMs ?? 0) + eachMs;
    // A hair of room: thirds of a minute do not add up to one in floating point.
    const overMs = fullAtMs - nowMs - MINUTE_MS;
    if (overMs > 0.5) {
      const allowance = allowanceOf(requestsPerMinute, fullAtMs - eachMs - nowMs);
      return { ok: false, of: "requests", retrySeconds: Math.max(1, Math.ceil(overMs / 1000)), allowance };
    }
    this.#keep(subject, { fullAtMs, day: account?.day ?? day, tokens: account?.tokens ?? 0 });
    return { ok: true, allowance: allowanceOf(requestsPerMinute, fullAtMs - nowMs) };
  }

  spend(subject: string, tokens: number): void {
    if (!(tokens > 0)) return;
    const day = Math.floor(this.#now() / DAY_MS);
    const account = this.#accounts.get(subject);
    const spent = account?.day === day ? account.tokens : 0;
    this.#keep(subject, { fullAtMs: account?.fullAtMs ?? 0, day, tokens: spent + tokens });
  }

  #keep(subject: string, account: Account): void {
    this.#accounts.delete(subject);
    this.#accounts.set(subject, account);
    if (this.#accounts.size <= this.#most) return;
    const [oldest] = this.#accounts.keys();
    if (oldest !== undefined) this.#accounts.delete(oldest);
  }
}

/** What is left in a bucket that is full again after so many ms. */
export function allowanceOf(requestsPerMinute: number, untilFullMs: number): Allowance {
  const taken = Math.ceil((untilFullMs * requestsPerMinute) / MINUTE_MS - 1e-6);
  return {
    limit: requestsPerMinute,
    remaining: Math.max(0, requestsPerMinute - taken),
    resetSeconds: Math.max(0, Math.ceil(untilFullMs / 1000)),
  };
}

/** Seconds until midnight UTC. */
export function secondsToMidnight(nowMs: number): number {
  return Math.max(1, Math.ceil((DAY_MS - (nowMs % DAY_MS)) / 1000));
}

/** The headers of an allowance. Source: draft-ietf-httpapi-ratelimit-headers-06, 5: `limit`, `remaining`, and `reset` in seconds. */
export function headersOf(allowance: Allowance | undefined): Record<string, string> {
  if (allowance === undefined) return {};
  return {
    "ratelimit-limit": String(allowance.limit),
    "ratelimit-remaining": String(allowance.remaining),
    "ratelimit-reset": String(allowance.resetSeconds),
  };
}
