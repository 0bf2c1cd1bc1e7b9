import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import type { Dispatcher } from "undici";
import type { Member } from "../../contracts/ensemble-config.ts";
import { Fault, toFault } from "../../core/fault.ts";
import type { Dialect } from "../../support/http.ts";
import { sendFault, sendJson } from "../../support/node-http.ts";
import { connectionFault } from "../upstream.ts";
import { faultOf, isErrorOf, saysEnd } from "./answer-errors.ts";
import { Rename } from "./rename.ts";
import type { Route } from "./routes.ts";
import { SoundAnswer } from "./sound-answer.ts";
import { Tail } from "./tail.ts";
import { Documents, type Translation } from "./translate/translation.ts";

/** How one relayed answer ended. */
export interface Relayed {
  outcome: "answered" | "refused" | "failed" | "timeout" | "cancelled" | "elsewhere";
  /** Why not `answered`. */
  fault?: Fault;
  /** From the first byte sent upstream to the answer's head, ms. Absent without one. */
  firstByteMs?: number;
  /** The answer's last bytes. */
  tail: Tail;
  /** Whether it came as a stream of events or lines. */
  streamed: boolean;
}

/** What one relayed call needs. */
export interface Exchange {
  member: Member;
  /** Base address that is called. */
  at: string;
  route: Route;
  /** Path at the member's server, its base path included. */
  path: string;
  /** Headers for the member's server. */
  headers: Record<string, string>;
  body: Buffer;
  outgoing: ServerResponse;
  dialect: Dialect;
  /** Headers that are ours, as name, value, name, value. */
  ours: readonly string[];
  /** How the answer is written in the client's dialect, where the server speaks the other one. Absent: byte for byte. */
  translation?: Translation;
  /** Name to put where the answer names its model. Absent: it is left as it is. */
  rename?: string;
  deadlineMs: number;
  /** Takes an answer whose path the server does not have, instead of it going to the client. Absent: it goes to the client. */
  noSuchPath?: () => void;
  now: () => number;
  ended: (how: Relayed) => void;
}

/** Wait before a call is begun anew, ms. Source: the same as in the ensemble's own calls, core/attempt.ts. */
const RETRY_AFTER_MS = 50;

/** Largest error document of a server that is read, bytes. */
const ERROR_BYTES = 65_536;

/** Largest whole answer that is kept until its length is known again after a change, bytes; larger ones go out in chunks. */
const WHOLE_BYTES = 262_144;

/** Largest whole answer that is translated, bytes. */
const TRANSLATED_BYTES = 16_777_216;

/** Headers of an answer that concern one connection or are written anew. Source: RFC 9110, 7.6.1. */
const DROPPED = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "content-length",
  "date",
  "upgrade",
  "trailer",
  "proxy-authenticate",
  "proxy-connection",
  "server",
  "set-cookie",
  "x-request-id",
]);

const STREAMS = /^(text\/event-stream|application\/x-ndjson)/i;
const TEXTS = /^(application\/json|text\/event-stream|application\/x-ndjson)/i;

/**
 * One call of one model whose bytes go to the client as they come. Neither side is read faster than the other writes. It is tried once more while
 * the client has seen nothing; the client's going closes the connection upstream.
 */
export class Relay implements Dispatcher.DispatchHandler {
  readonly #exchange: Exchange;
  readonly #pool: Dispatcher;
  readonly #tail = new Tail();
  readonly #startedMs: number;
  readonly #timer: NodeJS.Timeout;
  #controller: Dispatcher.DispatchController | undefined;
  #attempts = 0;
  #done = false;
  /** Why the call was given up here; the upstream's error for it says nothing. */
  #stopped: Fault | undefined;
  #status = 0;
  #firstByteMs: number | undefined;
  #streamed = false;
  #sse = false;
  #rename: Rename | undefined;
  /** Reads a stream that is translated. */
  #documents: Documents | undefined;
  /** Gathers a document whose end must be known before its head is sent. */
  #whole: Buffer[] | undefined;
  #wholeBytes = 0;
  #mostBytes = ERROR_BYTES;
  #headers: IncomingHttpHeaders = {};

