import { createServer, type IncomingMessage, request as requestHttp, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { z } from "zod";
import { answerBadly, isAnsweredBadly } from "./bad-answer.ts";
import { type CallStrike, type Phase, STRIKE_MS } from "./matrix.ts";
import { type Toxic, TOXICS } from "./toxics.ts";

/** What of a whole answer comes before the faults of the phase `streaming` strike, bytes; any is longer. */
const FIRST_HALF_BYTES = 40;

/** A model server that fails as told, byte by byte on the wire. Without a strike it passes everything on to the server behind it. */
export interface FaultyModel {
  url: string;
  /** What the calls that arrive from now on meet; GETs (health, lists) are left alone. */
  strike: CallStrike | undefined;
  /** Calls that were struck so far. */
  struck: number;
  /** Connections of struck calls that are still open. */
  struckOpen(): number;
  /** Connections open now, struck or not. */
  connections(): number;
  close(): Promise<void>;
}

const Streams = z.looseObject({ stream: z.boolean().optional() });

/** Starts one before a server such as a mock model, on a free port of 127.0.0.1. @param model whose name the wrong answers do not have */
export async function startFaultyModel(behindUrl: string, model: string): Promise<FaultyModel> {
  const sockets = new Set<Socket>();
  const struckSockets = new Set<Socket>();
  const faulty: FaultyModel = {
    url: "",
    strike: undefined,
    struck: 0,
    struckOpen: () => struckSockets.size,
    connections: () => sockets.size,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  const server = createServer((request, response) => {
    void bodyOf(request).then(
      (body) => {
        const { strike } = faulty;
        if (request.method === "GET" || strike === undefined) {
          passOn(behindUrl, request, body, response);
          return;
        }
        faulty.struck++;
        const { socket } = request;
        struckSockets.add(socket);
        socket.on("close", () => struckSockets.delete(socket));
        socket.setNoDelay(true);
        const path = request.url ?? "/";
        const streams = streamsOf(path, body);
        if (isAnsweredBadly(strike.fault))
          answerBadly({ ...strike, fault: strike.fault, path, model, streams }, socket);
        else poison(TOXICS[strike.fault](socket), { phase: strike.phase, streams, behindUrl, request, body });
      },
      () => request.destroy(),
    );
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    // A peer that resets is one of the things tested.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  faulty.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return faulty;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

/** OpenAI streams when told to, Ollama unless told not to. */
function streamsOf(path: string, body: Buffer): boolean {
  const { stream } = Streams.catch({}).parse(body.length === 0 ? {} : JSON.parse(body.toString("utf8")));
  return path.startsWith("/v1/") ? stream === true : stream !== false;
}

function passOn(behindUrl: string, request: IncomingMessage, body: Buffer, response: ServerResponse): void {
  const { method, url, headers } = request;
  const behind = requestHttp(new URL(url ?? "/", behindUrl), { method, headers, agent: false }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, { "content-type": answer.headers["content-type"] ?? "text/plain" });
    response.flushHeaders();
    answer.on("error", () => response.destroy());
    answer.pipe(response);
  });
  behind.on("error", () => response.destroy());
  response.on("close", () => behind.destroy());
  behind.end(body);
}

interface PoisonedCall {
  phase: Phase;
  streams: boolean;
  behindUrl: string;
  request: IncomingMessage;
  body: Buffer;
}

/** Sends the call on and lets a toxic have the bytes of the answer from its phase on. */
function poison(toxic: Toxic, { phase, streams, behindUrl, request, body }: PoisonedCall): void {
  const { socket } = request;
  const { hostname, port } = new URL(behindUrl);
  const behind = connect(Number(port), hostname);
  let active = false;
  const strike = (): void => {
    active = true;
    toxic.strike?.();
  };
  const timer = phase === "prefill" ? setTimeout(strike, STRIKE_MS) : undefined;
  if (phase === "before") strike();
  let seen = "";
  behind.on("data", (bytes: Buffer) => {
    if (active) return toxic.data(bytes);
    if (phase !== "streaming") return void socket.write(bytes);
    seen += bytes.toString("latin1");
    const end = streams ? firstPieceEnd(seen) : firstHalfEnd(seen);
    if (end === undefined) return void socket.write(bytes);
    const here = end - (seen.length - bytes.length);
    socket.write(bytes.subarray(0, here));
    strike();
    if (here < bytes.length) toxic.data(bytes.subarray(here));
  });
  behind.on("end", () => (active ? toxic.end() : socket.end()));
  behind.on("error", () => socket.destroy());
  socket.on("close", () => {
    clearTimeout(timer);
    toxic.close?.();
    behind.destroy();
  });
  behind.write(
    `POST ${request.url ?? "/"} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`,
  );
  behind.write(body);
}

/** Where the first piece of a streamed answer ends; undefined while it has not come. @param seen the bytes so far, one character each */
function firstPieceEnd(seen: string): number | undefined {
  const head = seen.indexOf("\r\n\r\n");
  if (head === -1) return undefined;
  const end = seen.indexOf("}\n", head);
  return end === -1 ? undefined : end + 2;
}

/** Where the first part of a whole answer ends, far from its own end; undefined while it has not come. */
function firstHalfEnd(seen: string): number | undefined {
  const head = seen.indexOf("\r\n\r\n");
  return head === -1 || seen.length < head + 4 + FIRST_HALF_BYTES ? undefined : head + 4 + FIRST_HALF_BYTES;
}
