import { z } from "zod";
import type { Finished } from "./store.ts";

/** Turns that wait to be written, as they lie in a file: one JSON document a line. */
export const OutboxLine = z.discriminatedUnion("op", [
  z.object({
    op: z.literal("put"),
    finished: z.object({
      id: z.string(),
      user: z.string(),
      conversation: z.string(),
      askedAt: z.string(),
      turn: z.object({ question: z.string(), answer: z.string(), member: z.string(), model: z.string() }).optional(),
      key: z.object({ key: z.string(), hash: z.string() }).optional(),
      answer: z.string(),
    }),
  }),
  z.object({ op: z.literal("done"), id: z.string() }),
]);

/** A line of the file. */
export type OutboxLine = z.output<typeof OutboxLine>;

/** Where an outbox writes what it holds. */
export interface OutboxFile {
  /** What an earlier process left. */
  left: readonly Finished[];
  /** Adds a line that is on the disk when this resolves. @throws Error when it cannot be */
  append(line: OutboxLine): Promise<void>;
  /** Replaces everything by these. @throws Error */
  rewrite(finished: readonly Finished[]): Promise<void>;
  close(): Promise<void>;
}

/** Answered questions that the store could not take, in order, bounded in bytes; on disk where there is a file, else in memory alone. */
export class Outbox {
  readonly #waiting = new Map<string, { finished: Finished; bytes: number }>();
  readonly #mostBytes: number;
  readonly #file: OutboxFile | undefined;
  #bytes = 0;

  constructor(mostBytes: number, file?: OutboxFile) {
    this.#mostBytes = mostBytes;
    this.#file = file;
    for (const finished of file?.left ?? []) this.#hold(finished);
  }

  /** Turns that wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The one that waits longest. */
  first(): Finished | undefined {
    for (const { finished } of this.#waiting.values()) return finished;
    return undefined;
  }

  /** Those of one conversation, oldest first. */
  of(user: string, conversation: string): Finished[] {
    return this.#select((one) => one.user === user && one.conversation === conversation);
  }

  /** The one under a key. */
  under(user: string, key: string): Finished | undefined {
    return this.#select((one) => one.user === user && one.key?.key === key)[0];
  }

  /**
   * Takes one in. @returns `durable`: it is on the disk; `memory`: it is lost if this process dies; `full`: it was not taken
   */
  async put(finished: Finished): Promise<"durable" | "memory" | "full"> {
    if (this.#bytes + bytesOf(finished) > this.#mostBytes) return "full";
    this.#hold(finished);
    if (this.#file === undefined) return "memory";
    return this.#file.append({ op: "put", finished }).then(
      () => "durable",
      () => "memory",
    );
  }

  /** Takes one out that is written, or never will be. */
  async done(id: string): Promise<void> {
    this.#drop(id);
    // A line that cannot be written costs no more than a second try after a restart, which finds the turn stored.
    if (this.#waiting.size === 0) await this.#file?.rewrite([]).catch(() => undefined);
    else await this.#file?.append({ op: "done", id }).catch(() => undefined);
  }

  /** Takes out a user's, or those of one of his conversations. @throws Error when the file still holds them */
  async forget(user: string, conversation?: string): Promise<void> {
    const gone = this.#select(
      (one) => one.user === user && (conversation === undefined || one.conversation === conversation),
    );
    if (gone.length === 0) return;
    for (const { id } of gone) this.#drop(id);
    await this.#file?.rewrite([...this.#waiting.values()].map(({ finished }) => finished));
  }

  close(): Promise<void> {
    return this.#file?.close() ?? Promise.resolve();
  }

  #hold(finished: Finished): void {
    this.#drop(finished.id);
    const bytes = bytesOf(finished);
    this.#waiting.set(finished.id, { finished, bytes });
    this.#bytes += bytes;
  }

  #drop(id: string): void {
    this.#bytes -= this.#waiting.get(id)?.bytes ?? 0;
    this.#waiting.delete(id);
  }

  #select(which: (finished: Finished) => boolean): Finished[] {
    return [...this.#waiting.values()].flatMap(({ finished }) => (which(finished) ? [finished] : []));
  }
}

function bytesOf(finished: Finished): number {
  return Buffer.byteLength(JSON.stringify(finished));
}
