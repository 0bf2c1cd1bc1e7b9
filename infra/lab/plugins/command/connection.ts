import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Duplex } from "node:stream";
import ssh2 from "ssh2";
import type { Client, ConnectConfig, ParsedKey } from "ssh2";
import { z } from "zod";

const endpointSchema = z.object({
  host: z.string(),
  port: z.number(),
  user: z.string(),
  /** In seconds; 0 means without limit. */
  perDialTimeout: z.number(),
  /** -1 means without limit. */
  dialErrorLimit: z.number(),
  privateKey: z.string().optional(),
  privateKeyPassword: z.string().optional(),
  password: z.string().optional(),
  agentSocketPath: z.string().optional(),
  hostKey: z.string().optional(),
});

/** How to reach a machine by SSH, with every default filled in. */
export const connectionSchema = endpointSchema.extend({ proxy: endpointSchema.optional() });

type Endpoint = z.output<typeof endpointSchema>;
export type Connection = z.output<typeof connectionSchema>;

/** An error that another attempt cannot mend. */
class FatalConnectionError extends Error {}

/** An open connection; `close` also ends the bastion's, if there is one. */
export interface RemoteHost {
  client: Client;
  close(): void;
}

/**
 * Connects, and tries again as the provider does: 100 ms, growing by half up to 5 s, until `dialErrorLimit` attempts
 * failed (source: pulumi sdk/go/common/util/retry). The host key is compared in the key exchange, so before any user
 * name, key, password or command leaves this machine; a wrong one ends the attempts at once.
 */
export async function connect(
  connection: Connection,
  signal: AbortSignal,
  log: (text: string) => void,
): Promise<RemoteHost> {
  const { proxy } = connection;
  if (proxy === undefined) {
    const client = await dialWithRetry("Dial", connection, signal, log, () => dial(connection, signal));
    return { client, close: () => client.end() };
  }
  const bastion = await dialWithRetry("Dial proxy", proxy, signal, log, () => dial(proxy, signal));
  try {
    const client = await dialWithRetry("Dial from proxy", connection, signal, log, async () =>
      dial(connection, signal, await forward(bastion, connection)),
    );
    return {
      client,
      close: () => {
        client.end();
        bastion.end();
      },
    };
  } catch (error) {
    bastion.end();
    throw error;
  }
}

async function dialWithRetry<T>(
  what: string,
  endpoint: Endpoint,
  signal: AbortSignal,
  log: (text: string) => void,
  attempt: () => Promise<T>,
): Promise<T> {
  const limit = endpoint.dialErrorLimit;
  for (let failed = 1, delayMs = 100; ; failed += 1, delayMs = Math.min(delayMs * 1.5, 5000)) {
    try {
      return await attempt();
    } catch (error) {
      const reason = error instanceof Error ? error.message : "unknown error";
      if (error instanceof FatalConnectionError || signal.aborted) throw error;
      if (limit >= 0 && failed > limit) {
        throw new Error(`${endpoint.host}:${endpoint.port}: after ${failed} failed attempts: ${reason}`, {
          cause: error,
        });
      }
      log(`${what} ${failed}/${limit < 0 ? "inf" : limit} failed: retrying (${endpoint.host}: ${reason})`);
      await sleep(delayMs, undefined, { signal });
    }
  }
}

