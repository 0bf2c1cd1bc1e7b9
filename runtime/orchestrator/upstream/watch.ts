/** When a silent server is asked for a sign of life. */
export interface Vigil {
  /** Silence that is not worth a question, ms. 0: it is never asked. */
  silenceMs: number;
  /** Asks the server; false when it gave no sign in time. */
  alive(): Promise<boolean>;
}

/**
 * The parts of a stream as they come. A connection can be open and dead: the server's process stopped, its node gone. No part would ever come,
 * and no error either, so after a silence the server is asked for a sign of life on another connection; `dead` is called if it gives none.
 * One timer for the whole stream, not one for each part.
 */
export class Watched {
  readonly #vigil: Vigil;
  readonly #dead: () => void;
  #heardMs = performance.now();
  #handle: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(vigil: Vigil, dead: () => void) {
    this.#vigil = vigil;
    this.#dead = dead;
    if (vigil.silenceMs > 0) this.#wait(vigil.silenceMs);
  }

  /** Something was heard. */
  heard(): void {
    this.#heardMs = performance.now();
  }

  /** Nothing is waited for any more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#handle);
  }

  #wait(ms: number): void {
    this.#handle = setTimeout(() => void this.#look(), ms);
  }

  async #look(): Promise<void> {
    const { silenceMs } = this.#vigil;
    const heardMs = this.#heardMs;
    const silentMs = performance.now() - heardMs;
    if (silentMs < silenceMs) return this.#wait(silenceMs - silentMs);
    const alive = await this.#vigil.alive();
    if (this.#closed) return;
    if (alive || this.#heardMs > heardMs) return this.#wait(silenceMs);
    this.#dead();
  }
}
