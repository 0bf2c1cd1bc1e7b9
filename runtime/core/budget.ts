import type { Turn } from "./conversations.ts";
import { leftOut } from "./window.ts";

/**
 * Tokens of a text, estimated from above for the tokenizers of the five models: about 3 characters a token in English
 * and code, one token for every character outside ASCII. Only used to decide what to leave out, never reported as a count.
 */
export function estimateTokens(text: string): number {
  let beyondAscii = 0;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) beyondAscii++;
  return Math.ceil((text.length - beyondAscii) / 3) + beyondAscii;
}

/** Tokens that a chat template adds around one message. */
export const MESSAGE_TOKENS = 8;

/** What is left of the conversation after fitting. */
export interface FittedTurns {
  turns: readonly Turn[];
  /** Turns left out, from the oldest. */
  left: number;
}

/** Leaves out the oldest turns, in blocks, until the rest fits so many tokens. The question itself is never cut here. */
export function fitTurns(turns: readonly Turn[], tokens: number): FittedTurns {
  let fitting = 0;
  let used = 0;
  for (const turn of turns.toReversed()) {
    used += estimateTokens(turn.question) + estimateTokens(turn.answer) + 2 * MESSAGE_TOKENS;
    if (used > tokens) break;
    fitting++;
  }
  const left = leftOut(turns.length, fitting);
  return { turns: turns.slice(left), left };
}

/** What stands where the middle of a text was left out. */
const GAP = "\n[… shortened …]\n";

/** A text that fits so many tokens: its beginning and its end, two to one, and a mark where the middle was. */
export function shorten(text: string, tokens: number): { text: string; cut: boolean } {
  if (estimateTokens(text) <= tokens) return { text, cut: false };
  const room = Math.max(0, tokens - estimateTokens(GAP));
  let keep = room * 3;
  let short = "";
  do {
    const head = Math.ceil((keep * 2) / 3);
    short = text.slice(0, head) + GAP + text.slice(text.length - (keep - head));
    keep = Math.floor(keep * 0.8);
  } while (keep > 0 && estimateTokens(short) > tokens);
  return { text: short, cut: true };
}
