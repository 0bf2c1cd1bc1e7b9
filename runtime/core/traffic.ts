import type { Member } from "../contracts/ensemble-config.ts";
import type { Attempted } from "./attempted.ts";
import { Breaker, type BreakerLimits } from "./breaker.ts";
import { Fault } from "./fault.ts";

/** When a second call is made beside a slow one. */
export interface HedgeLimits {
  /** Percentile of the member's own times to the first word after which a call counts as slow. */
  percentile: number;
  /** Most extra calls, as a share of all calls of a member. 0 switches hedging off. */
  budgetRatio: number;
  /** Answers that must have been seen before a time counts as slow. */
  samples: number;
}

/** Times kept of each member; old ones go. */
const WINDOW = 200;

/** Most extra calls saved up while none were needed. */
const MOST_SAVED = 5;

/** A call counts as slow only so much after the percentile: times right at it are half of all tails. */
const SLACK_RATIO = 1.1;
const SLACK_MS = 2;

/** What is known of one member's calls. */
interface Track {
  breaker: Breaker;
  /** Ms to the first word of the last answers, newest at `at`. */
  times: number[];
  at: number;
  hedgeCredit: number;
  /** Sorted copy of `times`; undefined when it has to be made again. */
  sorted: number[] | undefined;
}

/** Learns from every call of every member who is down and what is slow. */
export class Traffic {
  readonly #breaker: BreakerLimits;
  readonly #hedge: HedgeLimits;
  readonly #now: () => number;
  readonly #tracks = new Map<string, Track>();

  constructor(limits: { breaker: BreakerLimits; hedge: HedgeLimits }, now: () => number) {
    this.#breaker = limits.breaker;
    this.#hedge = limits.hedge;
    this.#now = now;
  }

  /** Undefined when the member may be called; otherwise the fault that tells why not. Whoever may call must say how it `ended`. */
  admit(member: Member): Fault | undefined {
    const { breaker } = this.#track(member.name);
    if (breaker.admit(this.#now())) return undefined;
    const seconds = Math.max(1, Math.ceil(breaker.waitMs(this.#now()) / 1000));
    return new Fault(
      "model_unreachable",
      `${member.url} failed ${this.#breaker.failures} times in a row and is left alone for ${seconds} s`,
      {
        member: member.name,
        retryAfterSeconds: seconds,
      },
    );
  }

  /** Ms after which a second call may be made beside one without a word so far. Undefined while too little is known or the budget is spent. */
  hedgeAfterMs(member: Member): number | undefined {
    const track = this.#track(member.name);
    if (track.times.length < this.#hedge.samples || track.hedgeCredit < 1) return undefined;
    track.sorted ??= track.times.toSorted((a, b) => a - b);
    const rank = Math.min(track.sorted.length - 1, Math.floor((track.sorted.length * this.#hedge.percentile) / 100));
    return (track.sorted[rank] ?? 0) * SLACK_RATIO + SLACK_MS;
  }

  /** A second call was made. */
  hedged(member: Member): void {
    this.#track(member.name).hedgeCredit--;
  }

  /** A call that was admitted has ended. */
  ended(member: Member, done: Attempted): void {
    const track = this.#track(member.name);
    track.hedgeCredit = Math.min(MOST_SAVED, track.hedgeCredit + this.#hedge.budgetRatio);
    if (done.legFirstTokenMs !== undefined) {
      if (track.times.length < WINDOW) track.times.push(done.legFirstTokenMs);
      else track.times[track.at] = done.legFirstTokenMs;
      track.at = (track.at + 1) % WINDOW;
      track.sorted = undefined;
    }
    if (done.status === "ok") track.breaker.succeeded();
    else if (done.status === "failed" || done.status === "timeout") track.breaker.failed(this.#now());
    else track.breaker.abandoned(this.#now());
  }

  /** A health check found the member well. */
  seenWell(name: string): void {
    this.#tracks.get(name)?.breaker.hint(this.#now());
  }

  /** State of a member's breaker. */
  breakerState(name: string): Breaker["state"] {
    return this.#tracks.get(name)?.breaker.state ?? "closed";
  }

  #track(name: string): Track {
    let track = this.#tracks.get(name);
    if (track === undefined) {
      track = { breaker: new Breaker(this.#breaker), times: [], at: 0, hedgeCredit: 1, sorted: undefined };
      this.#tracks.set(name, track);
    }
    return track;
  }
}
