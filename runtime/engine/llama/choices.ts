import type { LabelProbability } from "../backend.ts";

/** Most labels that one question may have. */
const MOST_LABELS = 64;

/** Where labels part from each other: after the tokens that all of them begin with. */
export interface Fork {
  /** Tokens at the front of every label; they are read as if the model had written them. Empty where labels differ from the start. */
  common: number[];
  /** For each label, in order, the tokens with one of which it goes on. No token stands for two labels. */
  firsts: number[][];
}

/**
 * The fork of labels that one look at the next token can tell apart. A label that the model would begin with a space counts with and without it.
 * @param tokenize tokens of a text, without marks
 * @returns the fork, or words for the caller why there is none
 */
export function forkOf(labels: readonly string[], tokenize: (text: string) => readonly number[]): Fork | string {
  if (labels.length < 2 || labels.length > MOST_LABELS)
    return `choices: got ${labels.length} labels, want 2 to ${MOST_LABELS}`;
  if (labels.some((label) => label.trim() === "")) return "choices: got an empty label";
  const twice = labels.find((label, index) => labels.indexOf(label) !== index);
  if (twice !== undefined) return `choices: got ${JSON.stringify(twice)} twice`;
  const all = labels.map((label) => tokenize(label));
  const [first = []] = all;
  const differs = first.findIndex((token, at) => all.some((tokens) => tokens[at] !== token));
  const common = first.slice(0, differs === -1 ? first.length : differs);
  const nexts = all.map((tokens) => tokens[common.length]);
  const alike = nexts.findIndex((token, index) => token === undefined || nexts.indexOf(token) !== index);
  if (alike !== -1) {
    const other = labels.find(
      (_, index) => index !== alike && (nexts[alike] === undefined || nexts[index] === nexts[alike]),
    );
    return `choices: ${JSON.stringify(labels[alike])} and ${JSON.stringify(other)} begin with the same token; want labels that differ in their first, such as A and B`;
  }
  const spaced = common.length > 0 ? [] : labels.map((label) => tokenize(` ${label}`)[0]);
  const plain = new Set(nexts);
  return {
    common,
    firsts: nexts.map((token, index) => {
      const also = spaced[index];
      const own = also !== undefined && !plain.has(also) && spaced.filter((one) => one === also).length === 1;
      return [token, ...(own ? [also] : [])].filter((one) => one !== undefined);
    }),
  };
}

/**
 * Probabilities of labels from the logits of their first tokens.
 * @param largest the largest logit of the whole vocabulary
 * @param totalWeight sum of exp(logit - largest) over the whole vocabulary
 */
export function labelProbabilities(
  labels: readonly string[],
  { firsts }: Fork,
  logits: ReadonlyMap<number, number>,
  largest: number,
  totalWeight: number,
): LabelProbability[] {
  return labels.map((label, index) => {
    const weights = (firsts[index] ?? []).map((token) => Math.exp((logits.get(token) ?? -Infinity) - largest));
    return { label, probability: weights.reduce((sum, weight) => sum + weight, 0) / totalWeight };
  });
}
