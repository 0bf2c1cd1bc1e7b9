import type { Socket } from "node:net";
import type { CallFault } from "./matrix.ts";

/** What a toxic does to the bytes that go to the caller once it is active. */
export interface Toxic {
  /** It has become active. */
  strike?(): void;
  data(bytes: Buffer): void;
  /** The server behind has closed. */
  end(): void;
  /** The caller's connection is gone. */
  close?(): void;
}

/** The faults that leave the answer alone and spoil its way. */
export type ToxicName = Extract<
  CallFault,
  "latency" | "bandwidth" | "slow_close" | "timeout" | "reset_peer" | "slicer" | "limit_data"
>;

/** Delay of every packet, ms. */
const LATENCY_MS = 80;
/** Bytes that get through each time, and how often, ms: 320 bytes a second, far too few for an answer. */
const BANDWIDTH_BYTES = 16;
const BANDWIDTH_MS = 50;
/** How much later a connection is closed than it should be, ms. */
const SLOW_CLOSE_MS = 700;
/** Largest slice, bytes: characters of more than one byte are cut. */
const SLICE_BYTES = 5;
/** Bytes that get through before the connection is closed: the middle of a piece. */
const LIMIT_BYTES = 25;

/** Toxiproxy's toxics for the way back of one call. Source: Shopify/toxiproxy 2.12, README, "Toxics". */
export const TOXICS: Readonly<Record<ToxicName, (socket: Socket) => Toxic>> = {
  latency: (socket) => ({
    // Equal delays keep their order.
    data: (bytes) => void setTimeout(() => socket.write(bytes), LATENCY_MS),
    end: () => void setTimeout(() => socket.end(), LATENCY_MS),
  }),
  bandwidth: (socket) => trickle(socket, BANDWIDTH_BYTES, BANDWIDTH_MS),
  slow_close: (socket) => ({
    data: (bytes) => void socket.write(bytes),
    end: () => void setTimeout(() => socket.end(), SLOW_CLOSE_MS),
  }),
  timeout: () => ({ data: () => undefined, end: () => undefined }),
  reset_peer: (socket) => ({
    // Written bytes must be on their way before the line goes down.
    strike: () => void setTimeout(() => socket.resetAndDestroy(), 2),
    data: () => undefined,
    end: () => undefined,
  }),
  slicer: (socket) => trickle(socket, SLICE_BYTES, 0),
  limit_data: (socket) => {
    let left = LIMIT_BYTES;
    return {
      data: (bytes) => {
        if (left <= 0) return;
        socket.write(bytes.subarray(0, left));
        left -= bytes.length;
        if (left <= 0) socket.end();
      },
      end: () => socket.end(),
    };
  },
};

/** Lets so many bytes through at a time. */
function trickle(socket: Socket, most: number, everyMs: number): Toxic {
  let waiting = Buffer.alloc(0);
  let ended = false;
  let next: NodeJS.Timeout | NodeJS.Immediate | undefined;
  const pour = (): void => {
    next = undefined;
    if (waiting.length > 0) socket.write(waiting.subarray(0, most));
    waiting = waiting.subarray(most);
    if (waiting.length > 0) wait();
    else if (ended) socket.end();
  };
  const wait = (): void => {
    next ??= everyMs === 0 ? setImmediate(pour) : setTimeout(pour, everyMs);
  };
  return {
    data: (bytes) => {
      waiting = Buffer.concat([waiting, bytes]);
      wait();
    },
    end: () => {
      ended = true;
      if (waiting.length === 0) socket.end();
    },
    close: () => {
      waiting = Buffer.alloc(0);
      if (everyMs === 0) clearImmediate(next as NodeJS.Immediate);
      else clearTimeout(next as NodeJS.Timeout);
    },
  };
}
