/** Runs work one at a time for each key (a VM id); different keys do not wait for each other. Keys nobody holds take no memory. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `work` after everything asked for before with the same key has settled. Not re-entrant. */
  async run<T>(key: string | number, work: () => Promise<T>): Promise<T> {
    const name = String(key);
    const before = this.#tails.get(name) ?? Promise.resolve();
    const result = before.then(work);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(name, tail);
    try {
      return await result;
    } finally {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    }
  }
}
