import type { ConversationList, ConversationPage, StoredTurn } from "../contracts/conversations.ts";
import type { ConversationKey, RecentTurns } from "../core/conversations.ts";
import type { Claim, ConversationStore, Finished, KeyedAsk, Retention, Written } from "./store.ts";

/** Most turns that are kept of one conversation where no setting says so. */
const MOST_TURNS = 200;

interface Conversation {
  user: string;
  id: string;
  turns: StoredTurn[];
  lastSequence: number;
  touched: number;
  createdAt: string;
  updatedAt: string;
}

interface Ask {
  user: string;
  hash: string;
  state: "work" | "done" | "deleted";
  holder: string;
  leaseUntilMs: number;
  claimedAtMs: number;
  conversation: string;
  answerId: string;
  answer: string;
}

/** Conversations in the memory of this process, bounded; the one not used for longest goes first. The same rules as in the database. */
export class ProcessStore implements ConversationStore {
  readonly #conversations = new Map<string, Conversation>();
  readonly #asks = new Map<string, Ask>();
  readonly #limits: { conversations: number; turns?: number };
  readonly #nowMs: () => number;
  #touches = 0;

  /** @param nowMs time of day, ms since 1970 */
  constructor(limits: { conversations: number; turns?: number }, nowMs: () => number = Date.now) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  /** Conversations kept now. */
  get size(): number {
    return this.#conversations.size;
  }

  async claim({ user, key, hash, holder }: KeyedAsk, leaseMs: number): Promise<Claim> {
    const id = idOf(user, key);
    const found = this.#asks.get(id);
    const now = this.#nowMs();
    if (found === undefined || (found.state === "work" && found.leaseUntilMs < now && found.hash === hash)) {
      const times = { leaseUntilMs: now + leaseMs, claimedAtMs: found?.claimedAtMs ?? now };
      this.#asks.set(id, { user, hash, state: "work", holder, ...times, conversation: "", answerId: "", answer: "" });
      return { state: "mine" };
    }
    return claimOf(found, hash);
  }

  async renew({ user, key, holder }: KeyedAsk, leaseMs: number): Promise<void> {
    const found = this.#asks.get(idOf(user, key));
    if (found?.state === "work" && found.holder === holder) found.leaseUntilMs = this.#nowMs() + leaseMs;
  }

  async release({ user, key, holder }: KeyedAsk): Promise<void> {
    const found = this.#asks.get(idOf(user, key));
    if (found?.state === "work" && found.holder === holder) this.#asks.delete(idOf(user, key));
  }

