import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";

/** Tokens of one second of a stream. */
export const TOKENS_A_SECOND = 20;
/** Streams are spread over so many parts of the time between two tokens: models do not speak in step. */
const PARTS = 50;
const PART_MS = 1_000 / TOKENS_A_SECOND / PARTS;

const Body = z.looseObject({ stream: z.boolean().default(false) });

/** A model server with the OpenAI API whose every token says when it was written. */
export interface Source {
  url: string;
  /** Streams open now. */
  streams(): number;
  /** Has all streams of the past end, and those of the future be silent or speak. */
  speak(on: boolean): void;
  close(): Promise<void>;
}

/** When a token was written, as its text: microseconds of this process between two signs that nothing else here uses. */
export function stamp(): string {
  return `~${Math.round(performance.now() * 1_000)}~`;
}

/** A stamp. Its digits are asked for, since `~` is also how a WebSocket frame may say its length. */
const STAMP = /~(\d{6,14})~/g;
const LONGEST_STAMP = 16;

/** Delays of all stamps in a text, ms. @returns what of its end may be half of one */
export function readStamps(text: string, nowMs: number, found: (delayMs: number) => void): string {
  let end = 0;
  for (const match of text.matchAll(STAMP)) {
    found(nowMs - Number(match[1]) / 1_000);
    end = match.index + match[0].length;
  }
  const half = text.indexOf("~", Math.max(end, text.length - LONGEST_STAMP));
  return half < 0 ? "" : text.slice(half);
}

/** Starts the source in this process, on a free port. */
export async function startSource(): Promise<Source> {
  const parts: Set<ServerResponse>[] = Array.from({ length: PARTS }, () => new Set());
  let opened = 0;
  let speaking = true;
  const chunk = (delta: object, finish: string | null): string =>
    `data: ${JSON.stringify({ id: "s", object: "chat.completion.chunk", created: 1, model: "mock", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  const [before, after] = chunk({ content: "%" }, null).split("%");
  const server = createServer((request, response) => {
    const read: Buffer[] = [];
    request.on("data", (part: Buffer) => read.push(part));
    request.on("end", () => {
      if (request.method === "GET") {
        response.writeHead(200, { "content-type": "application/json" }).end('{"data":[{"id":"mock"}]}');
        return;
      }
      if (!Body.parse(JSON.parse(Buffer.concat(read).toString())).stream) {
        const message = { role: "assistant", content: "Yes." };
        response.writeHead(200, { "content-type": "application/json" });
        response.end(
          JSON.stringify({
            ...{ id: "s", object: "chat.completion", created: 1, model: "mock" },
            choices: [{ index: 0, message, finish_reason: "stop" }],
          }),
        );
        return;
      }
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.flushHeaders();
      const part = parts[opened++ % PARTS];
      part?.add(response);
      response.on("close", () => part?.delete(response));
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", 4_096, resolve));
  let next = 0;
  const begun = performance.now();
  const tick = setInterval(() => {
    for (; begun + next * PART_MS <= performance.now(); next++) {
      if (!speaking) continue;
      for (const response of parts[next % PARTS] ?? []) response.write(`${before}${stamp()}${after}`);
    }
  }, PART_MS);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    streams: () => parts.reduce((sum, { size }) => sum + size, 0),
    speak: (on) => {
      speaking = on;
      for (const response of parts.flatMap((part) => [...part])) response.destroy();
    },
    close: async () => {
      clearInterval(tick);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
