import type { LabelProbability, TokenLogprob } from "../backend.ts";

/**
 * Probabilities of labels from the likeliest tokens of an answer's beginning, as other servers tell them. A token counts for the one label that
 * begins with it; a label of which no token was told has probability 0.
 * @returns undefined when no label begins with any of the tokens
 */
export function labelsIn(
  labels: readonly string[],
  tokens: readonly TokenLogprob[],
): readonly LabelProbability[] | undefined {
  const sums = labels.map(() => 0);
  for (const { token, logprob } of tokens) {
    const words = token.trim();
    if (words === "") continue;
    const fits = labels.flatMap((label, index) => (label.trim().startsWith(words) ? [index] : []));
    const [only] = fits;
    if (fits.length === 1 && only !== undefined) sums[only] = (sums[only] ?? 0) + Math.exp(logprob);
  }
  if (sums.every((sum) => sum === 0)) return undefined;
  return labels.map((label, index) => ({ label, probability: Math.min(1, sums[index] ?? 0) }));
}
