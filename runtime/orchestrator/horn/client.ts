import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { WebSocket } from "ws";
import { HORN_CLOSE, HORN_JSON, HornReply } from "../../contracts/horn.ts";
import type { AskEvent, AskRequestInput } from "../../contracts/native.ts";
import { monotonicMs, sleep } from "../../support/clock.ts";
import { jsonOf } from "../../support/json.ts";
import { Pipe } from "../../support/pipe.ts";
import { AskError, refusalOf } from "../chat.ts";

/** First wait before a broken connection is made anew, and the longest one, ms. */
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 2_000;
/** Longest error document that is read, characters. */
const ERROR_CHARS = 10_000;

/** Where a horn is. */
export interface HornReach {
  /** Base address of the service, `http://…`. */
  url: string;
  /** Key of this client. */
  key?: string;
  /** Unix socket to go through; the address then only names the service. */
  socketPath?: string;
  /** Told when the connection is lost, and when it is back. */
  connection?: (state: "lost" | "back") => void;
}

/** What a client is told beside the service's own events: the service no longer knew of the question, and it was asked again from the start. */
export type HornEvent = AskEvent | { event: "again" };

/** A question on its way. */
interface Pending {
  frame: object;
  id: string;
  /** Number of the last event that was handed on. */
  seq: number;
  events: Pipe<HornEvent>;
  over: boolean;
}

/** A client of the horn that makes its connection anew when it breaks and goes on where it was. */
export class HornClient {
  readonly #reach: HornReach;
  readonly #pending = new Map<string, Pending>();
  #socket: WebSocket | undefined;
  #session: string | undefined;
  #resumeMs = 60_000;
  #closed = false;

  constructor(reach: HornReach) {
    this.#reach = reach;
  }

