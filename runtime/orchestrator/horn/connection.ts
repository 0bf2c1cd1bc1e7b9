import type { IncomingHttpHeaders } from "node:http";
import type { Duplex } from "node:stream";
import type { RawData, WebSocket } from "ws";
import { HORN_CLOSE, type HornReply, type HornRequest } from "../../contracts/horn.ts";
import type { AskEvent } from "../../contracts/native.ts";
import { Fault, toFault } from "../../core/fault.ts";
import { timer } from "../../support/clock.ts";
import { errorOf } from "../api/native-error.ts";
import { type Codec, readFrame } from "./codec.ts";
import type { Guard, Pass } from "./guard.ts";
import type { Outlet, Session } from "./session.ts";

/** Bytes that may wait in this process for a slow socket. A single event that is larger goes when next to nothing else waits. */
export const MOST_WAITING_BYTES = 262_144;

/** Time for a client to answer a close frame, ms. */
const GOODBYE_MS = 800;

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
  stream: Duplex & { bytesWritten?: number };
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

/** One socket: reads frames and has them served, writes no more than it can hold, and knows whether anybody is still there. */
export class Connection implements Outlet {
  readonly address: string;
  readonly #hall: Hall;
  readonly #socket: WebSocket;
  readonly #stream: Opened["stream"];
  readonly #codec: Codec;
  readonly #headers: IncomingHttpHeaders;
  readonly #noHello: () => void;
  #token: string | undefined;
  #pass: Pass | undefined;
  #session: Session | undefined;
  /** Frames that came while the first one's token is looked at; undefined when none is. */
  #early: HornRequest[] | undefined;
  /** Frames wait for the socket to take some. */
  #full = false;
  /** Nothing is read because nothing of what was said is taken. */
  #deaf = false;
  #corked = false;
  #heard = true;
  /** What the kernel had taken at the last heartbeat, and whether more waited for it. */
  #takenBytes = 0;
  #waited = false;

  constructor(hall: Hall, { socket, stream, codec, address, headers, token, pass }: Opened) {
    this.#hall = hall;
    this.#socket = socket;
    this.#stream = stream;
    this.#codec = codec;
    this.address = address;
    this.#headers = headers;
    this.#token = token;
    this.#pass = pass;
    this.#noHello = timer(hall.helloMs, () => this.close(HORN_CLOSE.helloTimeout, "want hello as the first frame"));
    socket.on("message", (data, binary) => this.#message(data, binary));
    socket.on("ping", (data) => {
      this.#heard = true;
      if (this.#open()) socket.pong(data);
      this.#hearLess();
    });
    socket.on("pong", () => {
      this.#heard = true;
    });
    socket.on("error", () => socket.terminate());
    socket.on("close", () => {
      this.#noHello();
      hall.left(this);
    });
    stream.on("drain", () => this.#drained());
  }

  /** The session that it speaks for, once it has one. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** Bytes that wait in this process for the client to take them. */
  get waitingBytes(): number {
    return this.#stream.writableLength;
  }

  /** Says welcome for a session that is now its own. */
  welcome(session: Session, reply: Omit<Extract<HornReply, { type: "welcome" }>, "type" | "session">): void {
    this.#noHello();
    this.#session = session;
    this.reply({ type: "welcome", session: session.id, ...reply });
  }

  /** Sends a frame that is no event. */
  reply(reply: HornReply): void {
    if (!this.#open()) return;
    this.#write(this.#codec.encode(reply));
    this.#hearLess();
  }

  event(id: string, seq: number, event: AskEvent): number {
    if (this.#full || !this.#open()) return 0;
    const frame = this.#codec.encodeEvent(id, seq, event);
    // Only a stream that has said so will tell when it is empty again.
    if (this.#stream.writableNeedDrain && this.#stream.writableLength + frame.length > MOST_WAITING_BYTES) {
      this.#full = true;
      return 0;
    }
    this.#write(frame);
    return frame.length;
  }

  replaced(): void {
    this.#session = undefined;
    this.close(HORN_CLOSE.replaced, "another socket has taken the session over");
  }

  /** Says goodbye; who does not answer that is cut. */
  close(code: number, reason: string): void {
    this.#noHello();
    if (!this.#open()) return;
    this.#socket.close(code, reason);
    setTimeout(() => this.#socket.terminate(), GOODBYE_MS).unref();
  }

  /**
   * Once a heartbeat: a socket of which nothing was heard is asked, and is cut when it then neither said nor took anything by the next time.
   * A slow reader takes something of what waits here; a ping that goes straight into the kernel says nothing of that.
   */
  beat(): void {
    const waiting = this.#stream.writableLength;
    const taken = (this.#stream.bytesWritten ?? 0) - waiting;
    const alive = this.#heard || (this.#waited && taken > this.#takenBytes);
    this.#takenBytes = taken;
    this.#waited = waiting > 0;
    this.#heard = false;
    if (!alive) this.#socket.terminate();
    else if (this.#open()) this.#socket.ping();
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

  #message(data: RawData, binary: boolean): void {
    this.#heard = true;
    if (!this.#open()) return;
    try {
      const frame = readFrame(this.#codec, bytesOf(data), binary);
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
      if (!this.#open()) return;
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

  /** Whether anything can still be said. */
  #open(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  /** Frames of one turn of the event loop leave in one write. */
  #write(frame: Buffer): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#stream.uncork();
      });
    }
    this.#socket.send(frame, { binary: this.#codec.binary });
  }

  /** A client that asks and asks and takes no reply is not listened to until it does: its replies would pile up here. */
  #hearLess(): void {
    const waiting = this.#stream.writableLength;
    // What was read before is still served; many short frames may ask for long replies.
    if (waiting > 2 * MOST_WAITING_BYTES) this.#socket.terminate();
    if (this.#deaf || waiting <= MOST_WAITING_BYTES) return;
    this.#deaf = true;
    this.#socket.pause();
  }

  #drained(): void {
    if (this.#deaf) {
      this.#deaf = false;
      this.#socket.resume();
    }
    this.#full = false;
    this.#session?.pump();
  }
}

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
