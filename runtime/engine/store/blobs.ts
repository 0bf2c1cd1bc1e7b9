import { createReadStream } from "node:fs";
import { open, rm, stat, utimes } from "node:fs/promises";
import type { ModelStoreSettings } from "../../contracts/model-store-config.ts";
import { Fault } from "../../core/fault.ts";
import { monotonicMs } from "../../support/clock.ts";
import type { PullStep } from "../library.ts";
import { BlobWriter } from "./blob-writer.ts";
import { codeOf } from "../../support/error-code.ts";
import { download, forget, fullDisk, keyOf, type Wanted } from "./download.ts";
import { Follower } from "./follower.ts";
import { type StoreFolder, whenAbsent } from "./layout.ts";
import { lock } from "./lock.ts";
import type { ModelName } from "./name.ts";
import type { Room, Rooms } from "./room.ts";

/** How often progress is told, ms. */
const TELL_MS = 100;

/** What bringing bytes into the store is told and tells. */
export interface Bringing {
  signal: AbortSignal;
  tell(step: PullStep): void;
  /** Looks at the whole file before it gets its name. @throws Fault bad_model: the bytes are thrown away */
  check(path: string): Promise<void>;
  /** Model that must not be removed to make room. */
  keep?: ModelName;
}

/** Bytes in the store. */
export interface Brought {
  /** 64 hex digits. */
  hex: string;
  bytes: number;
}

/** Brings bytes into a store: each once, checked, and under its digest only when all of it is there. */
export class Blobs {
  readonly #folder: StoreFolder;
  readonly #settings: ModelStoreSettings;
  readonly #rooms: Rooms;

  constructor(folder: StoreFolder, settings: ModelStoreSettings, rooms: Rooms) {
    this.#folder = folder;
    this.#settings = settings;
    this.#rooms = rooms;
  }

  /** A blob's length; undefined when it is not there. */
  async has(hex: string): Promise<number | undefined> {
    return (await stat(this.#folder.blob(hex)).catch(whenAbsent(undefined)))?.size;
  }

  /** Fetches a file, unless it is here or another process fetches it: then it waits for that. */
  async fetch(wanted: Wanted, bringing: Bringing): Promise<Brought> {
    const { signal } = bringing;
    const key = keyOf(wanted);
    const partial = this.#folder.partial(key);
    const told = throttled(bringing, wanted.hex, wanted.what);
    for (;;) {
      const there = await this.#taken(wanted);
      if (there !== undefined) {
        told(there.bytes, there.bytes, true);
        return there;
      }
      const waiting = async (): Promise<void> => {
        const seen = await stat(partial).catch(whenAbsent(undefined));
        told(seen?.size ?? 0, wanted.size);
      };
      const held = await lock(this.#folder.lock(key), signal, waiting);
      let room: Room | undefined;
      try {
        if ((await this.#taken(wanted)) !== undefined) continue;
        const done = await download(wanted, {
          folder: this.#folder,
          settings: this.#settings,
          signal: AbortSignal.any([signal, held.lost]),
          progress: told,
          makeRoom: async (bytes) => {
            room?.done();
            room = await this.#rooms.make(wanted.what, bytes, bringing.keep, signal);
          },
        });
        told(done.bytes, done.bytes, true);
        await bringing.check(partial).catch(async (error: unknown) => {
          if (error instanceof Fault && error.code === "bad_model") await forget(partial);
          throw error;
        });
        await this.#folder.settle(partial, done.hex);
        await forget(partial);
        return done;
      } catch (error) {
        // Another process took this one for dead and goes on with the download: wait for it.
        if (!held.lost.aborted || signal.aborted) throw error;
      } finally {
        room?.done();
        await held.release();
      }
    }
  }

  /** Copies a file of this machine. @param hex digest that it must have */
  async importFile(path: string, hex: string | undefined, bringing: Bringing): Promise<Brought> {
    const seen = await stat(path).catch((cause: unknown) => {
      throw new Fault("invalid_request", `file:${path}: cannot be read (${codeOf(cause) ?? "failed"})`, { cause });
    });
    if (!seen.isFile()) throw new Fault("invalid_request", `file:${path}: want a file`);
    const stream = createReadStream(path, { highWaterMark: 1_048_576, signal: bringing.signal });
    return this.importBytes(
      stream as AsyncIterable<Uint8Array>,
      { what: `file:${path}`, hex, size: seen.size },
      bringing,
    );
  }

  /** Keeps bytes that come from anywhere. Nothing stays of bytes that are wrong. */
  async importBytes(
    bytes: AsyncIterable<Uint8Array>,
    { what, hex, size }: { what: string; hex?: string; size?: number },
    bringing: Bringing,
  ): Promise<Brought> {
    const { signal, keep } = bringing;
    const temporary = this.#folder.temporary();
    const told = throttled(bringing, hex, what);
    const room = await this.#rooms.make(what, size ?? 0, keep, signal);
    const handle = await open(temporary, "wx+", 0o644);
    const follower = new Follower(handle);
    try {
      const writer = new BlobWriter(handle, (written) => {
        follower.advance(written);
        told(written, size);
      });
      await writer.take(bytes, size ?? Number.MAX_SAFE_INTEGER);
      signal.throwIfAborted();
      if (size !== undefined && writer.at < size)
        throw new Fault("bad_model", `${what}: it became shorter while it was read`);
      const found = await follower.digest(writer.at);
      if (hex !== undefined && found !== hex)
        throw new Fault("bad_model", `${what}: its ${writer.at} bytes have digest sha256:${found}, want sha256:${hex}`);
      await bringing.check(temporary);
      await writer.sync();
      await this.#folder.settle(temporary, found);
      told(writer.at, writer.at, true);
      return { hex: found, bytes: writer.at };
    } catch (error) {
      signal.throwIfAborted();
      if (!["ENOSPC", "EDQUOT"].includes(codeOf(error) ?? "")) throw error;
      throw await fullDisk(this.#folder, size ?? 0, what, error);
    } finally {
      await follower.close();
      await handle.close();
      await rm(temporary, { force: true });
      room.done();
    }
  }

  /** The blob that is here already; its time is now, so that nobody takes it for forgotten before it is registered. */
  async #taken({ hex, size }: Wanted): Promise<Brought | undefined> {
    if (hex === undefined) return undefined;
    const bytes = await this.has(hex);
    if (bytes === undefined || (size !== undefined && bytes !== size)) return undefined;
    await utimes(this.#folder.blob(hex), new Date(), new Date()).catch(whenAbsent(undefined));
    return { hex, bytes };
  }
}

/** Tells progress in Ollama's words, not too often; the last one always. */
function throttled(
  to: Pick<Bringing, "tell">,
  hex: string | undefined,
  what: string,
): (completedBytes: number, totalBytes: number | undefined, isLast?: boolean) => void {
  let lastMs = Number.NEGATIVE_INFINITY;
  return (completedBytes, totalBytes, isLast = false) => {
    const nowMs = monotonicMs();
    if (!isLast && nowMs - lastMs < TELL_MS) return;
    lastMs = nowMs;
    to.tell({
      status: `pulling ${hex === undefined ? what : hex.slice(0, 12)}`,
      ...(hex === undefined ? {} : { digest: `sha256:${hex}` }),
      ...(totalBytes === undefined ? {} : { totalBytes }),
      completedBytes,
    });
  };
}
