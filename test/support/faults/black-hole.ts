import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A network before a server that can drop every packet. */
export interface BlackHole {
  url: string;
  /** Lets no byte through in either direction, as if the server's machine were off: connections stay open and silent, and fresh ones are too. */
  silence(on: boolean): void;
  close(): Promise<void>;
}

/** Starts one before a server, on a free port of 127.0.0.1. */
export async function startBlackHole(behindUrl: string): Promise<BlackHole> {
  const { hostname, port } = new URL(behindUrl);
  const sockets = new Set<Socket>();
  /** Connections that have lost bytes and can never go on. */
  const lost = new Set<Socket>();
  let silent = false;
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    const pass = (from: Socket, to: Socket): void => {
      sockets.add(from);
      from.setNoDelay(true);
      from.on("data", (bytes: Buffer) => {
        if (silent) lost.add(near);
        else to.write(bytes);
      });
      from.on("error", () => from.destroy());
      from.on("close", () => {
        sockets.delete(from);
        if (silent) lost.add(near);
        else to.destroy();
      });
    };
    pass(near, far);
    pass(far, near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    silence: (on) => {
      silent = on;
      if (on) return;
      for (const socket of lost) socket.destroy();
      lost.clear();
    },
    close: async () => {
      silent = false;
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
