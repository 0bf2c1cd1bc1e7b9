import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { type RawData, type WebSocket, WebSocketServer } from "ws";
import { HORN_JSON, HornRequest, type HornReply } from "../../contracts/horn.ts";
import { Fault, toFault } from "../../core/fault.ts";
import { timer } from "../../support/clock.ts";
import { parseJson } from "../../support/http.ts";
import { errorOf } from "../api/native.ts";
import type { Ensemble } from "../ensemble.ts";
import { type Outlet, Session, WINDOW_BYTES } from "./session.ts";

/** Path of the WebSocket. */
export const HORN_PATH = "/horn";

/** Largest frame of a client, bytes. */
const MOST_FRAME_BYTES = 1_048_576;
/** Bytes that may wait for a slow socket; more are kept back until it has taken some. */
const MOST_BUFFERED_BYTES = 262_144;
/** Time for the first frame, ms. */
const HELLO_MS = 10_000;
/** How often a socket is pinged; one that does not answer until the next time is dead. */
const HEARTBEAT_MS = 15_000;

/** Close codes of our own. Source: RFC 6455, 7.4.2: 4000 to 4999 are for applications. */
const CLOSE = { badFrame: 4400, unauthorized: 4401, helloTimeout: 4408, dead: 4410, stopping: 1001 } as const;

/** How the horn is guarded and how long it remembers. */
export interface HornOptions {
  /** Origins of browsers' pages that may connect. Programs send none and are let in. */
  origins: readonly string[];
  /** Token that a client must show, in `authorization: Bearer` or in its first frame. Absent: none is asked for. */
  token?: string;
  /** How long a question can be resumed, ms. @default 60000 */
  resumeMs?: number;
}

