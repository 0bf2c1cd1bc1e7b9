import type { WebSocket } from "ws";
import { STREAM_CLOSE, type StreamReply, StreamRequest } from "../../../contracts/engine-api.ts";
import { Fault, toFault } from "../../../core/fault.ts";
import { parseJson } from "../../../support/http.ts";
import { type LineStream, SocketLine } from "../../../support/websocket/line.ts";
import type { Engine } from "../../engine.ts";
import type { Asked } from "../inference.ts";
import type { ModelChanges } from "../model-changes.ts";
import { askedOfChat, askedOfGenerate, errorOf, eventsOrError } from "../native.ts";

/** What a connection needs of the server that it belongs to. */
export interface StreamSetting {
  engine: Engine;
  changes: ModelChanges;
  /** Says whether nothing more is taken. */
  hall: { readonly stopping: boolean };
  /** Generations at the same time. */
  mostRuns: number;
}

/** One socket: its generations run beside each other, and each waits while the client does not take what it wrote. */
export class StreamConnection {
  readonly #setting: StreamSetting;
  readonly #line: SocketLine;
  readonly #runs = new Map<string, AbortController>();
  readonly #over = new AbortController();
  #watch: AbortController | undefined;
  #drained = Promise.withResolvers<void>();

  /** @param left told when the socket has ended */
  constructor(setting: StreamSetting, socket: WebSocket, stream: LineStream, left: () => void) {
    this.#setting = setting;
    this.#line = new SocketLine(socket, stream, {
      message: (payload, binary) => this.#message(payload, binary),
      closed: () => {
        this.#over.abort(new Fault("cancelled", "the client went away"));
        this.#wake();
        left();
      },
      drained: () => this.#wake(),
    });
  }

  /** Whether nothing is being written for it. */
  get settled(): boolean {
    return this.#runs.size === 0;
  }

  /** Once a heartbeat: who was not heard since the last one is asked, and at the next one cut. */
  beat(): void {
    this.#line.beat();
  }

  /** Says goodbye; who does not answer that is cut. */
  close(code: number, reason: string): void {
    this.#line.close(code, reason);
  }

  #message(payload: Buffer, binary: boolean): void {
    if (binary) {
      this.close(STREAM_CLOSE.unsupported, "want text frames");
      return;
    }
    let id: string | undefined;
    try {
      // The WebSocket layer has checked a text frame's UTF-8.
      const json = parseJson(payload.toString("utf8"));
      id = idOf(json);
      const parsed = StreamRequest.safeParse(json);
      if (!parsed.success) {
        const issue = parsed.error.issues[0];
        const where = issue === undefined || issue.path.length === 0 ? "frame" : issue.path.map(String).join(".");
        throw new Fault("invalid_request", `${where}: ${issue?.message ?? "not of this protocol"}`, { param: where });
      }
      this.#serve(parsed.data);
    } catch (error) {
      this.#reply({ type: "refused", ...(id === undefined ? {} : { id }), error: errorOf(toFault(error)) });
    }
  }

  #serve(request: StreamRequest): void {
    switch (request.type) {
      case "chat":
        this.#begin(request.id, askedOfChat(request));
        return;
      case "generate":
        this.#begin(request.id, askedOfGenerate(request));
        return;
      case "cancel":
        // One that has just ended is none any more: the two frames met on their way.
        this.#runs.get(request.id)?.abort(new Fault("cancelled", "the client cancelled it"));
        return;
      case "watch":
        if (this.#watch === undefined) void this.#tell((this.#watch = new AbortController()));
        return;
      case "unwatch":
        this.#watch?.abort();
        this.#watch = undefined;
        return;
      case "ping":
        this.#reply({ type: "pong", nonce: request.nonce });
    }
  }

  /** @throws Fault invalid_request for a name that is taken, rate_limited, draining */
  #begin(id: string, asked: Asked): void {
    const { hall, mostRuns } = this.#setting;
    if (hall.stopping) throw new Fault("draining", "the engine is stopping; ask elsewhere", { retryAfterSeconds: 1 });
    if (this.#runs.has(id)) throw new Fault("invalid_request", `id: ${id} is being written already`, { param: "id" });
    if (this.#runs.size >= mostRuns)
      throw new Fault("rate_limited", `this socket has ${mostRuns} answers in work, which is the limit`);
    const stop = new AbortController();
    this.#runs.set(id, stop);
    void this.#run(id, asked, stop);
  }

  async #run(id: string, asked: Asked, stop: AbortController): Promise<void> {
    const signal = AbortSignal.any([stop.signal, this.#over.signal]);
    for await (const event of eventsOrError(this.#setting.engine, asked, signal)) {
      const last = event.event === "done" || event.event === "error";
      // The name is free as soon as the client can know that it is over.
      if (last) this.#runs.delete(id);
      if (!(await this.#send({ type: "event", id, event }))) break;
    }
    if (this.#runs.get(id) === stop) this.#runs.delete(id);
  }

  /** Tells the models' states until it is no longer wanted. */
  async #tell(stop: AbortController): Promise<void> {
    const signal = AbortSignal.any([stop.signal, this.#over.signal]);
    for await (const event of this.#setting.changes.stream(signal))
      if (!(await this.#send({ type: "model", event }))) return;
  }

  /** Sends as soon as the socket takes it. @returns false when it has ended */
  async #send(reply: StreamReply): Promise<boolean> {
    const frame = Buffer.from(JSON.stringify(reply));
    while (!this.#line.offer(frame, false)) {
      if (!this.#line.open) return false;
      await this.#drained.promise;
    }
    return true;
  }

  #reply(reply: StreamReply): void {
    this.#line.reply(Buffer.from(JSON.stringify(reply)), false);
  }

  #wake(): void {
    this.#drained.resolve();
    this.#drained = Promise.withResolvers<void>();
  }
}

/** The name in a frame that may be malformed elsewhere, so that its refusal says what it is about. */
function idOf(json: unknown): string | undefined {
  const id = typeof json === "object" && json !== null && "id" in json ? json.id : undefined;
  return typeof id === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(id) ? id : undefined;
}
