/** One conversation's window and whether somebody uses it. */
interface Slot<S> {
  sequence: S;
  busy: boolean;
  /** Counts up with each use; the smallest was not used for longest. */
  used: number;
}

/** The windows of one model. A request gets the free one that already holds most of its prompt, so that only the rest has to be read. */
export class Slots<S> {
  readonly #slots: Slot<S>[];
  readonly #common: (sequence: S, tokens: readonly number[]) => number;
  readonly #waiting: (() => void)[] = [];
  #uses = 0;

  /** @param common tokens at the front that a window already holds */
  constructor(sequences: readonly S[], common: (sequence: S, tokens: readonly number[]) => number) {
    this.#slots = sequences.map((sequence) => ({ sequence, busy: false, used: 0 }));
    this.#common = common;
  }

  /** Waits for a free window, first come, first served. @returns the window and what gives it back. @throws the signal's reason */
  async take(tokens: readonly number[], signal: AbortSignal): Promise<{ sequence: S; release: () => void }> {
    while (this.#slots.every(({ busy }) => busy)) await this.#freed(signal);
    signal.throwIfAborted();
    const free = this.#slots.filter(({ busy }) => !busy);
    const [best] = free
      .map((slot) => ({ slot, common: this.#common(slot.sequence, tokens) }))
      .toSorted((a, b) => b.common - a.common || a.slot.used - b.slot.used);
    if (best === undefined) throw new RangeError("no window is free");
    const { slot } = best;
    slot.busy = true;
    slot.used = ++this.#uses;
    return {
      sequence: slot.sequence,
      release: () => {
        slot.busy = false;
        this.#waiting.shift()?.();
      },
    };
  }

  #freed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener("abort", gone);
        resolve();
      };
      const gone = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
      };
      if (signal.aborted) {
        reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
        return;
      }
      this.#waiting.push(go);
      signal.addEventListener("abort", gone, { once: true });
    });
  }
}