  constructor(pool: Dispatcher, exchange: Exchange) {
    this.#pool = pool;
    this.#exchange = exchange;
    this.#startedMs = exchange.now();
    const { outgoing, member, deadlineMs } = exchange;
    this.#timer = setTimeout(() => {
      this.#stop(new Fault("deadline_exceeded", `${member.name} did not finish within ${deadlineMs} ms`));
    }, deadlineMs);
    outgoing.on("close", () => {
      if (!this.#done) this.#stop(new Fault("cancelled", "the client went away"));
    });
    outgoing.on("drain", () => this.#controller?.resume());
    this.#dispatch();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#stopped !== undefined) controller.abort(this.#stopped);
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200 || this.#done) return;
    this.#controller = controller;
    this.#status = status;
    this.#headers = headers;
    const type = headers["content-type"] ?? "";
    this.#firstByteMs = this.#exchange.now() - this.#startedMs;
    if (status >= 300 || !TEXTS.test(type)) {
      this.#whole = [];
      return;
    }
    const { rename, translation } = this.#exchange;
    if (translation !== undefined) {
      this.#translated(translation, STREAMS.test(type));
      return;
    }
    this.#streamed = STREAMS.test(type);
    this.#sse = type.startsWith("text/event-stream");
    if (rename !== undefined && headers["content-encoding"] === undefined)
      this.#rename = new Rename(rename, this.#streamed);
    const length = headers["content-length"];
    if (this.#rename !== undefined && length !== undefined && Number(length) <= WHOLE_BYTES) {
      this.#whole = [];
      this.#mostBytes = WHOLE_BYTES;
      return;
    }
    this.#head(this.#rename === undefined ? length : undefined);
    this.#flushAlone();
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#done) return;
    const bytes = this.#rename === undefined ? chunk : this.#rename.push(chunk);
    this.#tail.push(bytes);
    if (this.#documents !== undefined) {
      const { documents, answer } = { documents: this.#documents, answer: this.#exchange.translation?.answer };
      this.#write(controller, () =>
        documents
          .push(chunk)
          .map((document) => answer?.piece(document) ?? "")
          .join(""),
      );
      return;
    }
    if (this.#whole !== undefined) {
      this.#whole.push(bytes);
      this.#wholeBytes += bytes.length;
      if (this.#wholeBytes > this.#mostBytes) controller.abort(TOO_LONG);
      return;
    }
    if (!this.#exchange.outgoing.write(bytes)) controller.pause();
  }

  onResponseEnd(): void {
    if (this.#done) return;
    const { outgoing, route, member, translation } = this.#exchange;
    if (translation !== undefined && this.#status < 300 && this.#mostBytes !== ERROR_BYTES) {
      this.#endTranslated(translation);
      return;
    }
    if (this.#whole !== undefined && (this.#status >= 300 || this.#rename === undefined)) {
      this.#refused();
      return;
    }
    if (this.#whole !== undefined) {
      this.#head(String(this.#wholeBytes));
      outgoing.end(this.#whole.length === 1 ? this.#whole[0] : Buffer.concat(this.#whole));
      this.#finish({ outcome: "answered" });
      return;
    }
    const cut = this.#streamed && route.end !== undefined && !saysEnd(this.#tail.text(), route.end);
    if (cut) {
      this.#breakOff(
        new Fault("model_unreachable", `${member.name}: the answer ended before it was done`, { member: member.name }),
      );
      return;
    }
    outgoing.end();
    this.#finish({ outcome: "answered" });
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (this.#done) return;
    const { member, at, outgoing } = this.#exchange;
    const fault =
      this.#stopped ??
      (error === TOO_LONG
        ? new Fault("model_bad_answer", `${at} sent a document of more than ${this.#mostBytes} bytes`, {
            member: member.name,
          })
        : connectionFault({ member, at }, error));
    if (
      this.#stopped === undefined &&
      fault.code === "model_unreachable" &&
      !outgoing.headersSent &&
      this.#attempts < 2
    ) {
      this.#whole = undefined;
      this.#wholeBytes = 0;
      this.#mostBytes = ERROR_BYTES;
      setTimeout(() => {
        if (!this.#done) this.#dispatch();
      }, RETRY_AFTER_MS);
      return;
    }
    this.#breakOff(fault);
  }

  #dispatch(): void {
    this.#attempts++;
    this.#controller = undefined;
    const { member, path, headers, body } = this.#exchange;
    try {
      this.#pool.dispatch({ path, method: "POST", headers, body }, new SoundAnswer(this, member));
    } catch (error) {
      this.onResponseError(undefined, error instanceof Error ? error : new Error("failed"));
    }
  }

  /** Gives the call up, wherever it stands. */
  #stop(fault: Fault): void {
    if (this.#done) return;
    this.#stopped = fault;
    this.#controller?.abort(fault);
    // A call that waits for its connection or for its next try has nobody to tell of the end.
    this.#breakOff(fault);
  }

  /** An error, or an answer that is none of these APIs: whole, in the client's dialect. */
  #refused(): void {
    const { member, at, outgoing, noSuchPath, route } = this.#exchange;
    const bytes = Buffer.concat(this.#whole ?? []);
    const status = this.#status;
    if (status === 404 && noSuchPath !== undefined && !isErrorOf(route.api, bytes)) {
      this.#finish({ outcome: "elsewhere" });
      noSuchPath();
      return;
    }
    if (status < 300) {
      this.#breakOff(new Fault("model_bad_answer", `${at} sent what is not of its API`, { member: member.name }));
      return;
    }
    // A key or permission that is missing there is ours to mend, not the client's.
    if (status < 400 || status === 401 || status === 403 || !isErrorOf(route.api, bytes)) {
      this.#breakOff(faultOf({ member, at }, status, bytes, this.#headers["retry-after"]));
      return;
    }
    this.#head(String(bytes.length));
    outgoing.end(bytes);
    const fault = status >= 500 ? new Fault("model_failed", `${at} answered ${status}`) : undefined;
    this.#finish(fault === undefined ? { outcome: "refused" } : { outcome: "failed", fault });
  }

  /** Ends with a fault: as the status while nothing was sent, else as the last event, else by breaking the line. */
  #breakOff(fault: Fault): void {
    if (this.#done) return;
    const { outgoing, dialect, ours } = this.#exchange;
    if (!outgoing.headersSent) sendFault(outgoing, fault, dialect, ours);
    else if (this.#streamed) {
      const document = JSON.stringify(dialect.body(fault));
      outgoing.end(this.#sse ? `\n\ndata: ${document}\n\n` : `\n${document}\n`);
    } else outgoing.destroy();
    const outcome =
      fault.code === "cancelled" ? "cancelled" : fault.code === "deadline_exceeded" ? "timeout" : "failed";
    this.#finish({ outcome, fault });
  }

  #translated({ answer, stream }: Translation, streamed: boolean): void {
    if (!streamed || !stream) {
      this.#whole = [];
      this.#mostBytes = TRANSLATED_BYTES;
      return;
    }
    this.#mostBytes = TRANSLATED_BYTES;
    this.#streamed = true;
    this.#sse = answer.contentType === "text/event-stream";
    this.#documents = new Documents();
    this.#headers = { "content-type": answer.contentType, "cache-control": "no-cache" };
    this.#head(undefined);
    this.#flushAlone();
  }

  #endTranslated({ answer }: Translation): void {
    const { outgoing, member, at, ours } = this.#exchange;
    try {
      if (this.#whole !== undefined) {
        const document = answer.whole(JSON.parse(Buffer.concat(this.#whole).toString("utf8")));
        sendJson(outgoing, 200, document, ours);
      } else {
        const rest = (this.#documents?.end() ?? []).map((document) => answer.piece(document)).join("");
        const end = answer.end();
        if (end === undefined)
          throw new Fault("model_unreachable", `${member.name}: the answer ended before it was done`);
        outgoing.end(rest + end);
      }
      this.#finish({ outcome: "answered" });
    } catch (error) {
      this.#breakOff(
        error instanceof Fault
          ? error
          : new Fault("model_bad_answer", `${at} sent what is not of its API`, { cause: error }),
      );
    }
  }

  #write(controller: Dispatcher.DispatchController, text: () => string): void {
    try {
      const piece = text();
      if (piece !== "" && !this.#exchange.outgoing.write(piece)) controller.pause();
    } catch (error) {
      const fault = toFault(error);
      this.#breakOff(fault);
      controller.abort(fault);
    }
  }

  /** What comes in the same read is written in the same packet; only a head that stands alone is sent by itself. */
  #flushAlone(): void {
    queueMicrotask(() => {
      if (this.#tail.parts === 0 && !this.#done) this.#exchange.outgoing.flushHeaders();
    });
  }

  #head(length: string | undefined): void {
    const { outgoing, ours } = this.#exchange;
    const headers = [...ours];
    for (const name in this.#headers) {
      const value = this.#headers[name];
      if (value === undefined || DROPPED.has(name)) continue;
      headers.push(name, Array.isArray(value) ? value.join(", ") : value);
    }
    if (length !== undefined) headers.push("content-length", length);
    outgoing.writeHead(this.#status, headers);
  }

  #finish(how: Pick<Relayed, "outcome" | "fault">): void {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#timer);
    this.#exchange.ended({ ...how, firstByteMs: this.#firstByteMs, tail: this.#tail, streamed: this.#streamed });
  }
}

const TOO_LONG = new Error("too long");
