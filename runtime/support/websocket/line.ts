import type { Duplex } from "node:stream";
import type { RawData, WebSocket } from "ws";

/** Bytes that may wait in this process for a slow socket. A single frame that is larger goes when next to nothing else waits. */
export const MOST_WAITING_BYTES = 262_144;

/** Time for a client to answer a close frame, ms. */
const GOODBYE_MS = 800;

/** What a socket writes to. */
export type LineStream = Duplex & { bytesWritten?: number };

/** What is told of a line. */
export interface LineEvents {
  message(payload: Buffer, binary: boolean): void;
  /** It has ended, however that was. */
  closed(): void;
  /** What waited has been taken: what `offer` refused may be offered again. */
  drained(): void;
}

/** One WebSocket of a client: writes no more than it takes, listens to no more than it answers, and knows whether anybody is still there. */
export class SocketLine {
  readonly #socket: WebSocket;
  readonly #stream: LineStream;
  readonly #events: LineEvents;
  /** Frames wait for the socket to take some. */
  #full = false;
  /** Nothing is read because nothing of what was said is taken. */
  #deaf = false;
  #corked = false;
  #heard = true;
  /** What the kernel had taken at the last heartbeat, and whether more waited for it. */
  #takenBytes = 0;
  #waited = false;

  constructor(socket: WebSocket, stream: LineStream, events: LineEvents) {
    this.#socket = socket;
    this.#stream = stream;
    this.#events = events;
    socket.on("message", (data, binary) => {
      this.#heard = true;
      if (this.open) events.message(bytesOf(data), binary);
    });
    socket.on("ping", (data) => {
      this.#heard = true;
      if (this.open) socket.pong(data);
      this.#hearLess();
    });
    socket.on("pong", () => {
      this.#heard = true;
    });
    socket.on("error", () => socket.terminate());
    socket.on("close", () => events.closed());
    stream.on("drain", () => this.#drained());
  }

  /** Whether anything can still be said. */
  get open(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  /** Whether a frame that is offered has a chance. */
  get takes(): boolean {
    return this.open && !this.#full;
  }

  /** Bytes that wait in this process for the client to take them. */
  get waitingBytes(): number {
    return this.#stream.writableLength;
  }

  /** Sends a frame unless too much waits already; it then says so and tells `drained` when there is room. */
  offer(frame: Buffer, binary: boolean): boolean {
    if (!this.takes) return false;
    // Only a stream that has said so will tell when it is empty again.
    if (this.#stream.writableNeedDrain && this.#stream.writableLength + frame.length > MOST_WAITING_BYTES) {
      this.#full = true;
      return false;
    }
    this.#write(frame, binary);
    return true;
  }

  /** Sends the answer to a frame of the client. */
  reply(frame: Buffer, binary: boolean): void {
    if (!this.open) return;
    this.#write(frame, binary);
    this.#hearLess();
  }

  /** Says goodbye; who does not answer that is cut. */
  close(code: number, reason: string): void {
    if (!this.open) return;
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
    else if (this.open) this.#socket.ping();
  }

  /** Frames of one turn of the event loop leave in one write. */
  #write(frame: Buffer, binary: boolean): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#stream.uncork();
      });
    }
    this.#socket.send(frame, { binary });
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
    this.#events.drained();
  }
}

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
