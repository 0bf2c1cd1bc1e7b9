import { createHash } from "node:crypto";
import { type FileHandle, open, readFile, rm } from "node:fs/promises";
import { z } from "zod";
import type { ModelStoreSettings } from "../../contracts/model-store-config.ts";
import { Fault } from "../../core/fault.ts";
import { codeOf } from "../../support/error-code.ts";
import { jsonOf } from "../../support/json.ts";
import { sleep } from "../../support/clock.ts";
import { isBroken } from "./codes.ts";
import { Follower } from "./follower.ts";
import { abandon, type Answer, discard } from "./host-client.ts";
import type { StoreFolder } from "./layout.ts";
import { backoffMs, nextRange, parseContentRange, strongTag } from "./ranges.ts";
import { BlobWriter } from "./blob-writer.ts";

/** A file that is wanted from a place of models. */
export interface Wanted {
  /** What it is, for messages: no token, no query. */
  what: string;
  /** Where it is, the same at every try; it is only kept as a hash. */
  address: string;
  /** 64 hex digits. Absent: whatever comes, as long as it is one and the same. */
  hex?: string;
  /** Absent: as the place says. */
  size?: number;
  /** Asks for it. @param headers Range and If-Range */
  get(headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer>;
  /** A refusal in words. */
  refusal(status: number, what: string): Fault;
}

/** Name of a download's files: its digest where that is known, else its address. */
export function keyOf({ hex, address }: Pick<Wanted, "hex" | "address">): string {
  return hex === undefined ? `from-${createHash("sha256").update(address).digest("hex")}` : `sha256-${hex}`;
}

/** What a download is told and tells. */
export interface DownloadOptions {
  folder: StoreFolder;
  settings: ModelStoreSettings;
  signal: AbortSignal;
  /** Told as bytes arrive. @param totalBytes undefined while unknown */
  progress(completedBytes: number, totalBytes: number | undefined): void;
  /** Makes room for so many bytes more. @throws Fault store_full */
  makeRoom(bytes: number): Promise<void>;
}

/** What is remembered of a download beside its bytes, whose number is the file's length. */
const StateSchema = z.strictObject({
  address: z.string(),
  totalBytes: z.int().min(0).optional(),
  /** Validators of the source's file when its first byte came. */
  etag: z.string().optional(),
  modified: z.string().optional(),
});
type State = z.output<typeof StateSchema>;

/**
 * Brings a file to its partial place, from where an earlier download of it ended, and checks its digest. The caller holds its lock.
 * Cut off, it leaves what it has for the next time; wrong, it leaves nothing.
 * @returns its digest and length; the file is synced and has not got its final name yet
 * @throws Fault pull_failed, bad_model, store_full; the signal's reason
 */
export async function download(wanted: Wanted, options: DownloadOptions): Promise<{ hex: string; bytes: number }> {
  const partial = options.folder.partial(keyOf(wanted));
  const handle = await open(partial, "r+").catch(async (error: unknown) => {
    if (codeOf(error) !== "ENOENT") throw error;
    return open(partial, "wx+", 0o644);
  });
  let follower: Follower | undefined;
  try {
    follower = new Follower(handle);
    return await new Transfer(wanted, options, handle, follower).run();
  } catch (error) {
    const { size } = await handle.stat();
    if (size === 0 || (error instanceof Fault && error.code === "bad_model")) await forget(partial);
    throw error;
  } finally {
    await follower?.close();
    await handle.close();
  }
}

/** Throws a download's files away. @param partial where its bytes are */
export async function forget(partial: string): Promise<void> {
  await rm(partial, { force: true });
  await rm(`${partial}.json`, { force: true });
}

/** One run of a download. */
class Transfer {
  readonly #wanted: Wanted;
  readonly #options: DownloadOptions;
  readonly #partial: string;
  readonly #writer: BlobWriter;
  readonly #follower: Follower;
  #state: State;
  #total: number | undefined;

