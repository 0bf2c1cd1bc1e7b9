import type { IncomingHttpHeaders } from "node:http";
import type { Dispatcher } from "undici";
import type { Member } from "../../contracts/ensemble-config.ts";
import { Fault } from "../../core/fault.ts";
import { fieldsOf } from "./fields.ts";

/** Largest document that is looked at whole before any of it goes on, bytes. A larger one goes on as it comes, its first byte checked. */
const WHOLE_BYTES = 262_144;

/** Longest line of a stream, bytes; more is no line of these APIs. */
const LONGEST_LINE_BYTES = 4_194_304;

const NEWLINE = 0x0a;
const OPEN_BRACE = 0x7b;
const STREAMS = /^(text\/event-stream|application\/x-ndjson)/i;
const JSON_TYPE = /^application\/json/i;

/** How an answer goes on: whole lines at a time, or as one document that is looked at first. */
type Kind = "lines" | "document" | "large document" | "as it comes";

/**
 * Stands before whoever takes an answer of a member's server and lets only sound parts through, so that a client never gets half a line or half a
 * document: lines of a stream when they are whole, a JSON document when it is. An answer that is compressed although nobody asked for it is refused:
 * a small one may be without end. What is wrong is told by `onResponseError` with a Fault `model_bad_answer`.
 */
export class SoundAnswer implements Dispatcher.DispatchHandler {
  readonly #inner: Dispatcher.DispatchHandler;
  readonly #member: Member;
  #kind: Kind = "as it comes";
  #head: { status: number; headers: IncomingHttpHeaders; message: string | undefined } | undefined;
  #held: Buffer[] = [];
  #heldBytes = 0;

  constructor(inner: Dispatcher.DispatchHandler, member: Member) {
    this.#inner = inner;
    this.#member = member;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#kind = "as it comes";
    this.#held = [];
    this.#heldBytes = 0;
    this.#inner.onRequestStart?.(controller, context);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    message?: string,
  ): void {
    if (status < 200) return;
    const encoding = headers["content-encoding"] ?? "identity";
    if (encoding !== "identity") {
      controller.abort(this.#bad(`an answer compressed as ${String(encoding).slice(0, 20)}, which was not asked for`));
      return;
    }
    const type = headers["content-type"] ?? "";
    this.#kind =
      status >= 300 ? "as it comes" : STREAMS.test(type) ? "lines" : JSON_TYPE.test(type) ? "document" : "as it comes";
    if (this.#kind === "document") this.#head = { status, headers, message };
    else this.#inner.onResponseStart?.(controller, status, headers, message);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#kind === "lines") this.#lines(controller, chunk);
    else if (this.#kind === "document") this.#document(controller, chunk);
    else this.#inner.onResponseData?.(controller, chunk);
  }

  onResponseEnd(controller: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    const rest = this.#take();
    if (this.#kind === "lines") {
      // A stream may leave out its last line's end, but not a part of that line.
      if (rest.length > 0 && isWholeLine(rest)) this.#inner.onResponseData?.(controller, rest);
    } else if (this.#kind === "document") {
      if (!isDocument(rest)) {
        this.#inner.onResponseError?.(controller, this.#bad("a document that is cut short or no JSON"));
        return;
      }
      this.#begin(controller, { "content-length": String(rest.length) });
      this.#inner.onResponseData?.(controller, rest);
    }
    this.#inner.onResponseEnd?.(controller, trailers);
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    this.#inner.onResponseError?.(controller, error);
  }

  #lines(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    if (end === chunk.length && this.#heldBytes === 0) {
      this.#inner.onResponseData?.(controller, chunk);
      return;
    }
    if (end > 0) {
      this.#hold(chunk.subarray(0, end));
      this.#inner.onResponseData?.(controller, this.#take());
    }
    if (end < chunk.length) this.#hold(chunk.subarray(end));
    if (this.#heldBytes > LONGEST_LINE_BYTES)
      controller.abort(this.#bad(`a line of more than ${LONGEST_LINE_BYTES} bytes`));
  }

  #document(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#hold(chunk);
    if (this.#heldBytes <= WHOLE_BYTES) return;
    const held = this.#take();
    if (firstByte(held) !== OPEN_BRACE) {
      controller.abort(this.#bad("a document that is no JSON"));
      return;
    }
    this.#kind = "large document";
    this.#begin(controller);
    this.#inner.onResponseData?.(controller, held);
  }

  #begin(controller: Dispatcher.DispatchController, more: IncomingHttpHeaders = {}): void {
    if (this.#head === undefined) return;
    const { status, headers, message } = this.#head;
    this.#inner.onResponseStart?.(controller, status, { ...headers, ...more }, message);
  }

  #hold(bytes: Buffer): void {
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
  }

  #take(): Buffer {
    const bytes = this.#held.length === 1 ? this.#held[0] : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    return bytes ?? Buffer.alloc(0);
  }

  #bad(what: string): Fault {
    return new Fault("model_bad_answer", `${this.#member.url} sent ${what}`, { member: this.#member.name });
  }
}

function isWholeLine(bytes: Buffer): boolean {
  const text = bytes.toString("utf8").trim();
  const data = text.startsWith("data:") ? text.slice(5).trim() : text;
  return data === "[DONE]" || isDocument(Buffer.from(data));
}

function isDocument(bytes: Buffer): boolean {
  try {
    fieldsOf(bytes);
    return true;
  } catch {
    return false;
  }
}

function firstByte(bytes: Buffer): number | undefined {
  return bytes.find((byte) => byte !== 0x20 && byte !== NEWLINE && byte !== 0x0d && byte !== 0x09);
}
