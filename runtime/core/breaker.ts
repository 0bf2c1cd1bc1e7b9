/** When a breaker opens and for how long. */
export interface BreakerLimits {
  /** Failures in a row that open it. */
  failures: number;
  /** First time that it stays open, ms; each further one is twice as long. */
  openMs: number;
  /** Longest time that it stays open, ms. */
  longestMs: number;
}

/** Where a breaker stands: `closed` lets all through, `open` none, `half-open` one probe. */
export type BreakerState = "closed" | "open" | "half-open";

/**
 * Leaves a server alone after failures in a row, then lets exactly one call through to see whether it is back.
 * Pure: the time is passed in, ms on any clock that only goes forward.
 */
export class Breaker {
  readonly #limits: BreakerLimits;
  #failures = 0;
  #opened = 0;
  #openUntil = 0;
  #state: BreakerState = "closed";

  constructor(limits: BreakerLimits) {
    this.#limits = limits;
  }

  /** Its state now. */
  get state(): BreakerState {
    return this.#state;
  }

  /** Whether a call may go through now. A yes from an open breaker makes that call the probe: its end must be told. */
  admit(nowMs: number): boolean {
    if (this.#state === "closed") return true;
    if (this.#state === "half-open" || nowMs < this.#openUntil) return false;
    this.#state = "half-open";
    return true;
  }

  /** A call answered. */
  succeeded(): void {
    this.#failures = 0;
    this.#opened = 0;
    this.#state = "closed";
  }

  /** A call failed by the server's fault. @param atOnce opens it whatever was before */
  failed(nowMs: number, atOnce = false): void {
    this.#failures++;
    if (!atOnce && this.#state !== "half-open" && this.#failures < this.#limits.failures) return;
    if (this.#state === "open") return;
    this.#openUntil = nowMs + Math.min(this.#limits.longestMs, this.#limits.openMs * 2 ** this.#opened);
    this.#opened++;
    this.#state = "open";
  }

  /** A call ended without saying anything about the server, such as by the client's going. A probe is given back. */
  abandoned(nowMs: number): void {
    if (this.#state !== "half-open") return;
    this.#state = "open";
    this.#openUntil = nowMs;
  }

  /** Somebody else saw the server well: the next call may try it at once. */
  hint(nowMs: number): void {
    if (this.#state === "open") this.#openUntil = nowMs;
  }

  /** Ms until a call may go through; 0 when one may now. */
  waitMs(nowMs: number): number {
    return this.#state === "open" ? Math.max(0, this.#openUntil - nowMs) : 0;
  }
}