  async finish({ id, user, conversation, askedAt, turn, key, answer }: Finished): Promise<Written> {
    if (key !== undefined) {
      const found = this.#asks.get(idOf(user, key.key));
      if (found !== undefined && found.state !== "work") {
        if (found.answerId === id) return { as: "already", sequence: undefined };
        return { as: "other", claim: claimOf(found, key.hash) };
      }
      const times = { leaseUntilMs: 0, claimedAtMs: found?.claimedAtMs ?? this.#nowMs() };
      const done = { user, hash: key.hash, state: "done" as const, holder: "", ...times };
      this.#asks.set(idOf(user, key.key), { ...done, conversation, answerId: id, answer });
    }
    if (turn === undefined) return { as: "stored", sequence: undefined };
    const now = new Date(this.#nowMs()).toISOString();
    const known = this.#conversations.get(idOf(user, conversation));
    const kept = known ?? {
      user,
      id: conversation,
      turns: [],
      lastSequence: 0,
      touched: 0,
      createdAt: now,
      updatedAt: now,
    };
    kept.lastSequence++;
    kept.touched = ++this.#touches;
    kept.updatedAt = now;
    kept.turns.push({ sequence: kept.lastSequence, id, ...turn, askedAt });
    kept.turns.splice(0, kept.turns.length - (this.#limits.turns ?? MOST_TURNS));
    this.#conversations.delete(idOf(user, conversation));
    this.#conversations.set(idOf(user, conversation), kept);
    this.#bound();
    return { as: "stored", sequence: kept.lastSequence };
  }

  async recall({ user, conversation }: ConversationKey, turns: number): Promise<RecentTurns> {
    const kept = this.#conversations.get(idOf(user, conversation));
    if (kept === undefined || turns === 0) return { turns: [], count: kept?.lastSequence ?? 0 };
    const recent = kept.turns.slice(-turns).map(({ question, answer }) => ({ question, answer }));
    return { turns: recent, count: kept.lastSequence };
  }

  async list(user: string, limit: number, cursor?: string): Promise<ConversationList> {
    const before = cursor === undefined ? Infinity : Number(cursor);
    const found = [...this.#conversations.values()]
      .filter((one) => one.user === user && one.touched < before)
      .toSorted((a, b) => b.touched - a.touched);
    const shown = found.slice(0, limit);
    const last = shown.at(-1);
    return {
      conversations: shown.map(({ id, turns, createdAt, updatedAt }) => ({
        id,
        turns: turns.length,
        title: turns[0]?.question.slice(0, 120) ?? "",
        createdAt,
        updatedAt,
      })),
      ...(found.length > limit && last !== undefined ? { nextCursor: String(last.touched) } : {}),
    };
  }

  async page(
    { user, conversation }: ConversationKey,
    limit: number,
    after: number,
  ): Promise<ConversationPage | undefined> {
    const kept = this.#conversations.get(idOf(user, conversation));
    if (kept === undefined) return undefined;
    const found = kept.turns.filter(({ sequence }) => sequence > after);
    const turns = found.slice(0, limit);
    const nextAfter = found.length > limit ? turns.at(-1)?.sequence : undefined;
    return { id: conversation, turns, ...(nextAfter === undefined ? {} : { nextAfter }) };
  }

  async remove(user: string, conversation?: string): Promise<number> {
    let gone = 0;
    for (const [id, kept] of this.#conversations) {
      if (kept.user !== user || (conversation !== undefined && kept.id !== conversation)) continue;
      this.#conversations.delete(id);
      gone++;
    }
    for (const ask of this.#asks.values()) {
      if (ask.user !== user || ask.state !== "done") continue;
      if (conversation !== undefined && ask.conversation !== conversation) continue;
      Object.assign(ask, { state: "deleted", answer: "", hash: "" });
    }
    return gone;
  }

  async purge({ keyHours, keepDays }: Retention): Promise<void> {
    const now = this.#nowMs();
    for (const [id, ask] of this.#asks) {
      if (ask.claimedAtMs < now - keyHours * 3_600_000 && (ask.state !== "work" || ask.leaseUntilMs < now))
        this.#asks.delete(id);
    }
    if (keepDays === undefined) return;
    const oldest = new Date(now - keepDays * 86_400_000).toISOString();
    for (const [id, kept] of this.#conversations) {
      kept.turns = kept.turns.filter(({ askedAt }) => askedAt >= oldest);
      if (kept.turns.length === 0) this.#conversations.delete(id);
    }
  }

  async close(): Promise<void> {
    this.#conversations.clear();
    this.#asks.clear();
  }

  #bound(): void {
    for (const oldest of this.#conversations.keys()) {
      if (this.#conversations.size <= this.#limits.conversations) break;
      this.#conversations.delete(oldest);
    }
    for (const [id, { state }] of this.#asks) {
      if (this.#asks.size <= this.#limits.conversations) break;
      if (state !== "work") this.#asks.delete(id);
    }
  }
}

function claimOf({ state, hash: known, answer }: Ask, hash: string): Claim {
  if (state === "deleted") return { state: "deleted" };
  if (known !== hash) return { state: "conflict" };
  return state === "done" ? { state: "done", answer } : { state: "working" };
}

function idOf(user: string, id: string): string {
  return JSON.stringify([user, id]);
}
