import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** One request that a fake server got. */
export interface FakeCall {
  method: string;
  /** Without the query. */
  path: string;
  headers: IncomingHttpHeaders;
  /** The JSON body; an empty object where there is none. */
  body: Record<string, unknown>;
  /** Settles when the connection is closed before the answer is whole. */
  closedEarly: Promise<void>;
}

/** A server of a test's own making on 127.0.0.1. */
export interface FakeServer {
  url: string;
  /** All requests so far, in order. */
  calls: FakeCall[];
  close(): Promise<void>;
}

/** Starts one. @param answer writes the answer to a call. @param port 0 takes a free one */
export async function startFakeServer(
  answer: (call: FakeCall, response: ServerResponse) => void | Promise<void>,
  port = 0,
): Promise<FakeServer> {
  const calls: FakeCall[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const text = Buffer.concat(parts).toString();
      const call: FakeCall = {
        method: request.method ?? "GET",
        path: (request.url ?? "/").split("?")[0] ?? "/",
        headers: request.headers,
        body: text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : {},
        closedEarly: new Promise((resolve) => {
          response.on("close", () => {
            if (!response.writableFinished) resolve();
          });
        }),
      };
      calls.push(call);
      void Promise.resolve(answer(call, response)).catch(() => response.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Answers with a JSON document. */
export function sayJson(response: ServerResponse, value: unknown, status = 200, headers = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
}
