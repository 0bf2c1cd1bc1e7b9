import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";

const READ_BYTES = 1_048_576;

/**
 * SHA-256 of a file that is being written: it reads behind the writer, from the file itself, so that what was there before a restart costs one
 * read beside the download and no wait, and the digest is that of the bytes that are on disk.
 */
export class Follower {
  readonly #file: FileHandle;
  readonly #buffer = Buffer.alloc(READ_BYTES);
  #hash = createHash("sha256");
  #at = 0;
  #until = 0;
  #work: Promise<void> = Promise.resolve();
  #working = false;
  #failure: Error | undefined;
  #closed = false;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** So many bytes are written from the start on. */
  advance(until: number): void {
    this.#until = Math.max(this.#until, until);
    if (this.#working || this.#closed || this.#failure !== undefined) return;
    this.#working = true;
    this.#work = this.#read()
      .catch((error: unknown) => {
        this.#failure = error instanceof Error ? error : new Error("the file cannot be read");
      })
      .finally(() => {
        this.#working = false;
      });
  }

  /** The 64 hex digits of so many bytes. @throws the error of the file system */
  async digest(bytes: number): Promise<string> {
    this.advance(bytes);
    while (this.#at < bytes && this.#failure === undefined && !this.#closed) {
      await this.#work;
      this.advance(bytes);
    }
    await this.#work;
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closed) throw new Error("the file was closed before all of it was read");
    return this.#hash.copy().digest("hex");
  }

  /** Begins anew: the file was emptied. */
  async restart(): Promise<void> {
    this.#until = 0;
    await this.#work;
    this.#hash = createHash("sha256");
    this.#at = 0;
  }

  /** Stops reading; the file may then be closed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#until = 0;
    await this.#work;
  }

  async #read(): Promise<void> {
    while (this.#at < this.#until) {
      const length = Math.min(READ_BYTES, this.#until - this.#at);
      const { bytesRead } = await this.#file.read(this.#buffer, 0, length, this.#at);
      if (bytesRead === 0) throw new Error(`the file ends at byte ${this.#at}, before what was written`);
      this.#hash.update(this.#buffer.subarray(0, bytesRead));
      this.#at += bytesRead;
    }
  }
}