  constructor(wanted: Wanted, options: DownloadOptions, handle: FileHandle, follower: Follower) {
    this.#wanted = wanted;
    this.#options = options;
    this.#partial = options.folder.partial(keyOf(wanted));
    this.#follower = follower;
    this.#total = wanted.size;
    this.#state = { address: createHash("sha256").update(wanted.address).digest("hex") };
    this.#writer = new BlobWriter(handle, (written) => {
      follower.advance(written);
      options.progress(written, this.#total);
    });
  }

  async run(): Promise<{ hex: string; bytes: number }> {
    await this.#resume();
    await this.#options.makeRoom(Math.max(0, (this.#total ?? 0) - this.#writer.at));
    let failures = 0;
    while (this.#total === undefined || this.#writer.at < this.#total) {
      const before = this.#writer.at;
      try {
        await this.#part();
        if (this.#writer.at === before && this.#total !== before) throw new Broken("it sent no byte");
        failures = 0;
      } catch (error) {
        this.#options.signal.throwIfAborted();
        const retry =
          error instanceof Broken ? error : isBroken(error) ? new Broken(messageOf(error), error) : undefined;
        if (retry === undefined) throw await this.#explained(error);
        failures = this.#writer.at > before ? 1 : failures + 1;
        if (failures > this.#options.settings.retries)
          throw new Fault(
            "pull_failed",
            `${this.#wanted.what}: gave up at ${this.#writer.at} of ${this.#total ?? "unknown"} bytes after ${failures} failures in a row, the last: ${retry.message}; what came is kept, pull again to go on`,
            { cause: error },
          );
        await sleep(Math.max(retry.afterMs, backoffMs(failures, Math.random())), this.#options.signal);
      }
    }
    return this.#finish(this.#total);
  }

  /** Takes up what an earlier run left, when it is of the same file. */
  async #resume(): Promise<void> {
    const text = await readFile(`${this.#partial}.json`, "utf8").catch(() => "");
    const state = StateSchema.safeParse(jsonOf(text)).data;
    const length = await this.#writer.length();
    const fits = state !== undefined && (this.#wanted.hex !== undefined || state.address === this.#state.address);
    const total = this.#wanted.size ?? state?.totalBytes;
    if (!fits || (total !== undefined && length > total)) {
      await this.#restart();
      return;
    }
    this.#state = { ...state, address: this.#state.address };
    this.#total = total;
    this.#writer.at = length;
    this.#follower.advance(length);
  }

  async #restart(): Promise<void> {
    await this.#follower.restart();
    await this.#writer.empty();
    this.#state = { address: this.#state.address };
    this.#total = this.#wanted.size;
  }

  /** Asks for the next part and writes it. */
  async #part(): Promise<void> {
    const { wanted: w, at } = { wanted: this.#wanted, at: this.#writer.at };
    const { first, last } = nextRange(at, this.#total, this.#options.settings.chunkBytes);
    const tag = strongTag(this.#state.etag);
    // Where the digest is known it decides: mirrors of one blob may name it by different tags.
    const condition: Record<string, string> =
      at > 0 && tag !== undefined && w.hex === undefined ? { "if-range": tag } : {};
    const answer = await w.get({ range: `bytes=${first}-${last}`, ...condition }, this.#options.signal);
    try {
      await this.#accept(answer, first, last);
    } finally {
      if (!answer.body.destroyed) abandon(answer);
    }
  }

  async #accept(answer: Answer, first: number, last: number): Promise<void> {
    const { status, headers } = answer;
    if (status === 429 || status >= 500) {
      discard(answer);
      throw new Broken(`HTTP ${status}`, undefined, retryAfterMs(headers["retry-after"]));
    }
    if ((headers["content-encoding"] ?? "identity") !== "identity")
      throw new Fault(
        "pull_failed",
        `${this.#wanted.what}: the server packs it (${headers["content-encoding"]}) though it was not asked to`,
      );
    if (status === 206) {
      const range = parseContentRange(headers["content-range"]);
      if (range?.totalBytes === undefined || range.first !== first || range.last > last)
        throw new Fault(
          "pull_failed",
          `${this.#wanted.what}: asked for bytes ${first}-${last}, the server says it sends others`,
        );
      await this.#sameFile(headers, range.totalBytes, first);
      await this.#writer.take(answer.body, range.last + 1);
      if (this.#writer.at <= range.last) throw new Broken("the connection ended in the middle");
      return;
    }
    if (status === 416 && first > 0) {
      discard(answer);
      throw this.#changed("it is shorter now");
    }
    if (status !== 200) {
      discard(answer);
      throw this.#wanted.refusal(status, this.#wanted.what);
    }
    // The whole file: this server knows no ranges, or what was there is no longer the same.
    const length = Number(headers["content-length"] ?? Number.NaN);
    if (!Number.isSafeInteger(length))
      throw new Fault("pull_failed", `${this.#wanted.what}: the server does not say how long the file is`);
    await this.#sameFile(headers, length, first);
    if (first > 0) await this.#restart();
    await this.#sameFile(headers, length, 0);
    await this.#writer.take(answer.body, length);
    if (this.#writer.at < length) throw new Broken("the connection ended in the middle");
  }

  /** Sees that the file is as long as was said, and the one whose first bytes are here. */
  async #sameFile(headers: Answer["headers"], totalBytes: number, first: number): Promise<void> {
    const said = this.#wanted.size;
    if (said !== undefined && totalBytes !== said)
      throw new Fault(
        "bad_model",
        `${this.#wanted.what}: its manifest says ${said} bytes, the server has ${totalBytes}`,
      );
    const { etag, "last-modified": modified } = headers;
    if (first > 0) {
      if (this.#total !== undefined && this.#total !== totalBytes)
        throw this.#changed(`it had ${this.#total} bytes and now has ${totalBytes}`);
      const was = this.#state.etag ?? this.#state.modified;
      const is = this.#state.etag === undefined ? modified : etag;
      if (this.#wanted.hex === undefined && was !== is) throw this.#changed("its ETag is another now");
      return;
    }
    if (this.#total === undefined) await this.#options.makeRoom(totalBytes);
    this.#total = totalBytes;
    this.#state = {
      address: this.#state.address,
      totalBytes,
      ...(etag === undefined ? {} : { etag }),
      ...(modified === undefined ? {} : { modified }),
    };
    await this.#options.folder.write(`${this.#partial}.json`, JSON.stringify(this.#state));
  }

  #changed(how: string): Fault {
    return new Fault(
      "bad_model",
      `${this.#wanted.what}: the file changed while it was downloaded (${how}); what came of the old one is thrown away, pull again`,
    );
  }

  async #finish(bytes: number): Promise<{ hex: string; bytes: number }> {
    const hex = await this.#follower.digest(bytes);
    const { hex: wanted, what } = this.#wanted;
    if (wanted !== undefined && hex !== wanted)
      throw new Fault(
        "bad_model",
        `${what}: its ${bytes} bytes have digest sha256:${hex}, want sha256:${wanted}; they are thrown away`,
      );
    await this.#writer.sync();
    return { hex, bytes };
  }

  /** A full disk in words; anything else as it is. */
  async #explained(error: unknown): Promise<unknown> {
    if (!["ENOSPC", "EDQUOT"].includes(codeOf(error) ?? "")) return error;
    return fullDisk(this.#options.folder, (this.#total ?? 0) - this.#writer.at, this.#wanted.what, error);
  }
}

/** The fault of a disk without room for so many bytes. */
export async function fullDisk(
  folder: StoreFolder,
  neededBytes: number,
  what: string,
  cause?: unknown,
): Promise<Fault> {
  const free = await folder.freeBytes();
  return new Fault(
    "store_full",
    `${what}: the disk of ${folder.path} has ${free} bytes free, ${neededBytes} more are needed; free some, and pull again to go on`,
    { cause },
  );
}

/** A failure that a further try may not meet. */
class Broken extends Error {
  readonly afterMs: number;

  constructor(message: string, cause?: unknown, afterMs = 0) {
    super(message, { cause });
    this.afterMs = afterMs;
  }
}

function retryAfterMs(header: string | undefined): number {
  const seconds = Number(header ?? 0);
  return Number.isFinite(seconds) ? Math.min(60, Math.max(0, seconds)) * 1000 : 0;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "failed";
}
