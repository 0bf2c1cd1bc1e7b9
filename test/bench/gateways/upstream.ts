// A model server that costs next to nothing: `node upstream.ts DELAY_MS`. It speaks just enough HTTP on a bare socket, since a whole server
// would be the slowest part of what is measured. It prints its port as one line and answers every POST with the same words.
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { RequestReader } from "./request-reader.ts";
import { STREAM_PARTS, WHOLE } from "./answer.ts";

const delayMs = Number(process.argv[2] ?? 0);

function answer(socket: Socket, stream: boolean): void {
  if (!stream) {
    socket.write(WHOLE);
    return;
  }
  let part = 0;
  // Each part is a turn of its own, so that a gateway sees a stream and not one block.
  const next = (): void => {
    const bytes = STREAM_PARTS[part++];
    if (bytes === undefined || socket.destroyed) return;
    socket.write(bytes);
    if (part < STREAM_PARTS.length) setImmediate(next);
  };
  next();
}

const server = createServer({ noDelay: true }, (socket) => {
  const reader = new RequestReader((stream) => {
    if (delayMs === 0) answer(socket, stream);
    else setTimeout(answer, delayMs, socket, stream);
  });
  socket.on("data", (bytes) => reader.read(bytes));
  socket.on("error", () => socket.destroy());
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
