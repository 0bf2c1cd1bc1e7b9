import type { Clock } from "../../runtime/engine/residency/clock.ts";

/** Time that only goes on when it is told to: timers fire in their order, and what they set off has its turn before the next. */
export class FakeClock implements Clock {
  #nowMs = 0;
  #timers: { atMs: number; fire: () => void }[] = [];
  readonly #dayMs: number;

  /** @param dayMs time of day at its begin, ms since 1970 */
  constructor(dayMs = Date.UTC(2026, 0, 5)) {
    this.#dayMs = dayMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#dayMs + this.#nowMs;
  }

  after(ms: number, fire: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, fire };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  /** A wait on this clock, or until the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
      signal?.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  /** Goes on by so many ms. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settled();
    for (;;) {
      const next = this.#timers.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#timers = this.#timers.filter((one) => one !== next);
      this.#nowMs = next.atMs;
      next.fire();
      await settled();
    }
    this.#nowMs = untilMs;
  }
}

/** Until every promise that can settle by itself has done so. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}
