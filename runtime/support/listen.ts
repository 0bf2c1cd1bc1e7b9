import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { Sockets } from "./drain.ts";

/** What answers requests: a hono app, or anything with its `fetch`. */
export interface App {
  fetch(request: Request, env?: unknown): Response | Promise<Response>;
}

/** Sees a request before the app does: answers it, or hands it on by `next`. Must not throw. */
export type Front = (incoming: IncomingMessage, outgoing: ServerResponse, next: () => void) => void;

/** A server that listens. */
export interface Listening {
  server: Server;
  host: string;
  port: number;
  /** `http://host:port`, fit for a client on this machine. */
  url: string;
  /** Takes no new connection, lets requests in flight end, closes sockets without one, and cuts those still open after so many ms. */
  drain(graceMs: number): Promise<void>;
}

/** How long a client may take to send: slow ones hold a socket no longer and are answered 408. */
export interface ClientTimes {
  /** For the head of its request, ms. */
  headMs: number;
  /** For the whole request, ms; 0 is for ever. */
  requestMs: number;
}

/** Times of servers whose configuration names none. */
const USUAL_TIMES: ClientTimes = { headMs: 15_000, requestMs: 60_000 };

/** How often slow clients are looked for, ms, at most. */
const SLOW_CHECK_MS = 5_000;

/**
 * Serves an app on an address. Port 0 takes a free one.
 * @param front absent: every request goes to the app at once.
 * @param times how long clients may take to send
 * @throws Error naming the address and what to do, when it cannot be listened on.
 */
export async function listen(
  app: App,
  host: string,
  port: number,
  front?: Front,
  times: ClientTimes = USUAL_TIMES,
): Promise<Listening> {
  // HTTP/1.0 has no host header; Node itself refuses HTTP/1.1 without one.
  const options = { overrideGlobalObjects: false, hostname: "localhost" };
  const respond = getRequestListener((request, env) => app.fetch(request, env), options);
  const server: Server = createServer(
    {
      headersTimeout: times.headMs,
      requestTimeout: times.requestMs,
      keepAliveTimeout: 65_000,
      maxHeaderSize: 32_768,
      connectionsCheckingInterval: Math.min(SLOW_CHECK_MS, times.headMs),
      // Any other offer is declined by answering as if it had not been made (RFC 9110, 7.8): curl --http2 and Java's client offer h2c with every request.
      shouldUpgradeCallback: (incoming) => server.listenerCount("upgrade") > 0 && offersWebSocket(incoming),
    },
    (incoming, outgoing) => {
      const next = (): void => void respond(incoming, outgoing);
      if (front === undefined) next();
      else front(incoming, outgoing, next);
    },
  );
  server.maxHeadersCount = 200;
  const sockets = new Sockets(server);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => reject(cannotListen(host, port, cause)));
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
  const reachable = shown === "0.0.0.0" || shown === "[::]" ? "127.0.0.1" : shown;
  return {
    server,
    host,
    port: address.port,
    url: `http://${reachable}:${address.port}`,
    drain: (graceMs) => sockets.drain(graceMs),
  };
}

/** Whether a request asks for a WebSocket, alone or among other protocols. */
function offersWebSocket({ headers }: IncomingMessage): boolean {
  return (headers.upgrade ?? "").split(",").some((one) => one.trim().toLowerCase() === "websocket");
}

function cannotListen(host: string, port: number, cause: NodeJS.ErrnoException): Error {
  const why =
    cause.code === "EADDRINUSE"
      ? "the port is in use; stop what listens there or give another --port"
      : cause.code === "EACCES"
        ? "ports below 1024 are for root; give another --port"
        : cause.code === "EADDRNOTAVAIL" || cause.code === "ENOTFOUND"
          ? "this machine has no such address; give another --host"
          : cause.message;
  return new Error(`cannot listen on ${host}:${port}: ${why}`, { cause });
}
