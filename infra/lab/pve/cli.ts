import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { text as readText } from "node:stream/consumers";
import { z } from "zod";
import { issueLabCertificates } from "./certificates.ts";
import { createPve } from "./pve.ts";
import { parseApiToken } from "./token.ts";

/** Settings of the API on its own, as the command line has them. */
export interface RunPveOptions {
  /** TCP port, 1 to 65535. @default 8006 */
  port?: number | string;
  /** `none` keeps records only; what boots machines comes with the lab itself. @default none */
  machines?: string;
  /** `USER@REALM!TOKENID=UUID`; `-` reads it from standard input, so that it is in no list of processes. */
  token?: string;
  /** Address to listen on. @default 127.0.0.1 */
  address?: string;
  /** Node name. @default pve */
  node?: string;
  /** Folder for VMs, files and certificates; made when missing, kept. @default a temporary one, removed at the end */
  data?: string;
  /** Ends the server when aborted, beside SIGINT and SIGTERM. */
  signal?: AbortSignal;
  /** Takes each line of output. @default standard output */
  print?: (line: string) => void;
}

/** A mistake in what the user wrote; its message is all that needs to be shown. */
export class PveUsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "PveUsageError";
  }
}

const PortSchema = z.coerce.number().int().min(1).max(65_535);

/**
 * Serves the Proxmox VE API until Ctrl-C, with nothing behind it, and prints where it is and which CA file to trust.
 * @throws PveUsageError that names the setting, before anything is created
 */
export async function runPve(options: RunPveOptions): Promise<void> {
  const print = options.print ?? ((line: string) => process.stdout.write(`${line}\n`));
  const port = PortSchema.safeParse(options.port ?? 8006);
  if (!port.success)
    throw new PveUsageError(`--port: got ${JSON.stringify(options.port)}, want a whole number from 1 to 65535`);
  const machines = options.machines ?? "none";
  if (machines !== "none")
    throw new PveUsageError(
      `--machines: got '${machines}', want none; \`npm run lab\` starts the API with machines behind it`,
    );
  const token = checkedToken(options.token === "-" ? (await readText(process.stdin)).trim() : options.token);
  const node = options.node ?? "pve";
  if (!/^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?$/.test(node)) {
    throw new PveUsageError(`--node: got '${node}', want letters, digits and dashes`);
  }
  const address = options.address ?? "127.0.0.1";
  const dataDir = options.data === undefined ? await mkdtemp(join(tmpdir(), "gorkheavy-pve-")) : resolve(options.data);
  try {
    await serve({ node, address, port: port.data, dataDir, token, print, signal: options.signal });
  } finally {
    if (options.data === undefined) await rm(dataDir, { recursive: true, force: true });
  }
}

interface Served {
  node: string;
  address: string;
  port: number;
  dataDir: string;
  token: string;
  print: (line: string) => void;
  signal: AbortSignal | undefined;
}

async function serve({ node, address, port, dataDir, token, print, signal }: Served): Promise<void> {
  const hosts = [{ name: node, addresses: [address, "127.0.0.1", "localhost"] }];
  const certificates = await issueLabCertificates(join(dataDir, "certificates"), hosts);
  const tls = certificates.servers[node];
  if (tls === undefined) throw new Error(`no certificate was made for node '${node}'`);
  const pve = await createPve({ node, address, port, dataDir, machines: undefined, token, tls, log: print });
  print(`Proxmox VE API: ${pve.endpoint}`);
  print(`node:           ${node} (VMs are records only, nothing boots)`);
  print(`CA file:        ${certificates.caFile} (SSL_CERT_FILE=… for the provider, --cacert … for curl)`);
  print(`token:          ${parseApiToken(token).id} (its secret is the one you gave)`);
  print("Ctrl-C ends it.");
  await untilStopped(signal);
  await pve.close();
  print("stopped");
}

function checkedToken(token: string | undefined): string {
  if (token === undefined || token === "") throw new PveUsageError("--token: missing, want USER@REALM!TOKENID=UUID");
  try {
    parseApiToken(token);
    return token;
  } catch (error) {
    throw new PveUsageError(`--${error instanceof Error ? error.message : "token: malformed"}`);
  }
}

async function untilStopped(signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((done) => {
    const finish = () => {
      process.off("SIGINT", finish);
      process.off("SIGTERM", finish);
      signal?.removeEventListener("abort", finish);
      done();
    };
    process.on("SIGINT", finish);
    process.on("SIGTERM", finish);
    signal?.addEventListener("abort", finish);
    if (signal?.aborted === true) finish();
  });
}
