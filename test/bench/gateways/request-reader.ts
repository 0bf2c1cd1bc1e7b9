const HEAD_END = Buffer.from("\r\n\r\n");
const LAST_CHUNK = Buffer.from("0\r\n\r\n");
const STREAM = Buffer.from('"stream":true');
const STREAM_SPACED = Buffer.from('"stream": true');
const NOTHING = Buffer.alloc(0);

/**
 * Finds where requests end on a connection that is kept, and whether they ask for a stream. It knows Content-Length and chunked bodies and
 * takes everything else on trust: its clients are gateways under test on this machine. A body is looked at for its `stream` field in its first
 * and last 4 KiB only.
 */
export class RequestReader {
  readonly #onRequest: (stream: boolean) => void;
  #head: Buffer = NOTHING;
  /** Bytes of the body that are still to come; -1 while a chunked one has no end yet, undefined while the head is read. */
  #left: number | undefined;
  #stream = false;
  #tail: Buffer = NOTHING;

  constructor(onRequest: (stream: boolean) => void) {
    this.#onRequest = onRequest;
  }

  read(bytes: Buffer): void {
    let rest: Buffer = bytes;
    while (rest.length > 0) rest = this.#left === undefined ? this.#readHead(rest) : this.#readBody(rest, this.#left);
  }

  #readHead(bytes: Buffer): Buffer {
    const all = this.#head.length === 0 ? bytes : Buffer.concat([this.#head, bytes]);
    const end = all.indexOf(HEAD_END);
    if (end < 0) {
      this.#head = all;
      return NOTHING;
    }
    this.#head = NOTHING;
    this.#tail = NOTHING;
    this.#stream = false;
    const head = all.toString("latin1", 0, end);
    const length = /\r\ncontent-length:\s*(\d+)/i.exec(head)?.[1];
    if (length !== undefined) this.#left = Number(length);
    else this.#left = /\r\ntransfer-encoding:\s*chunked/i.test(head) ? -1 : 0;
    if (this.#left === 0) this.#done();
    return all.subarray(end + HEAD_END.length);
  }

  #readBody(bytes: Buffer, left: number): Buffer {
    if (left < 0) {
      // The end of a chunked body may come in two reads.
      const joined = Buffer.concat([this.#tail, bytes]);
      this.#look(joined);
      this.#tail = Buffer.from(joined.subarray(-(STREAM_SPACED.length + LAST_CHUNK.length)));
      if (joined.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK)) this.#done();
      return NOTHING;
    }
    const mine = bytes.length <= left ? bytes : bytes.subarray(0, left);
    this.#look(mine);
    this.#left = left - mine.length;
    if (this.#left === 0) this.#done();
    return bytes.subarray(mine.length);
  }

  #look(bytes: Buffer): void {
    if (this.#stream) return;
    const ends = bytes.length <= 8192 ? [bytes] : [bytes.subarray(0, 4096), bytes.subarray(-4096)];
    this.#stream = ends.some((end) => end.includes(STREAM) || end.includes(STREAM_SPACED));
  }

  #done(): void {
    this.#left = undefined;
    this.#onRequest(this.#stream);
  }
}
