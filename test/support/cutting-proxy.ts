import { connect, createServer, type Socket } from "node:net";

/** Where on the way to a server something happens: at the so-many-th piece in that direction, before or after it is passed on. */
export interface CutPoint {
  direction: "request" | "reply";
  nth: number;
  passed: boolean;
}

/** A TCP proxy that calls back at a point. */
export interface CuttingProxy {
  port: number;
  /** Counts anew, and calls once at that point; the piece is held back for ever where it is not passed on. */
  arm(point: CutPoint, hit: () => void): void;
  disarm(): void;
  close(): Promise<void>;
}

/** Starts a proxy on a free port of 127.0.0.1. @param target path of a Unix socket */
export async function startCuttingProxy(target: string): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let armed: { point: CutPoint; hit: () => void; count: number } | undefined;
  const through = (direction: CutPoint["direction"], to: Socket) => (piece: Buffer) => {
    const at = armed;
    if (at?.point.direction !== direction || ++at.count !== at.point.nth) {
      to.write(piece);
      return;
    }
    armed = undefined;
    if (at.point.passed) to.write(piece, () => at.hit());
    else at.hit();
  };
  const server = createServer((client) => {
    const upstream = connect(target);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", through("request", upstream));
    upstream.on("data", through("reply", client));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    arm: (point, hit) => {
      armed = { point, hit, count: 0 };
    },
    disarm: () => {
      armed = undefined;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
