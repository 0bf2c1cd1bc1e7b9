import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import type { WebSocket } from "ws";
import { CODECS } from "../../../../runtime/orchestrator/horn/codec.ts";
import { Connection, type Opened } from "../../../../runtime/orchestrator/horn/connection.ts";
import { oneToken } from "../../../../runtime/orchestrator/horn/guard.ts";

/** A connection over a socket that does nothing but count. */
function connection() {
  const socket = Object.assign(new EventEmitter(), {
    OPEN: 1,
    readyState: 1,
    pings: 0,
    cut: false,
    ping: () => void socket.pings++,
    terminate: () => void (socket.cut = true),
  });
  const stream = Object.assign(new EventEmitter(), { writableLength: 0, bytesWritten: 0 });
  const hall = {
    guard: oneToken(undefined),
    helloMs: 60_000,
    stopping: false,
    join: () => undefined,
    left: () => undefined,
  };
  const made = new Connection(hall, {
    socket: socket as unknown as WebSocket,
    stream: stream as unknown as Opened["stream"],
    codec: CODECS["gorkheavy.json.v1"],
    address: "127.0.0.1",
    headers: {},
  });
  return { made, socket, stream, end: () => socket.emit("close") };
}

test("a socket is asked at each heartbeat, and cut at the second that nothing came before", () => {
  const { made, socket, end } = connection();
  made.beat();
  expect(socket).toMatchObject({ pings: 1, cut: false });
  socket.emit("pong");
  made.beat();
  expect(socket).toMatchObject({ pings: 2, cut: false });
  made.beat();
  expect(socket.cut).toBe(true);
  end();
});

test("a slow reader is not cut while it takes of what waits, and is when it no longer does", () => {
  const { made, socket, stream, end } = connection();
  Object.assign(stream, { bytesWritten: 300_000, writableLength: 200_000 });
  made.beat();
  for (let waiting = 150_000; waiting >= 50_000; waiting -= 50_000) {
    stream.writableLength = waiting;
    made.beat();
    expect(socket.cut).toBe(false);
  }
  made.beat();
  expect(socket.cut).toBe(true);
  end();
});

test("pings that go into the network do not count as taken", () => {
  const { made, socket, stream, end } = connection();
  made.beat();
  stream.bytesWritten = 2;
  made.beat();
  expect(socket.cut).toBe(true);
  end();
});
