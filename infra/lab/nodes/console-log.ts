import { appendFileSync, renameSync, statSync } from "node:fs";

/** How large a machine's console log may grow before it starts anew, bytes; one older file of this size is kept. */
export const CONSOLE_LOG_BYTES = 1024 * 1024;

/** A machine's serial console, kept in a file that cannot fill the disk. */
export class ConsoleLog {
  readonly #path: string;
  readonly #limitBytes: number;
  #bytes: number;

  /** @param path file; the one before it is `path.1` */
  constructor(path: string, limitBytes = CONSOLE_LOG_BYTES) {
    this.#path = path;
    this.#limitBytes = limitBytes;
    this.#bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Appends, as it came. A full disk must not end a machine, so what cannot be written is dropped. */
  write(chunk: Buffer | string): void {
    try {
      if (this.#bytes + chunk.length > this.#limitBytes && this.#bytes > 0) {
        renameSync(this.#path, `${this.#path}.1`);
        this.#bytes = 0;
      }
      appendFileSync(this.#path, chunk, { mode: 0o600 });
      this.#bytes += chunk.length;
    } catch {
      // Nothing better can be done with a console's output.
    }
  }
}
