// Clients as cheap as they can be: bytes on a TCP socket, and a look for the stamps of tokens in what comes back. What is measured is the server.
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { readStamps, stamp, TOKENS_A_SECOND } from "./source.ts";

/** How one kind of connection is opened and asked for a stream. */
export interface Dialect {
  /** First bytes. */
  open(host: string): Buffer;
  /** What to send once something has come: in turn, each after an answer that has this text in it. */
  steps: readonly { after: string; send: Buffer }[];
  /** Steps up to which the connection is idle: it could be used, and is not. */
  idleSteps: number;
  /** Sends its own tokens, which come back. @default false */
  echoes?: boolean;
}

/** A text frame of a client, masked with zeros. */
function frame(text: string): Buffer {
  const payload = Buffer.from(text);
  const length =
    payload.length < 126 ? [0x80 | payload.length] : [0x80 | 126, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from([0x81, ...length, 0, 0, 0, 0]), payload]);
}

function upgrade(host: string, path: string, protocol?: string): Buffer {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    ...["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"],
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
}

function post(host: string, path: string, body: object): Buffer {
  const text = JSON.stringify(body);
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
}

const ask = { model: "mock", messages: [{ role: "user", content: "Go." }], stream: true };
const hornAsk = { type: "ask", id: "q", question: "Go.", draft: true };

/** Every kind of connection of this benchmark. */
export const DIALECTS = {
  /** One member passed through, as server-sent events. */
  sse: { open: (host) => post(host, "/v1/chat/completions", ask), steps: [], idleSteps: 0 },
  /** The ensemble's draft as server-sent events. */
  draft: {
    open: (host) => post(host, "/ask", { question: "Go.", draft: true, stream: true }),
    steps: [],
    idleSteps: 0,
  },
  /** The ensemble's draft on the horn. */
  horn: {
    open: (host) => upgrade(host, "/horn", "gorkheavy.json.v1"),
    steps: [
      { after: "101 Switching", send: frame('{"type":"hello"}') },
      { after: "welcome", send: frame(JSON.stringify(hornAsk)) },
    ],
    idleSteps: 1,
  },
  /** A bare relay with `ws`. */
  ws: {
    open: (host) => upgrade(host, "/"),
    steps: [{ after: "101 Switching", send: frame("go") }],
    idleSteps: 0,
  },
  /** A bare echo with `ws`: nothing is upstream. */
  echo: { open: (host) => upgrade(host, "/"), steps: [], idleSteps: 0, echoes: true },
  /** The same relay with socket.io, on its WebSocket transport. */
  socketio: {
    open: (host) => upgrade(host, "/socket.io/?EIO=4&transport=websocket"),
    steps: [
      { after: "sid", send: frame("40") },
      { after: "40{", send: frame('42["go"]') },
    ],
    idleSteps: 1,
  },
} as const satisfies Record<string, Dialect>;

/** One of the kinds. */
export type DialectName = keyof typeof DIALECTS;

/** Many connections of one kind. */
export class Crowd {
  readonly #sockets: Socket[] = [];
  /** Delays of the tokens seen since the last look, ms. */
  #delays: number[] = [];
  #lost = 0;
  #closing = false;

  /** Connections that the other side ended. */
  get lost(): number {
    return this.#lost;
  }

  /** Opens so many, spread over a time so that opening is no burst. @param idle stops before anything is asked for */
  async open(url: string, dialect: Dialect, count: number, idle: boolean): Promise<void> {
    const { hostname, port, host } = new URL(url);
    for (let at = 0; at < count; at++) {
      this.#sockets.push(this.#one(Number(port), hostname, host, dialect, idle));
      if (at % 10 === 9) await delay(5);
    }
  }

  /** Delays of the tokens seen since the last call, ms. */
  take(): number[] {
    const delays = this.#delays;
    this.#delays = [];
    return delays;
  }

  /** Writes a token on each connection that echoes; called once for each time that one is due. @param part of `parts` */
  echo(part: number, parts: number): void {
    for (let at = part; at < this.#sockets.length; at += parts) this.#sockets[at]?.write(frame(stamp()));
  }

  close(): void {
    this.#closing = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  #one(port: number, hostname: string, host: string, dialect: Dialect, idle: boolean): Socket {
    const socket = connect({ port, host: hostname, noDelay: true });
    const steps = idle ? dialect.steps.slice(0, dialect.idleSteps) : dialect.steps;
    let step = 0;
    let rest = "";
    socket.on("data", (data) => {
      const text = rest + data.toString("latin1");
      rest = readStamps(text, performance.now(), (ms) => this.#delays.push(ms));
      const wanted = steps[step];
      if (wanted === undefined || !text.includes(wanted.after)) return;
      step++;
      socket.write(wanted.send);
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (!this.#closing) this.#lost++;
    });
    if (!idle || dialect.steps.length > 0 || dialect.echoes === true) socket.write(dialect.open(host));
    return socket;
  }
}

/** Tokens that a crowd should see in a time. */
export function tokensDue(streams: number, seconds: number): number {
  return streams * seconds * TOKENS_A_SECOND;
}
