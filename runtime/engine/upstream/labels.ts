import { z } from "zod";
import type { LabelProbability, TokenLogprob, WrittenLogprob } from "../backend.ts";

const One = z.looseObject({ token: z.string(), logprob: z.number() });
/**
 * Tokens with those that might have stood in their place, as both APIs write them. Sources: api/types.go of ollama 0.17, Logprob; OpenAI API
 * reference, chat completion chunk.
 */
export const Logprobs = z.array(One.extend({ top_logprobs: z.array(One).default([]) }));

/** The same in the engine's words, without what else a server says of a token. */
export function writtenOf(logprobs: z.output<typeof Logprobs>): WrittenLogprob[] {
  return logprobs.map(({ token, logprob, top_logprobs }) => ({ token, logprob, top: top_logprobs.map(bare) }));
}

const bare = ({ token, logprob }: TokenLogprob): TokenLogprob => ({ token, logprob });

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
