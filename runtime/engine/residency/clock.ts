import { monotonicMs, timer } from "../../support/clock.ts";

/** Time as the residency sees it; tests bring their own. */
export interface Clock {
  /** Only goes forward, ms. */
  nowMs(): number;
  /** Time of day, ms since 1970. */
  wallMs(): number;
  /** Calls `fire` once after so many ms; the answer cancels it. */
  after(ms: number, fire: () => void): () => void;
}

/** This machine's clocks. */
export const SYSTEM_CLOCK: Clock = { nowMs: monotonicMs, wallMs: Date.now, after: timer };
