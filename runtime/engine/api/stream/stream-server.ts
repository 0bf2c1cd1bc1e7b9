import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import { STREAM_CLOSE, STREAM_PROTOCOL } from "../../../contracts/engine-api.ts";
import { Fault, toFault } from "../../../core/fault.ts";
import { sleep } from "../../../support/clock.ts";
import { checkOrigin, offeredBy, refuseHandshake, targetOf } from "../../../support/websocket/handshake.ts";
import type { Engine } from "../../engine.ts";
import type { ModelChanges } from "../model-changes.ts";
import { MAIN_DIALECT } from "../native.ts";
import { StreamConnection } from "./stream-connection.ts";

/** Path of the WebSocket. */
export const STREAM_PATH = "/stream";

/** Largest frame of a client, bytes; a longer prompt goes by `POST /chat`. */
const MOST_FRAME_BYTES = 4 * 1024 * 1024;
/** How often a stopping server looks whether its answers have ended, ms. */
const SWEEP_MS = 50;

/** Bounds of the sockets. */
export interface StreamLimits {
  /** Pages that may connect, such as `https://console.example`; programs, which name no origin, always may. @default none */
  origins: readonly string[];
  /** Time between two heartbeats of a socket, ms. @default 15000 */
  heartbeatMs: number;
  /** Sockets at the same time. @default 1000 */
  sockets: number;
  /** Generations at the same time on one socket. @default 16 */
  runs: number;
}

const USUAL: StreamLimits = { origins: [], heartbeatMs: 15_000, sockets: 1000, runs: 16 };

/** The WebSocket of the main API: any number of generations at once on one socket, and the models' states as they change. */
export class StreamServer {
  readonly #engine: Engine;
  readonly #changes: ModelChanges;
  readonly #limits: StreamLimits;
  readonly #connections = new Set<StreamConnection>();
  #beats: NodeJS.Timeout | undefined;
  #stopping = false;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    autoPong: false,
    maxPayload: MOST_FRAME_BYTES,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(STREAM_PROTOCOL) ? STREAM_PROTOCOL : false),
  });

  constructor(engine: Engine, changes: ModelChanges, limits: Partial<StreamLimits> = {}) {
    this.#engine = engine;
    this.#changes = changes;
    this.#limits = { ...USUAL, ...limits };
  }

  /** Sockets now. */
  get size(): number {
    return this.#connections.size;
  }

  /** Whether it takes nothing more to write; what is being written is written to its end. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /** Takes the upgrades of a server; those of other paths are refused. */
  attach(server: Server): void {
    server.on("upgrade", (request: IncomingMessage, stream: Duplex, head: Buffer) => {
      // The server has let go of this stream: nobody else hears that it broke.
      stream.on("error", () => stream.destroy());
      try {
        this.#admit(request, stream, head);
      } catch (error) {
        refuseHandshake(stream, toFault(error), MAIN_DIALECT);
      }
    });
    this.#beats = setInterval(() => {
      for (const connection of this.#connections) connection.beat();
    }, this.#limits.heartbeatMs);
    this.#beats.unref();
  }

  /** Takes no more sockets, closes those that write nothing, lets the others end for so long, and closes them. */
  async drain(graceMs: number): Promise<void> {
    this.#stopping = true;
    for (let waited = 0; ; waited += SWEEP_MS) {
      for (const connection of this.#connections)
        if (connection.settled || waited >= graceMs) connection.close(STREAM_CLOSE.stopping, "the engine is stopping");
      if (waited >= graceMs || [...this.#connections].every(({ settled }) => settled)) break;
      await sleep(SWEEP_MS);
    }
    clearInterval(this.#beats);
    this.#sockets.close();
  }

  /** @throws Fault that says why a handshake is refused */
  #admit(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    const [path] = targetOf(request);
    if (path !== STREAM_PATH) throw new Fault("not_found", `no WebSocket here; it is ${STREAM_PATH}`);
    if (this.#stopping) throw new Fault("draining", "the engine is stopping", { retryAfterSeconds: 1 });
    checkOrigin(request, this.#limits.origins, "the engine's origins");
    const offered = offeredBy(request);
    if (offered.length > 0 && !offered.includes(STREAM_PROTOCOL))
      throw new Fault("invalid_request", `sec-websocket-protocol: want ${STREAM_PROTOCOL}, or none`);
    if (this.#connections.size >= this.#limits.sockets)
      throw new Fault("overloaded", `there are ${this.#limits.sockets} sockets, which is the limit`, {
        retryAfterSeconds: 5,
      });
    this.#sockets.handleUpgrade(request, stream, head, (socket) => {
      const connection = new StreamConnection(
        { engine: this.#engine, changes: this.#changes, hall: this, mostRuns: this.#limits.runs },
        socket,
        stream,
        () => this.#connections.delete(connection),
      );
      this.#connections.add(connection);
    });
  }
}
