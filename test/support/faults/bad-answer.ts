import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { type Wire, wireOf } from "../mock-model.ts";
import { type CallFault, type Phase, STRIKE_MS } from "./matrix.ts";

/** The faults of a server that answers, but badly. */
const BAD = ["500", "503", "half-json", "wrong-model", "endless", "gzip-bomb"] as const satisfies readonly CallFault[];
/** A fault of a server that answers, but badly. */
export type BadAnswer = (typeof BAD)[number];

/** Whether a fault is one of a server that answers. */
export function isAnsweredBadly(fault: CallFault): fault is BadAnswer {
  return BAD.some((one) => one === fault);
}

/** A call that is answered badly. */
export interface BadCall {
  fault: BadAnswer;
  phase: Phase;
  path: string;
  model: string;
  streams: boolean;
}

/** Another model than the one that was asked. */
const OTHER_MODEL = "other:70b";
const WORDS = ["The ", "first ", "words "];
/** Bytes of one write of an endless answer, and how often, ms: 3 MB a second, enough to fill a memory and not the machine. */
const ENDLESS_BYTES = 16_384;
const ENDLESS_MS = 5;
/** What the bomb has in it, bytes; on the wire it is less than a hundredth of that. */
const BOMB_BYTES = 67_108_864;
const BOMB_PARTS = 16;

/** Made once and of equal parts, as making it is work. Source of parts in a row: RFC 1952, 2.2. */
const BOMB = Buffer.concat(
  Array<Buffer>(BOMB_PARTS).fill(gzipSync(Buffer.alloc(BOMB_BYTES / BOMB_PARTS, " "), { level: 1 })),
);

/** Writes a bad answer as raw bytes: nothing on the way puts it right. */
export function answerBadly(call: BadCall, socket: Socket): void {
  const wire = wireOf(call.path, call.model);
  const { fault, phase, streams } = call;
  const begin = (): void => {
    if (socket.destroyed) return;
    if (fault === "gzip-bomb") return explode(call, wire, socket);
    if (phase === "streaming" && streams) socket.write(head(200, wire.type) + wire.piece(WORDS[0] ?? ""));
    strikes[fault](call, wire, socket);
  };
  const timer = setTimeout(begin, phase === "before" ? 0 : STRIKE_MS);
  socket.on("close", () => clearTimeout(timer));
}

/** Without a length: where the answer ends is said by the connection's end alone. */
function head(status: number, type: string, more = ""): string {
  return `HTTP/1.1 ${status} Mock\r\nconnection: close\r\ncontent-type: ${type}\r\n${more}\r\n`;
}

function refusal(status: number, message: string, more = ""): string {
  return head(status, "application/json", more) + JSON.stringify({ error: message });
}

const strikes: Readonly<Record<Exclude<BadAnswer, "gzip-bomb">, (call: BadCall, wire: Wire, socket: Socket) => void>> =
  {
    "500": (call, wire, socket) => refuse(call, wire, socket, 500, "the runner crashed"),
    "503": (call, wire, socket) => refuse(call, wire, socket, 503, "the model is loading", "retry-after: 1\r\n"),
    "half-json": ({ phase, streams }, wire, socket) => {
      if (streams) {
        const half = wire.piece(WORDS[1] ?? "").slice(0, 30);
        socket.end(phase === "streaming" ? half : head(200, wire.type) + half);
      } else socket.end(head(200, "application/json") + JSON.stringify(wire.whole(WORDS.join(""), 3)).slice(0, 60));
    },
    "wrong-model": ({ path, phase, streams }, wire, socket) => {
      const other = wireOf(path, OTHER_MODEL);
      if (!streams)
        return void socket.end(head(200, "application/json") + JSON.stringify(other.whole(WORDS.join(""), 3)));
      const words = WORDS.map((word) => other.piece(word)).join("") + other.end(WORDS.length);
      socket.end(phase === "streaming" ? words : head(200, wire.type) + words);
    },
    endless: ({ phase, streams }, wire, socket) => {
      // Before the first byte even its head does not end; while the prompt is read a line does not; then the words do not.
      if (phase === "before") return pour(socket, "HTTP/1.1 200 OK\r\n", `x-more: ${"y".repeat(2_000)}\r\n`);
      if (!streams) return pour(socket, head(200, "application/json"), "z".repeat(2_000));
      if (phase === "prefill") return pour(socket, head(200, wire.type), "z".repeat(2_000));
      pour(socket, "", wire.piece("more "));
    },
  };

/** An error by status, or in the middle of the stream once that has begun. */
function refuse(call: BadCall, wire: Wire, socket: Socket, status: number, message: string, more = ""): void {
  if (call.phase === "streaming" && call.streams) socket.end(wire.error(message));
  else socket.end(refusal(status, message, more));
}

function pour(socket: Socket, first: string, again: string): void {
  socket.write(first);
  const bytes = again.repeat(Math.ceil(ENDLESS_BYTES / again.length));
  const timer = setInterval(() => {
    if (socket.writableLength < 1_048_576) socket.write(bytes);
  }, ENDLESS_MS);
  socket.on("close", () => clearInterval(timer));
}

/** A compressed answer that nobody asked for: blanks without end, after the first words where those have been said. */
function explode({ phase, streams }: BadCall, wire: Wire, socket: Socket): void {
  socket.write(head(200, streams ? wire.type : "application/json", "content-encoding: gzip\r\n"));
  if (phase === "streaming") socket.write(gzipSync(wire.piece(WORDS[0] ?? "")));
  socket.end(BOMB);
}
