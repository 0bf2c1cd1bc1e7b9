import { stat } from "node:fs/promises";
import type { Logger } from "../../support/log.ts";
import { type Keyring, readKeysFile } from "./keyring.ts";

/** How often the file is looked at, ms. Looked at and not watched: a Secret's file is a link that Kubernetes changes somewhere else. */
const EVERY_MS = 2_000;

/** Keeps a keyring as its file says. A file that cannot be used changes nothing, and is complained of each time it changes. */
export class KeysWatch {
  readonly #file: string;
  readonly #keyring: Keyring;
  readonly #log: Pick<Logger, "info" | "error">;
  readonly #changed: () => void;
  #seen = "";
  #broken = false;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param changed called after the keys have changed, and each time the file was looked at */
  constructor(
    file: string,
    keyring: Keyring,
    log: Pick<Logger, "info" | "error">,
    changed: () => void = () => undefined,
  ) {
    this.#file = file;
    this.#keyring = keyring;
    this.#log = log;
    this.#changed = changed;
  }

  /** Whether the file as it is now could not be used, so that the keys are those of before. */
  get broken(): boolean {
    return this.#broken;
  }

  /** Reads the file for the first time and goes on looking at it. @throws KeysFileError */
  async start(everyMs = EVERY_MS): Promise<void> {
    this.#seen = await this.#mark();
    this.#keyring.replace(await readKeysFile(this.#file));
    const again = (): void => {
      if (this.#closed) return;
      this.#timer = setTimeout(() => void this.look().finally(again), everyMs);
      this.#timer.unref();
    };
    again();
  }

  /** Looks no more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** Looks at the file, and reads it when it has changed. Never fails. */
  async look(): Promise<void> {
    const mark = await this.#mark();
    if (mark !== this.#seen) {
      this.#seen = mark;
      try {
        this.#keyring.replace(await readKeysFile(this.#file));
        this.#broken = false;
        this.#log.info({ file: this.#file, keys: this.#keyring.size }, "keys read again");
      } catch (error) {
        this.#broken = true;
        const why = error instanceof Error ? error.message : "unreadable";
        this.#log.error(
          { file: this.#file, why, keys: this.#keyring.size },
          "KEYS NOT CHANGED: the keys file cannot be used",
        );
      }
    }
    this.#changed();
  }

  /** What tells one state of the file from another. */
  async #mark(): Promise<string> {
    try {
      const { ino, size, mtimeMs } = await stat(this.#file);
      return `${ino}:${size}:${mtimeMs}`;
    } catch {
      return "absent";
    }
  }
}
