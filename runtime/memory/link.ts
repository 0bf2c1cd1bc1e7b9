import { timer } from "../support/clock.ts";
import type { ConversationStore } from "./store.ts";
import { explained, type Place, StoreRefused, StoreUnavailable } from "./unavailable.ts";

/** First and longest pause before the store is tried again, ms. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;

/** How things stand with the store. `idle`: nobody has needed it yet. */
export type LinkState = "idle" | "starting" | "up" | "down";

/** What a link is made of. */
export interface LinkParts {
  place: Place;
  /** Opens the store and brings its tables up to date. */
  open(): Promise<ConversationStore>;
  /** Called each time the store has become reachable. */
  onUp(): void;
  /** Called when it is lost, with the reason, once a time. */
  onDown(reason: string): void;
}

/** The way to a store that may be away: it is opened when first needed, given up when it fails or hangs, and tried again by itself. */
export class Link {
  readonly #parts: LinkParts;
  #state: LinkState = "idle";
  #reason: string | undefined;
  #store: ConversationStore | undefined;
  #opening: Promise<void> | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #stopRetry: () => void = () => undefined;
  #closed = false;

  constructor(parts: LinkParts) {
    this.#parts = parts;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Why it is down; undefined when it is not. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Opens the store in the background, if nobody has yet. */
  wake(): void {
    if (this.#closed || this.#state !== "idle") return;
    this.#state = "starting";
    this.#opening = this.#open();
  }

  /**
   * Does something with the store within so many ms, the wait for its start included.
   * @param setting that bounds it, for the message
   * @throws StoreUnavailable, at once while it is down; StoreRefused
   */
  async use<T>(ms: number, setting: string, work: (store: ConversationStore) => Promise<T>): Promise<T> {
    this.wake();
    const late = new StoreUnavailable(
      this.#state === "starting"
        ? `${this.#parts.place.target}: the store is still starting (${setting}: ${ms} ms)`
        : `${this.#parts.place.target}: no answer within ${ms} ms (${setting})`,
    );
    let cancel: () => void = () => undefined;
    const over = new Promise<never>((_, reject) => {
      cancel = timer(ms, () => reject(late));
    });
    try {
      if (this.#state === "starting") await Promise.race([this.#opening, over]);
      const store = this.#store;
      if (store === undefined) throw new StoreUnavailable(this.#reason ?? "the store is closed");
      try {
        const done = work(store);
        // Whatever comes of it after its time is nobody's any more.
        done.catch(() => undefined);
        return await Promise.race([done, over]);
      } catch (error) {
        throw this.#lost(store, error);
      }
    } finally {
      cancel();
    }
  }

  /** Lets go of the store for good. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopRetry();
    await this.#opening;
    const store = this.#store;
    this.#store = undefined;
    await store?.close().catch(() => undefined);
  }

  async #open(): Promise<void> {
    try {
      const store = await this.#parts.open();
      if (this.#closed) {
        await store.close().catch(() => undefined);
        return;
      }
      this.#store = store;
      this.#state = "up";
      this.#reason = undefined;
      this.#pauseMs = FIRST_PAUSE_MS;
      this.#parts.onUp();
    } catch (error) {
      this.#down(explained(error, this.#parts.place));
    }
  }

  #lost(store: ConversationStore, error: unknown): Error {
    const known = explained(error, this.#parts.place);
    if (known instanceof StoreRefused) return known;
    if (this.#store === store) {
      this.#store = undefined;
      // Connections that hang are cut, or they would be handed out again.
      void store.close().catch(() => undefined);
      this.#down(known);
    }
    return known;
  }

  #down(error: Error): void {
    const said = this.#reason;
    this.#state = "down";
    this.#reason = error.message;
    if (this.#closed) return;
    if (said !== error.message) this.#parts.onDown(error.message);
    const stop = timer(this.#pauseMs, () => {
      if (this.#closed) return;
      this.#opening = this.#open();
    });
    this.#stopRetry = stop;
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
  }
}
