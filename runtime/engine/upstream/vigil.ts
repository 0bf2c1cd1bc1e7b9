import { Fault } from "../../core/fault.ts";
import type { FaultCode } from "../../contracts/errors.ts";
import { sleep } from "../../support/clock.ts";

/** How a model on another server is watched. */
export interface VigilOptions {
  /** Time between two looks, ms. */
  everyMs: number;
  /** Longest time of a look, ms. */
  lookMs: number;
  /** Looks in a row that may fail for want of a connection before the model counts as lost: one broken connection is no lost server. */
  misses: number;
}

/** Looks every five seconds, for at most five; the second in a row without an answer is one too many. */
export const VIGIL: VigilOptions = { everyMs: 5_000, lookMs: 5_000, misses: 2 };

/** Faults after which it is not certain that the model is still there. */
const DOUBTFUL: ReadonlySet<FaultCode> = new Set(["model_unreachable", "unknown_model", "model_failed"]);

/** Watches one model on another server from its load to its unload, and says once why it is lost. */
export class Vigil {
  /** Settles with the reason when the model is lost. Never, when the vigil ends first. */
  readonly gone: Promise<string>;
  readonly #stop = new AbortController();
  readonly #lost = new AbortController();
  #told: (reason: string) => void = () => undefined;
  #wake = new AbortController();

  /** @param look says why the model is lost, or nothing; throws when the server does not answer */
  constructor(options: VigilOptions, look: (signal: AbortSignal) => Promise<string | undefined>) {
    this.gone = new Promise((resolve) => {
      this.#told = resolve;
    });
    void this.#watch(options, look);
  }

  /** Aborts when the model is lost: what still waits for its words waits in vain. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /**
   * The error of a call, with what is known of the server: a broken connection may be a server that is gone, a missing model one that was taken
   * away, so both are looked into now and not later.
   */
  judged(error: unknown, signal: AbortSignal, model: string): unknown {
    if (signal.aborted || !(error instanceof Error)) return error;
    if (this.lost.aborted) return new Fault("model_unreachable", `${model}: ${error.message}`, { cause: error });
    if (error instanceof Fault && DOUBTFUL.has(error.code)) this.#wake.abort();
    return error;
  }

  /** Ends the vigil; nothing is said after it. */
  end(): void {
    this.#stop.abort();
    this.#wake.abort();
  }

  async #watch(
    { everyMs, lookMs, misses }: VigilOptions,
    look: (signal: AbortSignal) => Promise<string | undefined>,
  ): Promise<void> {
    for (let missed = 0; ; ) {
      // After a look in vain the next one comes at once, a second later at most.
      await sleep(missed === 0 ? everyMs : Math.min(everyMs, 1_000), this.#wake.signal).catch(() => undefined);
      if (this.#stop.signal.aborted) return;
      this.#wake = new AbortController();
      let reason: string | undefined;
      try {
        reason = await look(AbortSignal.any([this.#stop.signal, AbortSignal.timeout(lookMs)]));
        missed = 0;
      } catch (error) {
        missed++;
        const why = error instanceof Error ? error.message : "no answer";
        if (missed >= misses) reason = `${why}, ${missed} times in a row`;
      }
      if (this.#stop.signal.aborted) return;
      if (reason === undefined) continue;
      this.#lost.abort(new Error(reason));
      this.#told(reason);
      return;
    }
  }
}
