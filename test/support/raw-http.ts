import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** One answer as it came over the wire. */
export interface RawAnswer {
  status: number;
  head: string;
  body: string;
}

/** What came back over one connection. */
export interface RawExchange {
  /** Final answers in the order in which they came; `100 Continue` is not one. */
  answers: RawAnswer[];
  text: string;
  /** Whether the server closed the connection. */
  closed: boolean;
}

/** What a client sends: bytes, or how many ms it waits. Anything that makes more is asked for more until the connection is closed. */
export type Sent = string | Uint8Array | number | (() => Uint8Array | undefined);

/** How one exchange goes on. */
export interface RawOptions {
  /** Answers after which nothing more is waited for. @default 1 */
  answers?: number;
  /** Longest wait for them, ms. @default 15000 */
  waitMs?: number;
  /** Closes its own side when all is sent. */
  end?: boolean;
  /** Waits for the server to close. */
  untilClosed?: boolean;
}

/** Sends bytes as they are to `127.0.0.1:port`, however wrong they are, and gathers what comes back. */
export async function exchange(port: number, sent: readonly Sent[], options: RawOptions = {}): Promise<RawExchange> {
  const { answers = 1, waitMs = 15_000, end = false, untilClosed = false } = options;
  const socket = connect(port, "127.0.0.1");
  let text = "";
  let closed = false;
  socket.setEncoding("latin1");
  socket.on("data", (part: string) => (text += part));
  socket.on("error", () => (closed = true));
  socket.on("end", () => (closed = true));
  socket.on("close", () => (closed = true));
  const until = performance.now() + waitMs;
  for (const one of sent) {
    if (closed) break;
    if (typeof one === "number") await delay(one);
    else if (typeof one === "function") await pour(socket, one, () => closed || performance.now() > until);
    else socket.write(one);
  }
  if (end) socket.end();
  const enough = (): boolean => closed || (!untilClosed && parse(text).length >= answers);
  while (!enough() && performance.now() < until) await delay(3);
  socket.destroy();
  return { answers: parse(text), text, closed };
}

async function pour(socket: Socket, make: () => Uint8Array | undefined, over: () => boolean): Promise<void> {
  for (let bytes = make(); bytes !== undefined && !over(); bytes = make()) {
    if (!socket.write(bytes)) {
      await Promise.race([
        new Promise((resolve) => socket.once("drain", resolve)),
        new Promise((resolve) => socket.once("close", resolve)),
        delay(1_000),
      ]);
    }
  }
}

/** The whole answers in what came, by their lengths, chunks or the connection's end. */
function parse(text: string): RawAnswer[] {
  const found: RawAnswer[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf("\r\n\r\n");
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(rest)?.[1]);
    if (end === -1 || Number.isNaN(status)) return found;
    const head = rest.slice(0, end);
    const after = rest.slice(end + 4);
    if (status >= 100 && status < 200) {
      rest = after;
      continue;
    }
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length !== undefined) {
      if (after.length < Number(length)) return found;
      found.push({ status, head, body: utf8(after.slice(0, Number(length))) });
      rest = after.slice(Number(length));
      continue;
    }
    if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
      const over = after.indexOf("0\r\n\r\n");
      if (over === -1) return found;
      found.push({ status, head, body: utf8(after.slice(0, over).replace(/(^|\r\n)[0-9a-f]+\r\n/g, "")) });
      rest = after.slice(over + 5);
      continue;
    }
    return [...found, { status, head, body: utf8(after) }];
  }
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString("utf8");
}

/** Bytes of a POST of JSON. @param headers in place of the usual ones where their names are the same; undefined leaves one out */
export function post(path: string, body: string, headers: Record<string, string | undefined> = {}): string {
  const all: Record<string, string | undefined> = {
    host: "x",
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(body)),
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  return `POST ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${body}`;
}
