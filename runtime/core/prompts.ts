import type { Member } from "../contracts/ensemble-config.ts";
import { estimateTokens, fitTurns, MESSAGE_TOKENS } from "./budget.ts";
import type { Turn } from "./conversations.ts";
import type { ChatMessage } from "./ports.ts";
import { refuses } from "./words.ts";

/** First words of the rewriter's instruction; a scripted model knows its role by them. */
export const REWRITER_MARK = "You rewrite questions.";
/** First words of the judge's instruction; a scripted model knows its role by them. */
export const JUDGE_MARK = "You judge answers.";

const CANDIDATE_SYSTEM =
  "Answer the user's question correctly, completely and clearly. Use the conversation so far where the question refers to it. If you do not know, say so.";

const REWRITER_SYSTEM = `${REWRITER_MARK} Write the user's question again so that a small language model understands it best: clear, specific and complete in itself, with the same meaning and in the same language. Put names in place of words such as "it" that refer to the conversation. Do not answer it. Reply with the rewritten question and nothing else.`;

/** Messages for one call, and what had to be left out of them. */
export interface Prompt {
  messages: ChatMessage[];
  /** Turns of the conversation that are in it. */
  turnsShown: number;
  /** Turns or text were left out so that it fits the context window. */
  shortened: boolean;
}

/** What a candidate is asked: the conversation as its own turns, then the words. */
export function candidatePrompt(member: Member, words: string, turns: readonly Turn[], system?: string): Prompt {
  const instruction = system ?? CANDIDATE_SYSTEM;
  const fixed = estimateTokens(instruction) + estimateTokens(words) + 2 * MESSAGE_TOKENS;
  const fitted = fitTurns(turns, roomOf(member) - fixed);
  return {
    messages: [
      { role: "system", content: instruction },
      ...fitted.turns.flatMap((turn): ChatMessage[] => [
        { role: "user", content: turn.question },
        { role: "assistant", content: turn.answer },
      ]),
      { role: "user", content: words },
    ],
    turnsShown: fitted.turns.length,
    shortened: fitted.left > 0,
  };
}

/** What the rewriter is asked: the conversation as quoted text, so that it does not go on with it. */
export function rewriterPrompt(member: Member, question: string, turns: readonly Turn[]): Prompt {
  const fixed = estimateTokens(REWRITER_SYSTEM) + estimateTokens(question) + 4 * MESSAGE_TOKENS;
  const fitted = fitTurns(turns, roomOf(member) - fixed);
  return {
    messages: [
      { role: "system", content: REWRITER_SYSTEM },
      { role: "user", content: `${renderTurns(fitted.turns)}Question to rewrite: ${question}` },
    ],
    turnsShown: fitted.turns.length,
    shortened: fitted.left > 0,
  };
}

/** The conversation as text, or nothing when there is none. */
export function renderTurns(turns: readonly Turn[]): string {
  if (turns.length === 0) return "";
  const lines = turns.map((turn) => `User: ${turn.question}\nAssistant: ${turn.answer}`);
  return `Conversation so far:\n${lines.join("\n")}\n\n`;
}

/** Tokens of the context window that a prompt may take, the answer's own share kept free. */
export function roomOf(member: Member): number {
  return Math.max(128, member.numCtx - Math.min(member.maxTokens, Math.floor(member.numCtx / 2)));
}

/** Most tokens that the rewriter may write. */
export const REWRITE_TOKENS = 160;

/**
 * The words that a member with `prompt: rewritten` gets: the rewriter's if they can be a question, else the user's own.
 * Empty, refusing and far too long ones (an answer, most likely) are not used.
 */
export function usableRewrite(question: string, rewritten: string): string | undefined {
  const text = rewritten
    .trim()
    .replace(/^(?:rewritten|optimi[sz]ed)?\s*(?:question|prompt)\s*:\s*/i, "")
    .replace(/^"([^"]*)"$/s, "$1")
    .trim();
  if (text === "" || refuses(text)) return undefined;
  if (text.length > 4 * question.length + 400) return undefined;
  return text;
}
