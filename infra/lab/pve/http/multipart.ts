/** Something that was found in a multipart body, in order. */
export type MultipartEvent =
  | { kind: "part"; name: string; filename: string | undefined }
  | { kind: "data"; bytes: Buffer }
  | { kind: "end" };

/** Longest header block of one part, bytes. */
const MAX_HEADER_BYTES = 16 * 1024;

/**
 * Takes a `multipart/form-data` body apart while it arrives (RFC 7578, RFC 2046 section 5.1.1), keeping no more than one boundary's length.
 * Pure: bytes in, events out.
 */
export class MultipartScanner {
  readonly #delimiter: Buffer;
  #state: "preamble" | "headers" | "body" | "done" = "preamble";
  #rest: Buffer;

  constructor(boundary: string) {
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
    // The first boundary has no line break before it when the body begins with it.
    this.#rest = Buffer.from("\r\n", "latin1");
  }

  /** Whether the closing boundary has been seen. */
  get isComplete(): boolean {
    return this.#state === "done";
  }

  /** Takes the next bytes. @throws Error for a body that is not multipart */
  push(chunk: Buffer): MultipartEvent[] {
    const events: MultipartEvent[] = [];
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (this.#step(events));
    return events;
  }

  #step(events: MultipartEvent[]): boolean {
    if (this.#state === "done") {
      this.#rest = Buffer.alloc(0);
      return false;
    }
    if (this.#state === "headers") return this.#readHeaders(events);
    const at = this.#rest.indexOf(this.#delimiter);
    if (at < 0) {
      // What could be the start of a boundary waits for more bytes.
      const keep = this.#delimiter.length - 1;
      const ready = this.#rest.length - keep;
      if (ready > 0) {
        if (this.#state === "body") events.push({ kind: "data", bytes: this.#rest.subarray(0, ready) });
        this.#rest = this.#rest.subarray(ready);
      }
      return false;
    }
    const after = at + this.#delimiter.length;
    if (this.#rest.length < after + 2) return false;
    if (this.#state === "body") {
      if (at > 0) events.push({ kind: "data", bytes: this.#rest.subarray(0, at) });
      events.push({ kind: "end" });
    }
    const tail = this.#rest.toString("latin1", after, after + 2);
    if (tail === "--") this.#state = "done";
    else if (tail === "\r\n") this.#state = "headers";
    else throw new Error("malformed multipart body: a boundary is not followed by a line break");
    this.#rest = this.#rest.subarray(after + 2);
    return true;
  }

  #readHeaders(events: MultipartEvent[]): boolean {
    const end = this.#rest.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#rest.length > MAX_HEADER_BYTES)
        throw new Error("malformed multipart body: a part's headers are too long");
      return false;
    }
    const headers = this.#rest.toString("utf8", 0, end);
    const disposition = /^content-disposition:\s*form-data;(.*)$/im.exec(headers)?.[1];
    const name = /(?:^|[;\s])name="([^"]*)"/.exec(disposition ?? "")?.[1];
    if (disposition === undefined || name === undefined)
      throw new Error("malformed multipart body: a part has no name");
    events.push({ kind: "part", name, filename: /(?:^|[;\s])filename="([^"]*)"/.exec(disposition)?.[1] });
    this.#state = "body";
    this.#rest = this.#rest.subarray(end + 4);
    return true;
  }
}
