import type { SharedRedis } from "../redis.ts";

/** Where answers are kept as texts, by key. Nothing here fails: what cannot be read is not there. */
export interface Shelf {
  get(key: string): string | undefined | Promise<string | undefined>;
  put(key: string, text: string): void;
}

/** What an entry costs beside its text, bytes: key, times and the map's own. */
const ENTRY_BYTES = 256;

/** Answers in this process, those asked for last. */
export class MemoryShelf implements Shelf {
  readonly #entries = new Map<string, { text: string; untilMs: number }>();
  readonly #mostBytes: number;
  readonly #ttlMs: number;
  readonly #now: () => number;
  #bytes = 0;

  /** @param now ms of any clock that only goes forward */
  constructor(limits: { mostBytes: number; ttlMs: number }, now: () => number) {
    this.#mostBytes = limits.mostBytes;
    this.#ttlMs = limits.ttlMs;
    this.#now = now;
  }

  /** About what is kept, bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): string | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (entry.untilMs <= this.#now()) {
      this.#bytes -= bytesOf(entry.text);
      return undefined;
    }
    this.#entries.set(key, entry);
    return entry.text;
  }

  put(key: string, text: string): void {
    const before = this.#entries.get(key);
    if (before !== undefined) this.#bytes -= bytesOf(before.text);
    this.#entries.delete(key);
    if (bytesOf(text) > this.#mostBytes) return;
    this.#entries.set(key, { text, untilMs: this.#now() + this.#ttlMs });
    this.#bytes += bytesOf(text);
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#mostBytes) return;
      this.#entries.delete(oldest);
      this.#bytes -= bytesOf(entry.text);
    }
  }
}

/** A text in memory takes up to two bytes a character. */
function bytesOf(text: string): number {
  return 2 * text.length + ENTRY_BYTES;
}

/** Answers in Redis, for all replicas. While it is away there are none. */
export class RedisShelf implements Shelf {
  readonly #redis: SharedRedis;
  readonly #ttlMs: number;

  constructor(redis: SharedRedis, ttlMs: number) {
    this.#redis = redis;
    this.#ttlMs = ttlMs;
  }

  async get(key: string): Promise<string | undefined> {
    return (await this.#redis.use((client) => client.get(this.#key(key)))) ?? undefined;
  }

  put(key: string, text: string): void {
    void this.#redis.use((client) => client.set(this.#key(key), text, "PX", this.#ttlMs));
  }

  #key(key: string): string {
    return `${this.#redis.prefix}answer:${key}`;
  }
}
