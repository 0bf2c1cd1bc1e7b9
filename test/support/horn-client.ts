import { decode, encode, rfc8949EncodeOptions } from "cborg";
import { WebSocket } from "ws";
import { HORN_CBOR, HORN_JSON, HornReply } from "../../runtime/contracts/horn.ts";
import type { AskEvent } from "../../runtime/contracts/native.ts";

/** A client of the horn that hides nothing: it sends what it is told and keeps what it gets. */
export interface RawClient {
  socket: WebSocket;
  frames: HornReply[];
  /** Sends an object in the subprotocol's form, or a string or bytes as they are. */
  send(frame: object | string | Buffer): void;
  /** Waits for a frame. */
  wait(match: (frame: HornReply) => boolean): Promise<HornReply>;
  /** Close code, once it is closed. */
  closed: Promise<number>;
}

/** How a raw client connects. */
export interface RawOptions {
  /** Address of the service, `http://…`. */
  url: string;
  /** First frame; nothing is sent when it is `null`. @default a plain hello */
  hello?: object | null;
  headers?: Record<string, string>;
  origin?: string;
  protocol?: string;
  /** Called for each frame as it comes. */
  onFrame?: (frame: HornReply, client: RawClient) => void;
}

/** Connects. @throws Error with the status of a refused handshake */
export async function connectRaw(options: RawOptions): Promise<RawClient> {
  const { url, hello = { type: "hello" }, headers, origin, protocol = HORN_JSON, onFrame } = options;
  const socket = new WebSocket(`${url.replace("http", "ws")}/horn`, protocol, { headers, origin });
  const frames: HornReply[] = [];
  let wake: () => void = () => undefined;
  const closed = new Promise<number>((resolve) => socket.on("close", (code) => resolve(code)));
  const client: RawClient = {
    socket,
    frames,
    closed,
    send: (frame) => {
      if (typeof frame === "string" || Buffer.isBuffer(frame)) socket.send(frame);
      else if (socket.protocol === HORN_CBOR) socket.send(encode(frame, rfc8949EncodeOptions));
      else socket.send(JSON.stringify(frame));
    },
    wait: async (match) => {
      for (;;) {
        const found = frames.find(match);
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
  socket.on("message", (data: Buffer, binary) => {
    const frame = HornReply.parse(binary ? decode(data) : JSON.parse(data.toString("utf8")));
    frames.push(frame);
    onFrame?.(frame, client);
    wake();
  });
  await new Promise<void>((resolve, reject) => {
    socket.on("open", () => resolve());
    socket.on("error", reject);
  });
  if (hello !== null) client.send(hello);
  return client;
}

/** Whether a frame is the last one of a question. */
export const over = (id: string) => (frame: HornReply) =>
  frame.type === "event" && frame.id === id && (frame.event.event === "answer" || frame.event.event === "error");

/** Events of one question that a client got. */
export function eventsOf(client: RawClient, id: string): { seq: number; event: AskEvent }[] {
  return client.frames.flatMap((frame) => (frame.type === "event" && frame.id === id ? [frame] : []));
}

/** The reply's words that a client got. */
export function textOf(client: RawClient, id: string): string {
  return eventsOf(client, id)
    .flatMap(({ event }) => (event.event === "text" ? [event.text] : []))
    .join("");
}

/** Id of a client's session. */
export async function sessionOf(client: RawClient): Promise<string> {
  const welcome = await client.wait(({ type }) => type === "welcome");
  return welcome.type === "welcome" ? welcome.session : "";
}
