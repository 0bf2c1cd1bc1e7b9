import { mostShown, shownFrom, windowOf } from "./window.ts";

/** One turn of a conversation: what was asked and what was answered. */
export interface Turn {
  question: string;
  answer: string;
}

/** Names one conversation of one user; the same conversation id under another user is another conversation. */
export interface ConversationKey {
  user: string;
  conversation: string;
}

/** The newest turns of a conversation. */
export interface RecentTurns {
  /** Oldest first. */
  turns: readonly Turn[];
  /** Turns that there ever were, those that are no longer kept too; the number of the newest, counted from 1. */
  count: number;
}

/** Turns per user and conversation, oldest first, bounded in both directions. The conversation not used for longest goes first. */
export class Conversations {
  readonly #turns = new Map<string, RecentTurns>();
  readonly #leastTurns: number;
  readonly #maxConversations: number;

  /** @param limits `turns`: at least so many are shown, up to three more */
  constructor(limits: { turns: number; conversations: number }) {
    this.#leastTurns = limits.turns;
    this.#maxConversations = limits.conversations;
  }

  /** The turns to show, oldest first; empty for a conversation never seen. */
  recall(key: ConversationKey): readonly Turn[] {
    const id = idOf(key);
    const known = this.#turns.get(id);
    if (known === undefined) return [];
    this.#turns.delete(id);
    this.#turns.set(id, known);
    return windowOf(known.turns, known.count, this.#leastTurns);
  }

  /** Adds a turn and forgets what no longer fits. */
  remember(key: ConversationKey, turn: Turn): void {
    if (this.#leastTurns === 0) return;
    const id = idOf(key);
    const { turns, count } = this.#turns.get(id) ?? { turns: [], count: 0 };
    this.#turns.delete(id);
    this.#turns.set(id, { turns: [...turns, turn].slice(-mostShown(this.#leastTurns)), count: count + 1 });
    for (const oldest of this.#turns.keys()) {
      if (this.#turns.size <= this.#maxConversations) break;
      this.#turns.delete(oldest);
    }
  }

  /** Forgets one conversation, or all of a user's. */
  forget(user: string, conversation?: string): void {
    if (conversation !== undefined) {
      this.#turns.delete(idOf({ user, conversation }));
      return;
    }
    const prefix = JSON.stringify([user]).slice(0, -1);
    for (const id of this.#turns.keys()) if (id.startsWith(`${prefix},`)) this.#turns.delete(id);
  }

  /** Conversations kept now. */
  get size(): number {
    return this.#turns.size;
  }
}

function idOf(key: ConversationKey): string {
  return JSON.stringify([key.user, key.conversation]);
}

/**
 * Turns from a client that carries its own history: each assistant message with the user's words before it.
 * Counted from the first one that the client carries: one that drops its oldest turn with every question has all of it read again.
 * @param least at least so many of the last ones are shown, up to three more; 0: none
 */
export function turnsOf(messages: readonly { role: string; content: string }[], least: number): Turn[] {
  const found: Turn[] = [];
  let question: string[] = [];
  for (const message of messages) {
    if (message.role === "user") question.push(message.content);
    if (message.role !== "assistant" || question.length === 0) continue;
    found.push({ question: question.join("\n\n"), answer: message.content });
    question = [];
  }
  return found.slice(shownFrom(found.length, least));
}
