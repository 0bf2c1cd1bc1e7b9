import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { HornConfig } from "../../contracts/horn-config.ts";
import { HORN_CLOSE } from "../../contracts/horn.ts";
import { Fault, toFault } from "../../core/fault.ts";
import { sleep } from "../../support/clock.ts";
import { digestOfSecret } from "../../support/secret.ts";
import { canonicalAddress } from "../access/address.ts";
import { NATIVE_DIALECT } from "../api/native-error.ts";
import type { Ensemble } from "../ensemble.ts";
import { refuseHandshake } from "../../support/websocket/handshake.ts";
import { CODECS } from "./codec.ts";
import { Connection } from "./connection.ts";
import { bearerOf, type Guard, type Pass } from "./guard.ts";
import { checkHandshake, protocolOf } from "./handshake.ts";
import { Session, WINDOW_BYTES } from "./session.ts";

/** Largest frame of a client, bytes. */
const MOST_FRAME_BYTES = 1_048_576;
/** Parts that a heartbeat is done in: all sockets at once would hold up what is streaming. */
const BEATS = 16;
/** How often a stopping horn looks whether its questions have ended, ms. */
const SWEEP_MS = 50;

/** The WebSocket `/horn` of an ensemble. */
export class Horn {
  readonly guard: Guard;
  readonly helloMs: number;
  readonly #ensemble: Ensemble;
  readonly #config: HornConfig;
  /** By digest of their ids: how long a look-up takes says nothing about an id. */
  readonly #sessions = new Map<string, Session>();
  /** Each with the part of the heartbeat that it belongs to. */
  readonly #connections = new Map<Connection, number>();
  readonly #perAddress = new Map<string, number>();
  #beats: NodeJS.Timeout | undefined;
  #stopping = false;
  /** Connections so far. */
  #opened = 0;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    autoPong: false,
    maxPayload: MOST_FRAME_BYTES,
    perMessageDeflate: false,
    handleProtocols: (offered) => protocolOf(offered) ?? false,
  });

  constructor(ensemble: Ensemble, config: HornConfig, guard: Guard) {
    this.guard = guard;
    this.helloMs = config.helloMs;
    this.#ensemble = ensemble;
    this.#config = config;
  }

  /** Whether it takes no more questions; those in work are answered. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /** Sessions and sockets now. */
  get size(): { sessions: number; sockets: number } {
    return { sessions: this.#sessions.size, sockets: this.#connections.size };
  }

  /** Most bytes that wait for any one client in this process. */
  get mostWaitingBytes(): number {
    return Math.max(0, ...[...this.#connections.keys()].map(({ waitingBytes }) => waitingBytes));
  }

  /** Takes the upgrades of a server; those of other paths are refused. */
  attach(server: Server): void {
    server.on("upgrade", (request: IncomingMessage, stream: Duplex, head: Buffer) => {
      // The server has let go of this stream: nobody else hears that it broke.
      stream.on("error", () => stream.destroy());
      this.#admit(request, stream, head).catch((error: unknown) =>
        refuseHandshake(stream, toFault(error), NATIVE_DIALECT),
      );
    });
    let turn = 0;
    this.#beats = setInterval(() => this.#beat(turn++ % BEATS), this.#config.heartbeatMs / BEATS);
    this.#beats.unref();
  }

  /**
   * Takes no more sockets, closes those that wait for nothing, lets questions in work end for so long, and closes the rest.
   * A client then goes on elsewhere with new questions.
   */
  async drain(graceMs: number): Promise<void> {
    this.#stopping = true;
    for (let waited = 0; ; waited += SWEEP_MS) {
      for (const connection of this.#connections.keys()) {
        const settled = connection.session?.settled !== false && connection.waitingBytes === 0;
        if (settled || waited >= graceMs) connection.close(HORN_CLOSE.stopping, "the service is stopping");
      }
      const left = [...this.#sessions.values()].some(({ settled }) => !settled);
      if (!left || waited >= graceMs) break;
      await sleep(SWEEP_MS);
    }
    this.close();
  }

  /** Closes all sockets and cancels what is in work; clients see that the service goes away and may resume nowhere. */
  close(): void {
    this.#stopping = true;
    clearInterval(this.#beats);
    for (const connection of this.#connections.keys()) connection.close(HORN_CLOSE.stopping, "the service is stopping");
    for (const session of this.#sessions.values()) session.end("the service is stopping");
    this.#sessions.clear();
    this.#sockets.close();
  }

  /** Gives a session to a connection. @throws Fault overloaded */
  join(connection: Connection, id: string | undefined, pass: Pass): void {
    const known = id === undefined ? undefined : this.#sessions.get(keyOf(id));
    const own = known?.owner === pass.owner ? known : undefined;
    const session = own ?? this.#begin(pass);
    session.attach(connection);
    const { resumeMs, heartbeatMs } = this.#config;
    connection.welcome(session, {
      windowBytes: WINDOW_BYTES,
      idleMs: 2 * heartbeatMs,
      resumeMs,
      resumed: own !== undefined,
      questions: session.questions,
    });
  }

  /** Counts a connection out; its session waits for its client. */
  left(connection: Connection): void {
    this.#connections.delete(connection);
    this.#count(connection.address, -1);
    const { session } = connection;
    session?.detach(connection, () => this.#sessions.delete(keyOf(session.id)));
  }

  #begin(pass: Pass): Session {
    const { sessions } = this.#config.limits;
    if (this.#sessions.size >= sessions)
      throw new Fault("overloaded", `there are ${sessions} sessions, which is the limit (horn.limits.sessions)`, {
        retryAfterSeconds: 5,
      });
    const session = new Session(this.#ensemble, this.#config, pass.owner);
    this.#sessions.set(keyOf(session.id), session);
    return session;
  }

  /** @throws Fault that says why a handshake is refused */
  async #admit(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    if (this.#stopping) throw new Fault("draining", "the service is stopping", { retryAfterSeconds: 1 });
    checkHandshake(request, this.#config.origins);
    const address = canonicalAddress(request.socket.remoteAddress) ?? "unknown";
    const { socketsPerAddress } = this.#config.limits;
    if ((this.#perAddress.get(address) ?? 0) >= socketsPerAddress)
      throw new Fault("rate_limited", `this address has ${socketsPerAddress} sockets, which is the limit`, {
        retryAfterSeconds: 5,
      });
    this.#count(address, 1);
    let opened: WebSocket | undefined;
    stream.once("close", () => {
      if (opened === undefined) this.#count(address, -1);
    });
    const { headers } = request;
    const { authorization } = headers;
    let token: string | undefined;
    let pass: Pass | undefined;
    if (authorization !== undefined) {
      token = bearerOf(authorization);
      pass = await this.guard.check(token, address, headers);
      if (pass === undefined) throw new Fault("unauthorized", "authorization: the token is wrong");
    }
    if (stream.destroyed) return;
    this.#sockets.handleUpgrade(request, stream, head, (socket) => {
      opened = socket;
      const protocol = protocolOf([socket.protocol]);
      if (protocol === undefined) {
        // checkHandshake saw one of ours; the WebSocket layer reads the header more strictly.
        this.#count(address, -1);
        socket.close(HORN_CLOSE.badHello, "want a subprotocol");
        return;
      }
      const codec = CODECS[protocol];
      const connection = new Connection(this, { socket, stream, codec, address, headers, token, pass });
      this.#connections.set(connection, this.#opened++ % BEATS);
    });
  }

  #count(address: string, by: 1 | -1): void {
    const count = (this.#perAddress.get(address) ?? 0) + by;
    if (count <= 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, count);
  }

  /** The heartbeat of one part of the sockets, and a look at what is kept. */
  #beat(part: number): void {
    for (const [connection, own] of this.#connections) {
      if (own !== part) continue;
      connection.beat();
      connection.recheck().catch(() => undefined);
    }
    if (part === 0) this.#shed();
  }

  /** Forgets answers that ended where too much is kept. */
  #shed(): void {
    let over = -this.#config.limits.keptBytes;
    for (const session of this.#sessions.values()) over += session.keptBytes;
    for (const session of this.#sessions.values()) {
      if (over <= 0) return;
      over -= session.shed(over);
    }
  }
}

function keyOf(id: string): string {
  return digestOfSecret(id).toString("base64");
}
