import { randomUUID } from "node:crypto";
import type { ConversationList, ConversationPage } from "../contracts/conversations.ts";
import type { StoreSettings } from "../contracts/store-config.ts";
import { Conversations, type ConversationKey, type Turn } from "../core/conversations.ts";
import { Fault } from "../core/fault.ts";
import { mostShown, windowOf } from "../core/window.ts";
import { sleep, timer } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { Link, type LinkState } from "./link.ts";
import type { Outbox } from "./outbox.ts";
import type { Claim, ConversationStore, Finished, KeyedAsk, Written } from "./store.ts";
import { type Place, StoreUnavailable } from "./unavailable.ts";

/** How often a claim held elsewhere is looked at again, ms. */
const POLL_MS = { first: 25, longest: 500 };
/** How often what is too old is deleted, ms. */
const PURGE_MS = 3_600_000;

/** What of a conversation is known. */
export interface Recalled {
  turns: readonly Turn[];
  /** Why this may not be all. Undefined: it is. */
  problem?: string | undefined;
}

/** What became of a turn. */
export type Kept =
  | { kept: "stored" }
  /** It will be written when the store is back. */
  | { kept: "queued"; reason: string }
  | { kept: "not"; reason: string }
  /** Its key was answered by somebody else meanwhile. */
  | { kept: "other"; claim: Claim };

/** What can be counted of turns. `refused`: the store can never take it; `full`: the outbox had no room. */
export const TURN_OUTCOMES = ["stored", "queued", "refused", "full", "replayed", "deleted", "superseded"] as const;
/** What became of a turn, for the metrics. */
export type TurnOutcome = (typeof TURN_OUTCOMES)[number];

/** A claim of this process. */
export interface Mine {
  /** Ends it. @param answered false gives the key back, so that the question can be asked again */
  end(answered: boolean): Promise<void>;
}

/** What a memory is made of. */
export interface MemoryParts {
  kind: "postgres" | "pglite" | "process";
  place: Place;
  open(): Promise<ConversationStore>;
  settings: StoreSettings;
  /** `memory` of the configuration. */
  limits: { turns: number; conversations: number };
  /** Made when it is first needed: it may read what an earlier process left. */
  outbox(): Promise<Outbox>;
  log?: Pick<Logger, "info" | "warn">;
  count?: (outcome: TurnOutcome) => void;
}

/** What a memory shows of itself. */
export interface MemoryState {
  kind: MemoryParts["kind"];
  state: LinkState;
  /** Why it is down. */
  reason?: string;
  /** Turns that wait to be written. */
  queued: number;
}

/** Conversations as the service uses them: in a store that may be away, with what this process still knows beside it. */
export class Memory {
  readonly #parts: MemoryParts;
  readonly #link: Link;
  readonly #recent: Conversations;
  /** Keys in work in this process. */
  readonly #working = new Map<string, { hash: string; over: Promise<void> }>();
  #outbox: Promise<Outbox> | undefined;
  #box: Outbox | undefined;
  #draining: Promise<void> | undefined;
  #stopPurge: () => void = () => undefined;

