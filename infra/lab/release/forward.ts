import { chmod, rm } from "node:fs/promises";
import { createConnection, createServer, type NetConnectOpts, type Server } from "node:net";

/** Either end of a forward: a TCP address in this process's network namespace, or a Unix socket, which crosses namespaces. */
export type Endpoint = { host: string; port: number } | { path: string };

/**
 * Passes every connection to `from` on to `to`, bytes untouched, half-closes kept.
 * A Unix socket at `from` is for the owner only and replaces a stale one.
 * @throws the listen error, e.g. EADDRINUSE with the address
 */
export async function forward(from: Endpoint, to: Endpoint): Promise<Server> {
  const target: NetConnectOpts = "path" in to ? { path: to.path } : { host: to.host, port: to.port };
  const server = createServer({ allowHalfOpen: true }, (inbound) => {
    const outbound = createConnection({ ...target, allowHalfOpen: true });
    inbound.pipe(outbound).pipe(inbound);
    inbound.on("error", () => outbound.destroy());
    outbound.on("error", () => inbound.destroy());
    inbound.on("close", () => outbound.destroy());
    outbound.on("close", () => inbound.destroy());
  });
  await listen(server, from);
  return server;
}

/** Starts listening; resolves when the socket is open. */
export async function listen(server: Server, at: Endpoint): Promise<void> {
  if ("path" in at) await rm(at.path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen("path" in at ? { path: at.path } : { host: at.host, port: at.port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  if ("path" in at) await chmod(at.path, 0o600);
}
