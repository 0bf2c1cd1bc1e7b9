import type { TokenLogprob, WrittenLogprob } from "../backend.ts";

/** Most tokens that are told with each written one. Source: `top_logprobs` of the OpenAI API, 0 to 20. */
export const MOST_TOP_LOGPROBS = 20;

/** Least probability that is told; a smaller one has a logarithm that JSON does not know. */
const LEAST = 1e-30;

/** Collects how likely written tokens were, until text of theirs is sent. */
export class TokenLogprobs {
  readonly #top: number;
  readonly #textOf: (token: number) => string;
  #held: WrittenLogprob[] = [];

  /** @param top tokens that are told with each written one */
  constructor(top: number, textOf: (token: number) => string) {
    this.#top = top;
    this.#textOf = textOf;
  }

  /** One more written token. @param probabilities of all tokens, the likeliest first */
  push(token: number, probabilities: ReadonlyMap<number, number>): void {
    const top: TokenLogprob[] = [];
    for (const [other, probability] of probabilities) {
      if (top.length >= this.#top) break;
      top.push(this.#one(other, probability));
    }
    this.#held.push({ ...this.#one(token, probabilities.get(token) ?? 0), top });
  }

  /** Those that were not taken yet. */
  take(): WrittenLogprob[] {
    const held = this.#held;
    this.#held = [];
    return held;
  }

  #one(token: number, probability: number): TokenLogprob {
    return { token: this.#textOf(token), logprob: Math.log(Math.max(probability, LEAST)) };
  }
}
