const MODEL = Buffer.from("model");
const RESPONSE = Buffer.from("response");

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;

/** Where the scanner stands in a value that is being read. */
const OUTSIDE = 0;
const IN_STRING = 1;
const IN_NAME = 2;

/**
 * Puts the name that the client asked for where an answer names its model: at the top of each JSON document, and in the `response` of an event of
 * the Responses API. What models write, and what stands deeper, is left as it is. Works on any cut of the bytes; nothing is held back.
 */
export class Rename {
  readonly #name: Buffer;
  /** Whether a line's end begins a new document, as in event streams and JSON lines. */
  readonly #lines: boolean;
  #depth = 0;
  #state = OUTSIDE;
  #escaped = false;
  /** Whether the next string is a key. */
  #key = false;
  /** Whether that key's colon has been seen, so that a value follows. */
  #candidate = MODEL;
  /** Bytes of the key seen that match its candidate; -1 once one does not. */
  #matched = -1;
  /** The last key of the top level was `response`. */
  #inResponse = false;
  /** The value that follows is the model's name. */
  #named = false;

  constructor(name: string, lines: boolean) {
    this.#name = Buffer.from(JSON.stringify(name));
    this.#lines = lines;
  }

  /** The same bytes with the name put in. */
  push(chunk: Buffer): Buffer {
    const parts: Buffer[] = [];
    let kept = 0;
    let state = this.#state;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0;
      if (state === OUTSIDE) {
        switch (byte) {
          case QUOTE:
            if (this.#depth === 0) break;
            if (this.#named) {
              parts.push(chunk.subarray(kept, at), this.#name);
              state = IN_NAME;
            } else {
              state = IN_STRING;
              this.#beginKey();
            }
            break;
          case 0x7b: // {
            this.#depth++;
            this.#key = true;
            this.#named = false;
            break;
          case 0x5b: // [
            this.#depth++;
            this.#key = false;
            this.#named = false;
            break;
          case 0x7d: // }
          case 0x5d: // ]
            if (this.#depth > 0) this.#depth--;
            this.#key = false;
            this.#named = false;
            break;
          case 0x2c: // ,
            // Only keys of the two levels that matter are looked at; an array of strings there holds none that could match a key with a colon.
            this.#key = true;
            this.#named = false;
            break;
          case 0x3a: // :
            this.#colon();
            break;
          case NEWLINE:
            if (this.#lines) {
              this.#depth = 0;
              this.#named = false;
            }
            break;
          default:
        }
      } else if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) {
        this.#escaped = true;
        this.#matched = -1;
      } else if (byte === QUOTE) {
        if (state === IN_NAME) {
          kept = at + 1;
          this.#named = false;
        }
        state = OUTSIDE;
      } else if (state === IN_STRING && this.#matched >= 0) this.#match(byte);
    }
    const inName = state === IN_NAME;
    this.#state = state;
    if (parts.length === 0 && kept === 0 && !inName) return chunk;
    if (!inName) parts.push(chunk.subarray(kept));
    return Buffer.concat(parts);
  }

  #beginKey(): void {
    const watched = this.#depth === 1 || (this.#depth === 2 && this.#inResponse);
    this.#matched = this.#key && watched ? 0 : -1;
    this.#key = false;
  }

  #match(byte: number): void {
    if (this.#matched === 0) this.#candidate = byte === RESPONSE[0] ? RESPONSE : MODEL;
    this.#matched = this.#candidate[this.#matched] === byte ? this.#matched + 1 : -1;
  }

  #colon(): void {
    const whole = this.#matched === this.#candidate.length;
    if (this.#depth === 1) this.#inResponse = whole && this.#candidate === RESPONSE;
    this.#named = whole && this.#candidate === MODEL;
    this.#matched = -1;
  }
}
