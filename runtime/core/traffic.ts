import type { Member } from "../contracts/ensemble-config.ts";
import type { Attempted } from "./attempted.ts";
import { choosePod } from "./balance.ts";
import { Breaker, type BreakerLimits, type BreakerState } from "./breaker.ts";
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

/**
 * What one call says of the pod that had it. `ok`: it answered; `failed`: it answered with an error, or was slower than its deadline or than
 * the call beside it; `unreachable`: no connection, a broken one, or no sign of life; `abandoned`: nothing.
 */
export type PassageEnd = "ok" | "failed" | "unreachable" | "abandoned";

/** The right to make one call to one pod. Whoever has it must say how it ended, once. */
export interface Passage {
  /** Base address of the pod. */
  readonly pod: string;
  readonly ended: (end: PassageEnd) => void;
}

/** How to call a member. */
export interface Wanted {
  /** Base addresses of its pods; not empty. */
  pods: readonly string[];
  /** Calls with the same one share the beginnings of their prompts. */
  affinity: string;
  /** Pods that were tried already: taken only where there is no other. */
  avoid?: ReadonlySet<string>;
}

/** A pod's breaker and what is on its way to it. */
interface PodTrack {
  breaker: Breaker;
  /** Calls on their way, by affinity. */
  inFlight: Map<string, number>;
  total: number;
  /** Its breaker was opened by a connection: a sign of life is enough to close it. */
  unreachable: boolean;
}

/** What is known of one member's calls. */
interface Track {
  pods: Map<string, PodTrack>;
  /** Ms to the first word of the last answers, newest at `at`. */
  times: number[];
  at: number;
  hedgeCredit: number;
  /** Sorted copy of `times`; undefined when it has to be made again. */
  sorted: number[] | undefined;
}

/** Learns from every call of every member which pod is down, which is busy, and what is slow. */
export class Traffic {
  readonly #breaker: BreakerLimits;
  readonly #hedge: HedgeLimits;
  readonly #now: () => number;
  readonly #probe: ((member: Member, pod: string) => Promise<boolean>) | undefined;
  readonly #tracks = new Map<string, Track>();

  /** @param probe asks a pod for a sign of life. Absent: a question has to find out whether a pod is back */
  constructor(
    limits: { breaker: BreakerLimits; hedge: HedgeLimits },
    now: () => number,
    probe?: (member: Member, pod: string) => Promise<boolean>,
  ) {
    this.#breaker = limits.breaker;
    this.#hedge = limits.hedge;
    this.#now = now;
    this.#probe = probe;
  }

