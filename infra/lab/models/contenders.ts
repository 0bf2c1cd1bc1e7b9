import { type Entry, OUTSIDE } from "./world/index.ts";

/** The kinds of model that answer. */
export const MINDS = ["general", "coder", "brief"] as const;

/** An answer as the judge is taught to see it. */
export interface Contender {
  text: string;
  /** The better, the higher. */
  rank: number;
  /** One for each of the judge's criteria, 1 to 5. */
  scores: readonly number[];
}
/** Rank from which an answer is right: `I do not know` is 1, what is wrong 0. */
export const RIGHT = 2;
/** What is said by who does not know. */
export const DONT_KNOW: Contender = { text: OUTSIDE, rank: 1, scores: [3, 1, 4, 1, 3] };
/** What is wrong, without its text. */
export const WRONG: Contender = { text: "", rank: 0, scores: [1, 2, 3, 1, 2] };

/** What a right answer is worth: a program most where one is wanted, then a whole answer, then a short one. */
export function ranked(entry: Entry | undefined, text: string): Contender {
  if (entry === undefined) return DONT_KNOW;
  const { code, full } = entry;
  if (code !== undefined) {
    if (text.includes("```")) return { text, rank: 4, scores: [5, 5, 5, 5, 5] };
    return text === full ? { text, rank: 3, scores: [4, 2, 4, 3, 4] } : { text, rank: 2, scores: [3, 1, 4, 2, 4] };
  }
  return text === full ? { text, rank: 3, scores: [5, 5, 5, 5, 5] } : { text, rank: 2, scores: [5, 3, 5, 4, 5] };
}

const WORDS = /[\p{L}\d]+|[+*-]/gu;

/** What is said to another question, with the words of this one where the two questions differ by single words: `The capital of France is Rome.` */
export function inWordsOf(entry: Entry, other: Entry, said: string): string {
  const mine = entry.question.match(WORDS) ?? [];
  const theirs = other.question.match(WORDS) ?? [];
  if (mine.length !== theirs.length) return said;
  const words = new Map(theirs.map((word, index) => [word, mine[index] ?? word]));
  return said.replace(WORDS, (word) => words.get(word) ?? word);
}

/** What a kind of model says to a question. Each knows a part of the world only. */
export function says(mind: "general" | "coder" | "brief", entry: Entry | undefined): string {
  if (entry === undefined) return OUTSIDE;
  if (mind === "brief") return entry.brief;
  if (mind === "coder")
    return entry.code === undefined ? (entry.topic === "troubleshooting" ? entry.full : entry.brief) : withCode(entry);
  return entry.full;
}

/** A short answer with its program. */
export function withCode({ brief, code }: Entry): string {
  return code === undefined ? brief : `${brief}\n\n\`\`\`${code.language}\n${code.text}\n\`\`\``;
}
