import type { IncomingHttpHeaders } from "node:http";
import type { WebSocket } from "ws";
import { HORN_CLOSE, type HornReply, type HornRequest } from "../../contracts/horn.ts";
import type { AskEvent } from "../../contracts/native.ts";
import { Fault, toFault } from "../../core/fault.ts";
import { timer } from "../../support/clock.ts";
import { type LineStream, SocketLine } from "../../support/websocket/line.ts";
import { errorOf } from "../api/native-error.ts";
import { type Codec, readFrame } from "./codec.ts";
import type { Guard, Pass } from "./guard.ts";
import type { Outlet, Session } from "./session.ts";

/** What a connection needs of the horn that it belongs to. */
export interface Hall {
  guard: Guard;
  /** Whether it takes no more questions. */
  readonly stopping: boolean;
  helloMs: number;
  /** Gives the session to a connection that may have it. @throws Fault overloaded */
  join(connection: Connection, session: string | undefined, pass: Pass): void;
  /** The connection has ended. */
  left(connection: Connection): void;
}

/** A socket of one client, from its handshake on. */
export interface Opened {
  socket: WebSocket;
  /** What the socket writes to. */
  stream: LineStream;
  codec: Codec;
  /** Canonical address of the client. */
  address: string;
  /** Headers of the handshake. */
  headers: IncomingHttpHeaders;
  /** Token of the handshake's header. Absent: the first frame has it, or there is none. */
  token?: string;
  /** What that token lets it do. */
  pass?: Pass;
}

/** One socket of the horn: reads frames and has them served. */
export class Connection implements Outlet {
  readonly address: string;
  readonly #hall: Hall;
  readonly #line: SocketLine;
  readonly #codec: Codec;
  readonly #headers: IncomingHttpHeaders;
  readonly #noHello: () => void;
  #token: string | undefined;
  #pass: Pass | undefined;
  #session: Session | undefined;
  /** Frames that came while the first one's token is looked at; undefined when none is. */
  #early: HornRequest[] | undefined;

  constructor(hall: Hall, { socket, stream, codec, address, headers, token, pass }: Opened) {
    this.#hall = hall;
    this.#codec = codec;
    this.address = address;
    this.#headers = headers;
    this.#token = token;
    this.#pass = pass;
    this.#noHello = timer(hall.helloMs, () => this.close(HORN_CLOSE.helloTimeout, "want hello as the first frame"));
    this.#line = new SocketLine(socket, stream, {
      message: (payload, binary) => this.#message(payload, binary),
      closed: () => {
        this.#noHello();
        hall.left(this);
      },
      drained: () => this.#session?.pump(),
    });
  }

  /** The session that it speaks for, once it has one. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** Bytes that wait in this process for the client to take them. */
  get waitingBytes(): number {
    return this.#line.waitingBytes;
  }

  /** Says welcome for a session that is now its own. */
  welcome(session: Session, reply: Omit<Extract<HornReply, { type: "welcome" }>, "type" | "session">): void {
    this.#noHello();
    this.#session = session;
    this.reply({ type: "welcome", session: session.id, ...reply });
  }

  /** Sends a frame that is no event. */
  reply(reply: HornReply): void {
    if (this.#line.open) this.#line.reply(this.#codec.encode(reply), this.#codec.binary);
  }

  event(id: string, seq: number, event: AskEvent): number {
    if (!this.#line.takes) return 0;
    const frame = this.#codec.encodeEvent(id, seq, event);
    return this.#line.offer(frame, this.#codec.binary) ? frame.length : 0;
  }

  replaced(): void {
    this.#session = undefined;
    this.close(HORN_CLOSE.replaced, "another socket has taken the session over");
  }

  /** Says goodbye; who does not answer that is cut. */
  close(code: number, reason: string): void {
    this.#noHello();
    this.#line.close(code, reason);
  }

  /** Once a heartbeat: a socket of which nothing was heard since the last one is asked, and at the next one cut. */
  beat(): void {
    this.#line.beat();
  }

  /** Asks again whether its client may be here. */
  async recheck(): Promise<void> {
    if (this.#session === undefined) return;
    let pass: Pass | undefined;
    try {
      pass = await this.#hall.guard.check(this.#token, this.address, this.#headers);
    } catch {
      // A guard that refuses with a reason refuses.
    }
    if (pass?.owner !== this.#pass?.owner) this.close(HORN_CLOSE.unauthorized, "the token is no longer valid");
  }

  #message(payload: Buffer, binary: boolean): void {
    try {
      const frame = readFrame(this.#codec, payload, binary);
      if (this.#early !== undefined) this.#early.push(frame);
      else if (this.#session === undefined) this.#hello(frame);
      else this.#serve(this.#session, frame);
    } catch (error) {
      this.#refuse(error);
      if (this.#session === undefined) this.close(HORN_CLOSE.badHello, "want hello as the first frame");
    }
  }

  #hello(frame: HornRequest): void {
    if (frame.type !== "hello") throw new Fault("invalid_request", "type: want hello as the first frame");
    const early: HornRequest[] = [];
    const enter = (pass: Pass | undefined): void => {
      this.#early = undefined;
      if (!this.#line.open) return;
      if (pass === undefined) {
        this.close(HORN_CLOSE.unauthorized, "the token is missing or wrong");
        return;
      }
      this.#pass = pass;
      try {
        this.#hall.join(this, frame.session, pass);
      } catch (error) {
        this.#refuse(error);
        this.close(HORN_CLOSE.overloaded, "the service is at its limit; come again later");
        return;
      }
      for (const one of early) if (this.#session !== undefined) this.#serve(this.#session, one);
    };
    if (this.#pass !== undefined) {
      enter(this.#pass);
      return;
    }
    this.#token = frame.token;
    let pass: ReturnType<Guard["check"]>;
    try {
      pass = this.#hall.guard.check(frame.token, this.address, this.#headers);
    } catch (error) {
      this.#refuse(error);
      this.close(HORN_CLOSE.unauthorized, "the token is missing or wrong");
      return;
    }
    if (!(pass instanceof Promise)) {
      enter(pass);
      return;
    }
    this.#early = early;
    pass.then(enter, (error: unknown) => {
      this.#refuse(error);
      this.close(HORN_CLOSE.overloaded, "the token could not be looked up; come again later");
    });
  }

  #serve(session: Session, frame: HornRequest): void {
    try {
      switch (frame.type) {
        case "hello":
          throw new Fault("invalid_request", "type: hello was said already");
        case "ask": {
          // A client that asks again at each answer would hold the service for ever.
          if (this.#hall.stopping)
            throw new Fault("draining", "the service is stopping; ask again elsewhere", { retryAfterSeconds: 1 });
          const { id, question, user, conversation, idempotencyKey, bothOrders, mode, draft } = frame;
          const pass = this.#pass;
          const grant = pass?.ask?.bind(pass, user);
          session.ask(id, { question, user, conversation, idempotencyKey, bothOrders, mode, draft }, grant);
          return;
        }
        case "cancel":
          session.cancel(frame.id);
          return;
        case "resume":
          session.resume(frame.id, frame.after);
          return;
        case "ack":
          session.acknowledge(frame.id, frame.upTo);
          return;
        case "ping":
          this.reply({ type: "pong", nonce: frame.nonce });
      }
    } catch (error) {
      this.#refuse(error, "id" in frame ? frame.id : undefined);
    }
  }

  #refuse(error: unknown, id?: string): void {
    this.reply({ type: "refused", ...(id === undefined ? {} : { id }), error: errorOf(toFault(error)) });
  }
}
