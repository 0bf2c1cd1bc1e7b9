import type { TokensUsed } from "../gate.ts";

/** Bytes looked at for an answer's end: the last line of either API without its text. */
const TAIL_BYTES = 2_048;

/** Parts kept: the end of a stream comes in a few writes (last word, totals, mark of the end). */
const PARTS = 4;

/** The last bytes of an answer that went by, for what they say of its end and its cost. */
export class Tail {
  #parts: Buffer[] = [];
  #count = 0;

  /** Notes a part; it must not change afterwards. */
  push(part: Buffer): void {
    this.#count++;
    if (this.#parts.length === PARTS) this.#parts.shift();
    this.#parts.push(part.length > TAIL_BYTES ? part.subarray(-TAIL_BYTES) : part);
  }

  /** The last bytes as text, one character a byte. */
  text(): string {
    let text = "";
    for (const part of this.#parts) text += part.toString("latin1");
    return text;
  }

  /** Parts that went by. */
  get parts(): number {
    return this.#count;
  }
}

const PROMPT = /"(?:prompt_eval_count|prompt_tokens|input_tokens)":\s*(\d+)/g;
const ANSWER = /"(?:eval_count|completion_tokens|output_tokens)":\s*(\d+)/g;

/** What an answer cost by its own last words. A stream that does not say is counted by its parts, about one a token. */
export function usedOf(tail: string, streamedParts: number): TokensUsed {
  const prompt = lastNumber(tail, PROMPT);
  const answer = lastNumber(tail, ANSWER);
  return { promptTokens: prompt ?? 0, answerTokens: answer ?? (prompt === undefined ? streamedParts : 0) };
}

function lastNumber(text: string, pattern: RegExp): number | undefined {
  let last: number | undefined;
  for (const [, digits] of text.matchAll(pattern)) last = Number(digits);
  return last;
}
