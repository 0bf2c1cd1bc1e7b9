/** Values pushed by one side and read by another, in order. Nothing bounds it: only for streams whose length is known to be small. */
export class Pipe<T> implements AsyncIterable<T> {
  readonly #values: T[] = [];
  #ended = false;
  #wake: () => void = () => undefined;

  /** Adds a value for the reader. */
  push(value: T): void {
    this.#values.push(value);
    this.#wake();
  }

  /** No more values will come; the reader gets those that are there. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const value = this.#values.shift();
      if (value !== undefined) yield value;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
