import type { FileHandle } from "node:fs/promises";
import { Fault } from "../../core/fault.ts";

/** Bytes that are written at a time, and after which the disk is told to write them down. */
const WRITE_BYTES = 1_048_576;
const SYNC_BYTES = 67_108_864;

/** Writes a file from some place on, and knows how far it has come. While one batch is written the next one is received. */
export class BlobWriter {
  /** Bytes that are in the file. */
  at = 0;
  readonly #file: FileHandle;
  readonly #told: (written: number) => void;
  #syncing: Promise<void> = Promise.resolve();
  #synced = 0;

  /** @param told called after each batch with all bytes so far */
  constructor(file: FileHandle, told: (written: number) => void) {
    this.#file = file;
    this.#told = told;
  }

  /** How long the file is. */
  async length(): Promise<number> {
    return (await this.#file.stat()).size;
  }

  async empty(): Promise<void> {
    await this.#file.truncate(0);
    this.at = 0;
    this.#synced = 0;
  }

  /**
   * Writes a body until it ends. What arrived before a failure is in the file.
   * @param end bytes that the file may have then; not one more is written
   * @throws Fault bad_model for a longer body; the error of the connection or of the disk
   */
  async take(body: AsyncIterable<Uint8Array>, end: number): Promise<void> {
    let batch: Uint8Array[] = [];
    let batchBytes = 0;
    let received = this.at;
    let writing: Promise<void> = Promise.resolve();
    const flush = async (): Promise<void> => {
      await writing;
      if (batchBytes === 0) return;
      writing = this.#write(batch, batchBytes);
      // Awaited at the next flush; a failure until then is nobody's surprise.
      writing.catch(() => undefined);
      batch = [];
      batchBytes = 0;
    };
    try {
      for await (const part of body) {
        received += part.length;
        if (received > end)
          throw new Fault("bad_model", `the server sends more than the ${end} bytes that it and the manifest say`);
        batch.push(part);
        batchBytes += part.length;
        if (batchBytes >= WRITE_BYTES) await flush();
      }
    } finally {
      await flush();
      await writing;
    }
  }

  /** Sees that all of it is on the disk. */
  async sync(): Promise<void> {
    await this.#syncing;
    await this.#file.sync();
  }

  async #write(parts: readonly Uint8Array[], bytes: number): Promise<void> {
    const { bytesWritten } = await this.#file.writev(parts, this.at);
    let written = bytesWritten;
    this.at += bytesWritten;
    if (written < bytes) {
      // A disk that is nearly full takes a part; the next write says why.
      const all = Buffer.concat(parts);
      while (written < bytes) {
        const more = await this.#file.write(all, written, bytes - written, this.at);
        written += more.bytesWritten;
        this.at += more.bytesWritten;
      }
    }
    this.#told(this.at);
    if (this.at - this.#synced >= SYNC_BYTES) {
      this.#synced = this.at;
      // Beside the download, so that the end does not wait for all of it.
      this.#syncing = this.#syncing.then(() => this.#file.datasync()).catch(() => undefined);
    }
  }
}
