import type { ConversationList, ConversationPage } from "../contracts/conversations.ts";
import type { ConversationKey, RecentTurns, Turn } from "../core/conversations.ts";

/** A question under an idempotency key, before it is answered. */
export interface KeyedAsk {
  user: string;
  key: string;
  /** SHA-256 of the request. */
  hash: string;
  /** Who claims it: a UUID of this attempt. */
  holder: string;
}

/** What became of a claim. `mine`: answer it. `working`: another one does. `done`: it is answered already. */
export type Claim =
  | { state: "mine" }
  | { state: "working" }
  | { state: "conflict" }
  | { state: "deleted" }
  | { state: "done"; answer: string };

/** An answered question, as it is written. */
export interface Finished {
  /** Id of the answer, a UUID. */
  id: string;
  user: string;
  conversation: string;
  /** When it was asked, ISO 8601. What was deleted after that is not written. */
  askedAt: string;
  /** Absent: it belongs to no conversation, and only its key is kept. */
  turn?: Turn & { member: string; model: string };
  key?: { key: string; hash: string };
  /** The whole answer as it is sent. */
  answer: string;
}

/** What became of a write. `already`: it was there. `other`: the key was answered by somebody else meanwhile, and that answer stands. */
export type Written =
  | { as: "stored" | "already"; sequence: number | undefined }
  | { as: "other"; claim: Claim }
  | { as: "deleted" };

/** How long things are kept. */
export interface Retention {
  keyHours: number;
  keepDays?: number;
  turnsPerConversation?: number;
}

/** Where conversations are kept. Every method throws StoreUnavailable or StoreRefused. */
export interface ConversationStore {
  /** Claims a key; one whose holder gave no sign of life for so long is taken over. */
  claim(ask: KeyedAsk, leaseMs: number): Promise<Claim>;
  /** A sign of life. */
  renew(ask: KeyedAsk, leaseMs: number): Promise<void>;
  /** Gives a claim back: the question was not answered. */
  release(ask: KeyedAsk): Promise<void>;
  /** Writes an answered question: its turn, its number in the conversation and its key at once, or nothing of it. */
  finish(finished: Finished): Promise<Written>;
  /** The last turns, and how many there ever were. */
  recall(key: ConversationKey, turns: number): Promise<RecentTurns>;
  list(user: string, limit: number, cursor?: string): Promise<ConversationList>;
  /** Undefined when there is no such conversation. */
  page(key: ConversationKey, limit: number, after: number): Promise<ConversationPage | undefined>;
  /** Deletes one conversation, or all of a user's. @returns how many */
  remove(user: string, conversation?: string): Promise<number>;
  /** Deletes what is older than it should be kept. */
  purge(retention: Retention): Promise<void>;
  close(): Promise<void>;
}