function dial(endpoint: Endpoint, signal: AbortSignal, sock?: Duplex): Promise<Client> {
  const wanted = endpoint.hostKey === undefined ? undefined : parseHostKey(endpoint);
  const config = clientConfig(endpoint, wanted, sock);
  return new Promise<Client>((resolve, reject) => {
    const client = new ssh2.Client();
    let wrongKey: FatalConnectionError | undefined;
    const onAbort = (): void => {
      client.destroy();
      reject(abortReason(signal));
    };
    const fail = (error: Error): void => {
      signal.removeEventListener("abort", onAbort);
      client.destroy();
      reject(wrongKey ?? error);
    };
    if (signal.aborted) {
      reject(abortReason(signal));
      return;
    }
    signal.addEventListener("abort", onAbort, { once: true });
    client.once("ready", () => {
      signal.removeEventListener("abort", onAbort);
      resolve(client);
    });
    // Errors after `ready` reach the running command by its channel's close; without a listener they would end the process.
    client.on("error", fail);
    client.once("close", () => fail(new Error("the connection was closed during the handshake")));
    try {
      client.connect({
        ...config,
        hostVerifier: (offered: Buffer) => {
          if (wanted === undefined || wanted.getPublicSSH().equals(offered)) return true;
          wrongKey = new FatalConnectionError(
            `${endpoint.host}:${endpoint.port}: host key mismatch: the machine offers ${fingerprint(offered)}, ` +
              `connection.hostKey is ${fingerprint(wanted.getPublicSSH())}. Nothing was sent to it. ` +
              "Find out which machine answers there before you change connection.hostKey.",
          );
          return false;
        },
      });
    } catch (error) {
      fail(new FatalConnectionError(error instanceof Error ? error.message : "bad connection settings"));
    }
  });
}

function clientConfig(endpoint: Endpoint, wanted: ParsedKey | undefined, sock: Duplex | undefined): ConnectConfig {
  const config: ConnectConfig = {
    host: endpoint.host,
    port: endpoint.port,
    username: endpoint.user,
    readyTimeout: endpoint.perDialTimeout * 1000,
    // A machine that reboots under a command says nothing more: find out within a minute.
    keepaliveInterval: 15_000,
    keepaliveCountMax: 4,
  };
  if (sock !== undefined) config.sock = sock;
  if (wanted !== undefined) config.algorithms = { serverHostKey: hostKeyAlgorithms(wanted) };
  if (endpoint.privateKey !== undefined) {
    const parsed = ssh2.utils.parseKey(endpoint.privateKey, endpoint.privateKeyPassword);
    if (parsed instanceof Error) {
      throw new FatalConnectionError(
        `connection.privateKey: cannot be read (${parsed.message}); give an OpenSSH private key` +
          (endpoint.privateKeyPassword === undefined ? ", and connection.privateKeyPassword if it is encrypted" : ""),
      );
    }
    config.privateKey = endpoint.privateKey;
    if (endpoint.privateKeyPassword !== undefined) config.passphrase = endpoint.privateKeyPassword;
  }
  if (endpoint.password !== undefined) config.password = endpoint.password;
  const agent = endpoint.agentSocketPath ?? process.env["SSH_AUTH_SOCK"];
  if (agent !== undefined && agent !== "") config.agent = agent;
  return config;
}

function parseHostKey(endpoint: Endpoint): ParsedKey {
  const parsed = ssh2.utils.parseKey(endpoint.hostKey ?? "");
  const key: unknown = Array.isArray(parsed) ? parsed[0] : parsed;
  if (parsed instanceof Error || key === undefined || Array.isArray(parsed)) {
    throw new FatalConnectionError(
      `${endpoint.host}: connection.hostKey: cannot be read; give one public key as in authorized_keys, ` +
        "such as `ssh-ed25519 AAAA…`",
    );
  }
  return parsed;
}

/** Only what fits the pinned key is offered, so that a machine with several keys shows the right one. */
function hostKeyAlgorithms(key: ParsedKey): ("ssh-rsa" | "rsa-sha2-256" | "rsa-sha2-512" | "ssh-ed25519")[] {
  if (key.type === "ssh-rsa") return ["rsa-sha2-512", "rsa-sha2-256"];
  return [key.type as "ssh-ed25519"];
}

function fingerprint(blob: Buffer): string {
  const type = blob.subarray(4, 4 + blob.readUInt32BE(0)).toString("latin1");
  return `${type} SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

function forward(bastion: Client, target: Endpoint): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    bastion.forwardOut("127.0.0.1", 0, target.host, target.port, (error, channel) => {
      if (error === undefined) resolve(channel);
      else reject(error);
    });
  });
}

function abortReason(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return new FatalConnectionError(reason instanceof Error ? reason.message : "cancelled");
}
