import { refuses, wordsOf } from "./words.ts";

/** Why an answer is not judged. */
export type Unfit = "empty" | "refusal" | "one word" | "cut";

/** An answer before judging. */
export interface Answered {
  member: string;
  text: string;
  /** It was cut by its deadline or the length limit of the transport, not ended by the model. */
  cut: boolean;
}

/** Which answers are judged, and why the others are not. */
export interface Sifted<T extends Answered> {
  fit: T[];
  dropped: { answer: T; why: Unfit }[];
}

/** What an answer lacks; undefined when it can be judged. */
export function unfitness(answer: Answered): Unfit | undefined {
  if (answer.text.trim() === "") return "empty";
  if (answer.cut) return "cut";
  if (refuses(answer.text)) return "refusal";
  if (wordsOf(answer.text).length <= 1) return "one word";
  return undefined;
}

/**
 * Drops what is not worth judging. When nothing would be left, the best kind that there is stays: one word ("4" may be right),
 * then a cut answer, then a refusal. An empty one never does.
 */
export function sift<T extends Answered>(answers: readonly T[]): Sifted<T> {
  const graded = answers.map((answer) => ({ answer, why: unfitness(answer) }));
  const order: (Unfit | undefined)[] = [undefined, "one word", "cut", "refusal"];
  const kept = order.find((grade) => graded.some(({ why }) => why === grade));
  const some = graded.some(({ why }) => why !== "empty");
  const fit = some ? graded.filter(({ why }) => why === kept).map(({ answer }) => answer) : [];
  const dropped = graded.flatMap(({ answer, why }) =>
    fit.includes(answer) ? [] : [{ answer, why: why ?? ("empty" as const) }],
  );
  return { fit, dropped };
}
