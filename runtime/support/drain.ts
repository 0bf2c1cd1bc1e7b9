import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Server as NetServer, type Socket } from "node:net";

/** What a socket is doing. */
interface Use {
  /** Requests that came over it whose answers are not all sent. */
  inFlight: number;
  /** When it was opened or its last answer was sent, `performance.now()`. */
  quietSince: number;
}

/**
 * Longest wait for the next request of an open socket while draining, ms: one that was on its way is still answered. It is less than the second in
 * which the process ends after its last answer.
 */
const QUIET_MS = 500;
/** Longest time to empty the queue of the port before it is closed, ms, where new connections never cease; and a turn of the loop with little work, ms. */
const QUEUE_MS = 200;
const SHORT_TURN_MS = 0.5;
/** How often sockets are looked over while draining, ms. */
const SWEEP_MS = 50;

/**
 * Knows which sockets of a server have a request in flight. Node's own closing of idle connections neither closes those that never sent a request, nor
 * spares those whose answer is written but still on its way to a slow reader.
 */
export class Sockets {
  readonly #server: Server;
  readonly #uses = new Map<Socket, Use>();
  #upgrades = false;
  /** Connections that it has taken. */
  #taken = 0;

  constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket: Socket) => this.#opened(socket));
    server.on("request", (incoming: IncomingMessage, outgoing: ServerResponse) => {
      const use = this.#uses.get(incoming.socket);
      if (use === undefined) return;
      use.inFlight++;
      outgoing.on("close", () => {
        use.inFlight--;
        use.quietSince = performance.now();
      });
    });
  }

  /** Takes no new connection, lets requests in flight end, closes sockets that have none, and cuts what is still open after so many ms. */
  async drain(graceMs: number): Promise<void> {
    await this.#takeQueued(Math.min(graceMs, QUEUE_MS));
    const since = performance.now();
    await new Promise<void>((resolve) => {
      const sweep = setInterval(() => this.#sweep(since), SWEEP_MS);
      const cut = setTimeout(() => this.#server.closeAllConnections(), graceMs);
      // Not the method of http.Server: that one closes at once what it takes for idle.
      NetServer.prototype.close.call(this.#server, () => {
        clearInterval(sweep);
        clearTimeout(cut);
        resolve();
      });
    });
    // Only ends its looking for slow clients; there are none any more.
    this.#server.close(() => {});
  }

  /**
   * Takes the connections that wait in the kernel's queue, as closing the port resets them. Node takes one in each turn of its loop, so the queue is
   * empty after a turn in which none came; a short one, as more may come while the loop is at work. What comes in the microseconds from there to the
   * closing is reset by the kernel; nothing but silence before it, as a cluster gives it, saves that.
   */
  async #takeQueued(mostMs: number): Promise<void> {
    const until = performance.now() + mostMs;
    for (let began = performance.now(); began < until; ) {
      const before = this.#taken;
      await new Promise((resolve) => setImmediate(resolve));
      const now = performance.now();
      if (this.#taken === before && now - began < SHORT_TURN_MS) return;
      began = now;
    }
  }

  #sweep(since: number): void {
    const now = performance.now();
    for (const [socket, use] of this.#uses) {
      if (use.inFlight > 0 || now - Math.max(since, use.quietSince) < QUIET_MS) continue;
      this.#uses.delete(socket);
      socket.destroySoon();
    }
  }

  #opened(socket: Socket): void {
    this.#taken++;
    this.#uses.set(socket, { inFlight: 0, quietSince: performance.now() });
    socket.on("close", () => this.#uses.delete(socket));
    // Only where somebody else takes upgrades: Node answers them like any request where nobody listens for them.
    if (this.#upgrades || this.#server.listenerCount("upgrade") === 0) return;
    this.#upgrades = true;
    this.#server.prependListener("upgrade", ({ socket: taken }: IncomingMessage) => void this.#uses.delete(taken));
  }
}
