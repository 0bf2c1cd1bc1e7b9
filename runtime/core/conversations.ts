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

/** Turns per user and conversation, oldest first, bounded in both directions. The conversation not used for longest goes first. */
export class Conversations {
  readonly #turns = new Map<string, Turn[]>();
  readonly #maxTurns: number;
  readonly #maxConversations: number;

  constructor(limits: { turns: number; conversations: number }) {
    this.#maxTurns = limits.turns;
    this.#maxConversations = limits.conversations;
  }

  /** The last turns, oldest first; empty for a conversation never seen. */
  recall(key: ConversationKey): readonly Turn[] {
    const id = idOf(key);
    const turns = this.#turns.get(id);
    if (turns === undefined) return [];
    this.#turns.delete(id);
    this.#turns.set(id, turns);
    return turns;
  }

  /** Adds a turn and forgets what no longer fits. */
  remember(key: ConversationKey, turn: Turn): void {
    if (this.#maxTurns === 0) return;
    const id = idOf(key);
    const turns = [...(this.#turns.get(id) ?? []), turn].slice(-this.#maxTurns);
    this.#turns.delete(id);
    this.#turns.set(id, turns);
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
 * @param turns how many of the last ones to keep.
 */
export function turnsOf(messages: readonly { role: string; content: string }[], turns: number): Turn[] {
  const found: Turn[] = [];
  let question: string[] = [];
  for (const message of messages) {
    if (message.role === "user") question.push(message.content);
    if (message.role !== "assistant" || question.length === 0) continue;
    found.push({ question: question.join("\n\n"), answer: message.content });
    question = [];
  }
  return turns === 0 ? [] : found.slice(-turns);
}