  constructor(parts: MemoryParts) {
    this.#parts = parts;
    this.#recent = new Conversations(parts.limits);
    this.#link = new Link({
      place: parts.place,
      open: () => parts.open(),
      onUp: () => {
        parts.log?.info({ kind: parts.kind, at: parts.place.target }, "the conversation store is there");
        void this.#drain();
        this.#purge();
      },
      onDown: (reason) => parts.log?.warn({ kind: parts.kind, reason }, "the conversation store is away"),
    });
  }

  /** How things stand, without asking the store. */
  get state(): MemoryState {
    const { state, reason } = this.#link;
    return { kind: this.#parts.kind, state, ...(reason === undefined ? {} : { reason }), queued: this.#box?.size ?? 0 };
  }

  /** Whether turns are remembered at all. */
  get keepsTurns(): boolean {
    return this.#parts.limits.turns > 0;
  }

  /** Conversations that this process still knows of. */
  get recent(): number {
    return this.#recent.size;
  }

  /** Begins to open a store that is elsewhere; what an earlier process left for it is written then. One in this process starts with the first question: it takes half a gigabyte. */
  wake(): void {
    if (this.#parts.kind !== "postgres") return;
    this.#link.wake();
    void this.#theOutbox();
  }

  /** The turns of a conversation to show: of the store, and those that wait to be written; of this process alone while the store is away. */
  async recall(key: ConversationKey): Promise<Recalled> {
    const { turns: least } = this.#parts.limits;
    if (least === 0) return { turns: [] };
    try {
      const stored = await this.#link.use(this.#parts.settings.recallMs, "store.recallMs", (store) =>
        store.recall(key, mostShown(least)),
      );
      const waiting =
        this.#box?.of(key.user, key.conversation).flatMap(({ turn }) => (turn === undefined ? [] : [turn])) ?? [];
      const turns = [...stored.turns, ...waiting.map(({ question, answer }) => ({ question, answer }))];
      return { turns: windowOf(turns, stored.count + waiting.length, least) };
    } catch (error) {
      return { turns: this.#recent.recall(key), problem: reasonOf(error) };
    }
  }

  /**
   * Claims a key, or finds its answer. While another holds it, it waits for that one.
   * @returns the stored answer; or that it is ours to answer, and `end`, which must be called when that is over.
   * @throws Fault idempotency_conflict, idempotency_in_progress, cancelled
   */
  async claim(ask: Omit<KeyedAsk, "holder">, signal: AbortSignal): Promise<{ answer: string } | Mine> {
    const { waitMs } = this.#parts.settings;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(waitMs)]);
    for (let pauseMs = POLL_MS.first; ; pauseMs = Math.min(pauseMs * 2, POLL_MS.longest)) {
      const claim = await this.#tryClaim({ ...ask, holder: randomUUID() }, limit);
      if ("end" in claim) return claim;
      if (claim.state === "done") {
        this.#parts.count?.("replayed");
        return { answer: claim.answer };
      }
      if (claim.state !== "working") throw conflict(claim);
      await sleep(pauseMs, limit).catch(() => undefined);
      if (signal.aborted) throw new Fault("cancelled", "the client went away");
      if (limit.aborted) {
        throw new Fault("idempotency_in_progress", "idempotency key: the first request with it is still in work", {
          retryAfterSeconds: 1,
        });
      }
    }
  }

  /** Writes an answered question before its reply is sent, or has it wait. @param queued the answer as it is sent if it must wait */
  async finish(finished: Finished, queued: (reason: string) => string): Promise<Kept> {
    const { settings, count } = this.#parts;
    const outbox = await this.#theOutbox();
    // What waits goes first, so that a conversation's turns keep their order.
    if (outbox.size > 0 && this.#link.state === "up") await within(this.#drain(), settings.writeMs);
    let reason: string | undefined;
    if (outbox.size === 0) {
      try {
        const kept = this.#written(finished, await this.#write(finished));
        if (kept.kept === "stored") this.#know(finished);
        return kept;
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) {
          count?.("refused");
          return { kept: "not", reason: reasonOf(error) };
        }
        reason = error.message;
      }
    }
    reason ??= this.#link.reason ?? "earlier turns wait to be written";
    const where = await outbox.put({ ...finished, answer: queued(reason) });
    if (where === "full") {
      count?.("full");
      this.#know(finished);
      return {
        kept: "not",
        reason: `${reason}; and ${outbox.bytes} bytes wait to be written already (store.outboxBytes: ${settings.outboxBytes})`,
      };
    }
    count?.("queued");
    this.#know(finished);
    void this.#drain();
    return { kept: "queued", reason };
  }

  /** @throws Fault store_unavailable */
  list(user: string, limit: number, cursor?: string): Promise<ConversationList> {
    return this.#ask((store) => store.list(user, limit, cursor));
  }

  /** @throws Fault store_unavailable */
  page(key: ConversationKey, limit: number, after: number): Promise<ConversationPage | undefined> {
    return this.#ask((store) => store.page(key, limit, after));
  }

  /** Deletes one conversation, or all of a user's, wherever this process or the store has them. @throws Fault store_unavailable; then nothing is deleted */
  async remove(user: string, conversation?: string): Promise<number> {
    const outbox = await this.#theOutbox();
    const waiting = conversation === undefined ? 0 : outbox.of(user, conversation).length;
    const gone = await this.#ask((store) => store.remove(user, conversation));
    this.#recent.forget(user, conversation);
    await outbox.forget(user, conversation);
    return Math.max(gone, waiting > 0 ? 1 : 0);
  }

  /** Writes what waits, if the store takes it, and lets go of everything. */
  async close(): Promise<void> {
    this.#stopPurge();
    if ((this.#box?.size ?? 0) > 0) await this.#drain();
    await this.#link.close();
    await this.#draining;
    await (await this.#outbox)?.close();
  }

  async #tryClaim(ask: KeyedAsk, limit: AbortSignal): Promise<Claim | Mine> {
    const id = JSON.stringify([ask.user, ask.key]);
    const here = this.#working.get(id);
    if (here !== undefined) {
      if (here.hash !== ask.hash) return { state: "conflict" };
      await within(here.over, this.#parts.settings.waitMs, limit);
      return { state: "working" };
    }
    const waiting = this.#box?.under(ask.user, ask.key);
    if (waiting !== undefined)
      return waiting.key?.hash === ask.hash ? { state: "done", answer: waiting.answer } : { state: "conflict" };
    const { leaseMs, recallMs } = this.#parts.settings;
    let over: () => void = () => undefined;
    this.#working.set(id, { hash: ask.hash, over: new Promise((resolve) => (over = resolve)) });
    const leave = (): void => {
      this.#working.delete(id);
      over();
    };
    let claim: Claim;
    try {
      claim = await this.#link.use(recallMs, "store.recallMs", (store) => store.claim(ask, leaseMs));
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) {
        leave();
        throw error;
      }
      // Without the store the key holds in this process alone; which answer stands is settled when the turn is written.
      claim = { state: "mine" };
    }
    if (claim.state !== "mine") {
      leave();
      return claim;
    }
    const stop = this.#heartbeat(ask);
    return {
      end: async (answered) => {
        stop();
        leave();
        if (answered) return;
        await this.#link.use(recallMs, "store.recallMs", (store) => store.release(ask)).catch(() => undefined);
      },
    };
  }

  #know({ user, conversation, turn }: Finished): void {
    if (turn !== undefined)
      this.#recent.remember({ user, conversation }, { question: turn.question, answer: turn.answer });
  }

  #heartbeat(ask: KeyedAsk): () => void {
    const { leaseMs, recallMs } = this.#parts.settings;
    const handle = setInterval(() => {
      void this.#link.use(recallMs, "store.recallMs", (store) => store.renew(ask, leaseMs)).catch(() => undefined);
    }, leaseMs / 3);
    return () => clearInterval(handle);
  }

  #write(finished: Finished): Promise<Written> {
    return this.#link.use(this.#parts.settings.writeMs, "store.writeMs", (store) => store.finish(finished));
  }

  #written(finished: Finished, written: Written): Kept {
    const { count } = this.#parts;
    switch (written.as) {
      case "stored":
      case "already":
        count?.("stored");
        return { kept: "stored" };
      case "deleted":
        count?.("deleted");
        this.#recent.forget(finished.user, finished.conversation);
        return { kept: "not", reason: "the conversation was deleted meanwhile" };
      case "other":
        count?.("superseded");
        return { kept: "other", claim: written.claim };
    }
  }

  /** Writes what waits, oldest first, until it is empty or the store is lost. */
  #drain(): Promise<void> {
    this.#draining ??= this.#drainNow().finally(() => {
      this.#draining = undefined;
    });
    return this.#draining;
  }

  async #drainNow(): Promise<void> {
    const outbox = await this.#theOutbox();
    for (let next = outbox.first(); next !== undefined && this.#link.state === "up"; next = outbox.first()) {
      try {
        this.#written(next, await this.#write(next));
      } catch (error) {
        if (error instanceof StoreUnavailable) return;
        this.#parts.count?.("refused");
        this.#parts.log?.warn(
          { id: next.id, reason: reasonOf(error) },
          "a turn that waited cannot be stored and is dropped",
        );
      }
      await outbox.done(next.id);
    }
  }

  #theOutbox(): Promise<Outbox> {
    this.#outbox ??= this.#parts.outbox().then((box) => {
      this.#box = box;
      if (box.size > 0) {
        this.#parts.log?.info({ turns: box.size }, "turns of an earlier run wait to be written");
        this.#link.wake();
        void this.#drain();
      }
      return box;
    });
    return this.#outbox;
  }

  #purge(): void {
    const { keyHours, keepDays, turnsPerConversation } = this.#parts.settings;
    this.#stopPurge();
    this.#stopPurge = timer(PURGE_MS, () => this.#purge());
    void this.#link
      .use(PURGE_MS, "store", (store) => store.purge({ keyHours, keepDays, turnsPerConversation }))
      .catch(() => undefined);
  }

  async #ask<T>(work: (store: ConversationStore) => Promise<T>): Promise<T> {
    try {
      return await this.#link.use(this.#parts.settings.connectMs, "store.connectMs", work);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      throw new Fault("store_unavailable", `conversations cannot be read or changed now: ${error.message}`, {
        retryAfterSeconds: 5,
        cause: error,
      });
    }
  }
}

function conflict(claim: Claim): Fault {
  return claim.state === "deleted"
    ? new Fault("idempotency_conflict", "idempotency key: its answer was deleted; ask again with another key")
    : new Fault("idempotency_conflict", "idempotency key: it was used with another request; take another key");
}

/** Waits until something is over, so many ms at most, or until the signal. */
async function within(over: Promise<void>, ms: number, signal?: AbortSignal): Promise<void> {
  const enough = new AbortController();
  const limit = signal === undefined ? enough.signal : AbortSignal.any([enough.signal, signal]);
  await Promise.race([over, sleep(ms, limit).catch(() => undefined)]);
  enough.abort();
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : "failed";
}