  /** Chooses a pod for one call of a member; or the fault that tells why none may be called now. */
  passage(member: Member, { pods, affinity, avoid }: Wanted): Passage | Fault {
    const track = this.#track(member.name);
    if (track.pods.size > pods.length) forget(track, pods);
    const now = this.#now();
    const all = pods.map((pod) => ({ pod, one: this.#pod(track, pod), tried: avoid?.has(pod) === true }));
    const well = all.filter(({ one }) => one.breaker.state === "closed");
    const probed = all.find(({ pod, one, tried }) => !tried && this.#probes(member, pod, one, well.length > 0, now));
    if (probed !== undefined) return this.#grant(probed.pod, probed.one, affinity, pods.length > 1);
    const untried = well.filter(({ tried }) => !tried);
    // A pod that was tried and works is better than one that is left alone.
    const usable = untried.length > 0 ? untried : well;
    if (usable.length > 0) {
      const pod = choosePod(
        usable.map(({ pod: name, one }) => ({ pod: name, load: one.total - (one.inFlight.get(affinity) ?? 0) })),
        affinity,
      );
      return this.#grant(pod, this.#pod(track, pod), affinity, pods.length > 1);
    }
    const seconds = Math.max(1, Math.ceil(Math.min(...all.map(({ one }) => one.breaker.waitMs(now))) / 1000));
    const why =
      pods.length === 1
        ? `${pods[0] ?? member.url} failed ${this.#breaker.failures} times in a row and is`
        : `all ${pods.length} pods behind ${member.podsUrl ?? member.url} failed and are`;
    return new Fault("model_unreachable", `${why} left alone for ${seconds} s`, {
      member: member.name,
      retryAfterSeconds: seconds,
    });
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

  /** An answer of a member has ended, retries and second calls included. */
  ended(member: Member, done: Attempted): void {
    const track = this.#track(member.name);
    track.hedgeCredit = Math.min(MOST_SAVED, track.hedgeCredit + this.#hedge.budgetRatio);
    if (done.legFirstTokenMs === undefined) return;
    if (track.times.length < WINDOW) track.times.push(done.legFirstTokenMs);
    else track.times[track.at] = done.legFirstTokenMs;
    track.at = (track.at + 1) % WINDOW;
    track.sorted = undefined;
  }

  /** A health check found a pod well. */
  seenWell(name: string, pod: string): void {
    this.#tracks.get(name)?.pods.get(pod)?.breaker.hint(this.#now());
  }

  /** Whether all pods of a member that were called are left alone now. */
  isDown(name: string): boolean {
    const pods = [...(this.#tracks.get(name)?.pods.values() ?? [])];
    return pods.length > 0 && pods.every(({ breaker }) => breaker.state !== "closed");
  }

  /** Every pod that was called, and where its breaker stands. */
  breakers(): { member: string; pod: string; state: BreakerState }[] {
    return [...this.#tracks].flatMap(([member, { pods }]) =>
      [...pods].map(([pod, { breaker }]) => ({ member, pod, state: breaker.state })),
    );
  }

  /**
   * Whether this call is to find out if a pod is back that was left alone. While others can be asked, no question is spent on one that
   * could not be reached: it is asked for a sign of life instead.
   */
  #probes(member: Member, pod: string, one: PodTrack, others: boolean, now: number): boolean {
    if (one.breaker.state !== "open" || !one.breaker.admit(now)) return false;
    if (!others || !one.unreachable || this.#probe === undefined) return true;
    this.#probe(member, pod).then(
      (alive) => (alive ? one.breaker.succeeded() : one.breaker.failed(this.#now())),
      () => one.breaker.failed(this.#now()),
    );
    return false;
  }

  #grant(pod: string, one: PodTrack, affinity: string, several: boolean): Passage {
    one.total++;
    one.inFlight.set(affinity, (one.inFlight.get(affinity) ?? 0) + 1);
    let over = false;
    return {
      pod,
      ended: (end) => {
        if (over) return;
        over = true;
        one.total--;
        const left = (one.inFlight.get(affinity) ?? 1) - 1;
        if (left === 0) one.inFlight.delete(affinity);
        else one.inFlight.set(affinity, left);
        const { breaker } = one;
        if (end === "ok") breaker.succeeded();
        else if (end === "abandoned") breaker.abandoned(this.#now());
        else {
          one.unreachable = end === "unreachable";
          // One of several that cannot be reached is left alone at once: the others can be asked, and each try may cost a whole timeout.
          breaker.failed(this.#now(), several && one.unreachable);
        }
      },
    };
  }

  #pod(track: Track, pod: string): PodTrack {
    let one = track.pods.get(pod);
    if (one === undefined) {
      one = { breaker: new Breaker(this.#breaker), inFlight: new Map(), total: 0, unreachable: false };
      track.pods.set(pod, one);
    }
    return one;
  }

  #track(name: string): Track {
    let track = this.#tracks.get(name);
    if (track === undefined) {
      track = { pods: new Map(), times: [], at: 0, hedgeCredit: 1, sorted: undefined };
      this.#tracks.set(name, track);
    }
    return track;
  }
}

/** Forgets pods that are gone and to which nothing is on its way. */
function forget(track: Track, pods: readonly string[]): void {
  for (const [pod, { total }] of track.pods) if (total === 0 && !pods.includes(pod)) track.pods.delete(pod);
}
