import { Fault } from "../../core/fault.ts";
import { monotonicMs, sleep } from "../../support/clock.ts";

const REACH_MS = 60_000;
/** First and longest pause between two tries, ms. */
const PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 2_000;

/**
 * Does a thing again while the server cannot be reached or is still loading: both may start at the same time.
 * @param reachMs longest time without a sign of the server. @default 60000. @throws the last fault, or the signal's reason
 */
export async function untilReached<T>(work: () => Promise<T>, signal: AbortSignal, reachMs = REACH_MS): Promise<T> {
  let heardMs = monotonicMs();
  for (let pauseMs = PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
    try {
      return await work();
    } catch (error) {
      const code = error instanceof Fault ? error.code : undefined;
      if (code === "model_loading" || code === "overloaded") heardMs = monotonicMs();
      else if (code !== "model_unreachable" || monotonicMs() - heardMs + pauseMs > reachMs) throw error;
      await sleep(pauseMs, signal);
    }
  }
}
