/** Character that stands for bytes which are no whole character yet. */
const BROKEN = "\uFFFD";
/** Bytes of the longest UTF-8 character; more broken ones than these will never be whole. */
const LONGEST_CHARACTER_TOKENS = 4;

/**
 * Turns tokens into text as they come: holds back what may still become a character or one of the texts at which the answer ends.
 * @param textOf text of tokens, given those just before them
 */
export class TextPieces {
  readonly #textOf: (tokens: readonly number[], before: readonly number[]) => string;
  readonly #stop: readonly string[];
  #open: number[] = [];
  #before: number[] = [];
  #held = "";
  #stopped = false;

  constructor(textOf: (tokens: readonly number[], before: readonly number[]) => string, stop: readonly string[] = []) {
    this.#textOf = textOf;
    this.#stop = stop.filter((text) => text !== "");
  }

  /** Whether one of the stop texts was written. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Text that is certain after one more token; often empty. */
  push(token: number): string {
    this.#open.push(token);
    const text = this.#textOf(this.#open, this.#before);
    if (text.endsWith(BROKEN) && this.#open.length < LONGEST_CHARACTER_TOKENS) return "";
    this.#before = [...this.#before, ...this.#open].slice(-8);
    this.#open = [];
    return this.#pass(text);
  }

  /** What was held back, when no more comes. */
  end(): string {
    const rest = this.#open.length === 0 ? "" : this.#textOf(this.#open, this.#before);
    this.#open = [];
    const text = this.#pass(rest);
    if (this.#stopped) return text;
    const held = this.#held;
    this.#held = "";
    return text + held;
  }

  #pass(text: string): string {
    if (this.#stopped) return "";
    const all = this.#held + text;
    const ends = this.#stop.map((mark) => all.indexOf(mark)).filter((at) => at !== -1);
    if (ends.length > 0) {
      this.#stopped = true;
      this.#held = "";
      return all.slice(0, Math.min(...ends));
    }
    const keep = Math.max(0, ...this.#stop.map((mark) => overlap(all, mark)));
    this.#held = all.slice(all.length - keep);
    return all.slice(0, all.length - keep);
  }
}

/** Length of the longest end of a text that is a beginning of a mark. */
function overlap(text: string, mark: string): number {
  for (let length = Math.min(text.length, mark.length - 1); length > 0; length--) {
    if (mark.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