/** The WebSocket `/horn` of an ensemble. */
export class Horn {
  readonly #ensemble: Ensemble;
  readonly #options: HornOptions;
  readonly #resumeMs: number;
  readonly #sessions = new Map<string, Session>();
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MOST_FRAME_BYTES,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(HORN_JSON) ? HORN_JSON : false),
  });

  constructor(ensemble: Ensemble, options: HornOptions) {
    this.#ensemble = ensemble;
    this.#options = options;
    this.#resumeMs = options.resumeMs ?? 60_000;
  }

  /** Takes the upgrades of a server; those of other paths are refused. */
  attach(server: Server): void {
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const refusal = this.#refusal(request);
      if (refusal !== undefined) {
        socket.end(`HTTP/1.1 ${refusal}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (opened) => this.#opened(opened, request));
    });
  }

  /** Closes all sockets; clients see that the service goes away and may resume nowhere. */
  close(): void {
    for (const socket of this.#sockets.clients) socket.close(CLOSE.stopping, "the service is stopping");
    this.#sockets.close();
  }

  /** Status line of a handshake that is refused. A page of another origin must not speak with the user's network through his browser. */
  #refusal(request: IncomingMessage): string | undefined {
    const { pathname } = new URL(request.url ?? "/", "http://horn");
    if (pathname !== HORN_PATH) return "404 Not Found";
    const { origin } = request.headers;
    if (origin !== undefined && !this.#options.origins.includes(origin)) return "403 Forbidden";
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim());
    if (!offered.includes(HORN_JSON)) return "400 Bad Request";
    const { authorization } = request.headers;
    if (authorization !== undefined && !this.#may(authorization.replace(/^Bearer\s+/i, ""))) return "401 Unauthorized";
    return undefined;
  }

  #may(token: string | undefined): boolean {
    if (this.#options.token === undefined) return true;
    if (token === undefined) return false;
    return timingSafeEqual(digest(token), digest(this.#options.token));
  }

  #opened(socket: WebSocket, request: IncomingMessage): void {
    const outlet = outletOf(socket, () => session?.pump());
    let session: Session | undefined;
    const shown = request.headers.authorization !== undefined;
    const noHello = timer(HELLO_MS, () => socket.close(CLOSE.helloTimeout, "want hello as the first frame"));
    const stopBeat = heartbeat(socket);
    socket.on("message", (data, binary) => {
      try {
        const frame = readFrame(data, binary);
        if (session !== undefined) {
          serve(session, frame, outlet);
          return;
        }
        if (frame.type !== "hello") throw new Fault("invalid_request", "type: want hello as the first frame");
        if (!shown && !this.#may(frame.token)) {
          socket.close(CLOSE.unauthorized, "the token is missing or wrong");
          return;
        }
        noHello();
        session = this.#join(frame.session, outlet);
      } catch (error) {
        refuse(outlet, error);
        if (session === undefined) socket.close(CLOSE.badFrame, "want hello as the first frame");
      }
    });
    socket.on("error", () => socket.terminate());
    socket.on("close", () => {
      noHello();
      stopBeat();
      const left = session;
      left?.detach(outlet, () => this.#sessions.delete(left.id));
    });
  }

  #join(id: string | undefined, outlet: Outlet): Session {
    const known = id === undefined ? undefined : this.#sessions.get(id);
    const session = known ?? new Session(this.#ensemble, this.#resumeMs);
    this.#sessions.set(session.id, session);
    session.attach(outlet);
    const times = { idleMs: 2 * HEARTBEAT_MS, resumeMs: this.#resumeMs };
    outlet.send({
      type: "welcome",
      session: session.id,
      windowBytes: WINDOW_BYTES,
      ...times,
      resumed: known !== undefined,
    });
    return session;
  }
}

function serve(session: Session, frame: HornRequest, outlet: Outlet): void {
  try {
    switch (frame.type) {
      case "hello":
        throw new Fault("invalid_request", "type: hello was said already");
      case "ask": {
        const { question, user, conversation, bothOrders, mode, draft } = frame;
        session.ask(frame.id, { question, user, conversation, bothOrders, mode, draft });
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
        outlet.send({ type: "pong", nonce: frame.nonce });
    }
  } catch (error) {
    refuse(outlet, error, "id" in frame ? frame.id : undefined);
  }
}

function refuse(outlet: Outlet, error: unknown, id?: string): void {
  outlet.send({ type: "refused", ...(id === undefined ? {} : { id }), error: errorOf(toFault(error)) });
}

function readFrame(data: RawData, binary: boolean): HornRequest {
  if (binary) throw new Fault("invalid_request", `want text frames with ${HORN_JSON}`);
  const text = Buffer.isBuffer(data)
    ? data.toString("utf8")
    : Array.isArray(data)
      ? Buffer.concat(data).toString("utf8")
      : Buffer.from(data).toString("utf8");
  const parsed = HornRequest.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new Fault(
    "invalid_request",
    `${issue?.path.map(String).join(".") ?? "frame"}: ${issue?.message ?? "not of this protocol"}`,
  );
}

/** A socket as an outlet that takes no more than it can hold, and asks for more when it has room again. */
function outletOf(socket: WebSocket, room: () => void): Outlet {
  let full = false;
  return {
    send: (reply) => {
      if (socket.readyState !== socket.OPEN) return false;
      if (reply.type === "event" && socket.bufferedAmount > MOST_BUFFERED_BYTES) {
        full = true;
        return false;
      }
      socket.send(JSON.stringify(reply satisfies HornReply), () => {
        if (!full || socket.bufferedAmount > MOST_BUFFERED_BYTES / 2) return;
        full = false;
        room();
      });
      return true;
    },
  };
}

/** Pings a socket and cuts it when it does not answer. @returns stops it */
function heartbeat(socket: WebSocket): () => void {
  let alive = true;
  socket.on("pong", () => {
    alive = true;
  });
  socket.on("message", () => {
    alive = true;
  });
  const beat = setInterval(() => {
    if (!alive) socket.terminate();
    alive = false;
    socket.ping();
  }, HEARTBEAT_MS);
  return () => clearInterval(beat);
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