  /** Asks. The last event is `answer` or `error`; aborting cancels the question in the service. @throws AskError when it cannot be asked */
  async *ask(request: Omit<AskRequestInput, "stream">, signal: AbortSignal): AsyncIterable<HornEvent> {
    const id = randomUUID();
    const frame = { type: "ask", id, ...request, idempotencyKey: request.idempotencyKey ?? randomUUID() };
    const one: Pending = { id, frame, seq: 0, events: new Pipe(), over: false };
    if (this.#socket === undefined) await this.#connect(signal);
    this.#pending.set(id, one);
    this.#say(frame);
    const cancel = (): void => {
      if (this.#socket === undefined) stop(one);
      else this.#say({ type: "cancel", id });
    };
    signal.addEventListener("abort", cancel, { once: true });
    if (signal.aborted) cancel();
    try {
      for await (const event of one.events) {
        yield event;
        if (one.over && (event.event === "answer" || event.event === "error")) return;
      }
    } finally {
      signal.removeEventListener("abort", cancel);
      this.#pending.delete(id);
      if (!one.over) cancel();
    }
  }

  /** Leaves; what is in work goes on for a while in the service, and is then cancelled. */
  close(): void {
    this.#closed = true;
    this.#socket?.close();
    for (const one of this.#pending.values()) stop(one);
  }

  #say(frame: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  /** Makes a connection. @throws AskError that says what to do */
  async #connect(signal?: AbortSignal): Promise<void> {
    const { url, key, socketPath } = this.#reach;
    const base = new URL(url);
    const target =
      socketPath === undefined
        ? `${url.replace(/^http/, "ws").replace(/\/+$/, "")}/horn`
        : `ws+unix:${socketPath}:/horn`;
    const headers = { host: base.host, ...(key === undefined ? {} : { authorization: `Bearer ${key}` }) };
    const socket = new WebSocket(target, HORN_JSON, { headers, perMessageDeflate: false });
    const abort = (): void => socket.terminate();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.on("unexpected-response", (_, response) => {
          this.#refused(response).then(reject, reject);
        });
        socket.on("error", (cause) => reject(unreachable(url, cause)));
        socket.on("close", (code, reason) =>
          reject(new AskError(`${url}: ${reason.toString() || `closed (${code})`}`, codeOf(code))),
        );
        socket.on("open", () =>
          socket.send(JSON.stringify({ type: "hello", ...(this.#session ? { session: this.#session } : {}) })),
        );
        socket.on("message", (data: Buffer) => {
          const reply = HornReply.safeParse(JSON.parse(data.toString("utf8")));
          if (!reply.success) return;
          if (reply.data.type === "welcome") {
            this.#socket = socket;
            this.#welcome(reply.data);
            resolve();
          } else this.#take(reply.data);
        });
      });
    } catch (error) {
      socket.terminate();
      if (signal?.aborted === true) throw new AskError("stopped", "cancelled", [], error);
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
    socket.on("close", (code) => {
      if (this.#socket === socket) this.#socket = undefined;
      if (!this.#closed && this.#pending.size > 0) void this.#again(code);
    });
  }

  /** Goes on with every question where it was. */
  #welcome({ session, resumeMs, questions }: Extract<HornReply, { type: "welcome" }>): void {
    this.#session = session;
    this.#resumeMs = resumeMs;
    for (const one of this.#pending.values()) {
      if (one.over) continue;
      if (questions.includes(one.id)) this.#say({ type: "resume", id: one.id, after: one.seq });
      else {
        // It never arrived, or the service has forgotten it; its key has it answered no more than once.
        if (one.seq > 0) one.events.push({ event: "again" });
        one.seq = 0;
        this.#say(one.frame);
      }
    }
  }

  #take(reply: Exclude<HornReply, { type: "welcome" }>): void {
    const one = "id" in reply && reply.id !== undefined ? this.#pending.get(reply.id) : undefined;
    if (one === undefined || one.over) return;
    if (reply.type === "refused") {
      one.over = true;
      one.events.push({ event: "error", error: reply.error });
    }
    if (reply.type !== "event" || reply.seq !== one.seq + 1) return;
    one.seq = reply.seq;
    one.over = reply.event.event === "answer" || reply.event.event === "error";
    one.events.push(reply.event);
    this.#say({ type: "ack", id: one.id, upTo: reply.seq });
  }

  /** Makes a broken connection anew, for as long as the service keeps the questions. */
  async #again(code: number): Promise<void> {
    this.#reach.connection?.("lost");
    const deadline = monotonicMs() + this.#resumeMs;
    let failure: unknown = new AskError(`${this.#reach.url}: the connection was closed (${code})`, codeOf(code));
    let refused = codeOf(code) !== undefined;
    for (
      let waitMs = FIRST_WAIT_MS;
      !refused && monotonicMs() < deadline;
      waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)
    ) {
      await sleep(waitMs);
      if (this.#closed || this.#pending.size === 0) return;
      try {
        await this.#connect();
        this.#reach.connection?.("back");
        return;
      } catch (error) {
        failure = error;
        refused = error instanceof AskError && error.code === "unauthorized";
      }
    }
    const message = failure instanceof Error ? failure.message : "the connection is lost";
    for (const one of this.#pending.values()) {
      one.over = true;
      const fault = failure instanceof AskError && failure.code !== undefined ? failure.code : "model_unreachable";
      one.events.push({ event: "error", error: { code: fault, message, retryable: true } });
    }
  }

  /** A refused handshake in words. */
  async #refused(response: IncomingMessage): Promise<AskError> {
    let text = "";
    for await (const part of response) if (text.length < ERROR_CHARS) text += String(part);
    const otherwise = `${this.#reach.url} answered ${response.statusCode}; is it an orchestrator with a horn?`;
    return refusalOf(jsonOf(text), otherwise);
  }
}

/** Ends a question that the service can no longer be told of. */
function stop(one: Pending): void {
  if (one.over) return;
  one.over = true;
  one.events.push({ event: "error", error: { code: "cancelled", message: "stopped", retryable: false } });
}

function codeOf(close: number): "unauthorized" | undefined {
  return close === HORN_CLOSE.unauthorized ? "unauthorized" : undefined;
}

/** Nobody there: what to start. */
function unreachable(url: string, cause: Error): AskError {
  const code = "code" in cause ? ` (${String(cause.code)})` : "";
  return new AskError(
    `no orchestrator answers at ${url}${code}; start one with \`gorkheavy serve --config ensemble.yaml\`, or give another --url`,
    undefined,
    [],
    cause,
  );
}
