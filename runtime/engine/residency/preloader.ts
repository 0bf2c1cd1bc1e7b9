import type { Clock } from "./clock.ts";
import { endOfHour, UsagePatterns } from "./patterns.ts";

/** What is known of the hours in which models are asked, and how it is kept. */
export interface Usage {
  readonly patterns: UsagePatterns;
  /** Keeps what is new. It does not fail. */
  save(): Promise<void>;
}

/** How often it looks ahead, and how far, ms: a large model has the time to be loaded before its hour begins. */
const LOOK_MS = 60_000;
const AHEAD_MS = 300_000;

/** Loads models ahead of the hours in which they are usually asked, as far as there is memory that nobody has, and counts whether they then were. */
export class Preloader {
  readonly #usage: Usage;
  readonly #clock: Clock;
  readonly #preload: (name: string, untilMs: number) => boolean;
  /** Until when each preloaded model is expected to be asked, ms since 1970. */
  readonly #expected = new Map<string, number>();
  #cancel: (() => void) | undefined;
  /** Preloaded models that were asked in their hour, and found in memory. */
  hits = 0;
  /** Those that were not. */
  misses = 0;

  /**
   * @param preload wants a model in memory until a time of the clock; says whether it was not there
   * @param usage what is known already; absent: nothing, and nothing is kept
   */
  constructor(
    clock: Clock,
    preload: (name: string, untilMs: number) => boolean,
    usage: Usage = { patterns: new UsagePatterns(), save: () => Promise.resolve() },
  ) {
    this.#usage = usage;
    this.#clock = clock;
    this.#preload = preload;
  }

  /** Share of the preloads that were of use, 0 to 1; undefined before the first has shown it. */
  get hitRatio(): number | undefined {
    const all = this.hits + this.misses;
    return all === 0 ? undefined : this.hits / all;
  }

  /** A model was asked. @param ready whether it was in memory */
  used(name: string, ready: boolean): void {
    this.#usage.patterns.note(name, this.#clock.wallMs());
    if (!this.#expected.delete(name)) return;
    if (ready) this.hits++;
    else this.misses++;
  }

  /** Looks ahead from now on, or no longer; what was learned stays. */
  turn(on: boolean): void {
    if (!on) {
      this.#cancel?.();
      this.#cancel = undefined;
    } else if (this.#cancel === undefined) this.#look();
  }

  /** Looks ahead no longer, and keeps what was learned, where it had looked ahead. */
  async close(): Promise<void> {
    if (this.#cancel === undefined) return;
    this.turn(false);
    await this.#usage.save();
  }

  #look(): void {
    void this.#usage.save();
    const wallMs = this.#clock.wallMs();
    for (const [name, untilMs] of this.#expected) {
      if (wallMs < untilMs) continue;
      this.#expected.delete(name);
      this.misses++;
    }
    const untilMs = endOfHour(wallMs + AHEAD_MS);
    for (const name of this.#usage.patterns.likely(wallMs + AHEAD_MS)) {
      if (this.#preload(name, this.#clock.nowMs() + untilMs - wallMs)) this.#expected.set(name, untilMs);
    }
    this.#cancel = this.#clock.after(LOOK_MS, () => this.#look());
  }
}
