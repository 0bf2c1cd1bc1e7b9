import { spawn } from "node:child_process";
import type { AddressInfo } from "node:net";
import ssh2 from "ssh2";
import type { AuthContext, Connection, ServerChannel } from "ssh2";
import { serveSftp } from "./sftp-server.ts";

/** An SSH server of this test: runs what it is asked to with /bin/sh, and keeps what it saw. */
export interface TestSshServer {
  port: number;
  /** Public host key as in authorized_keys. */
  hostKey: string;
  /** Connections that got past the key exchange far enough to name a user. */
  users: string[];
  commands: string[];
  /** Environment variables that a client asked to set. */
  environment: Record<string, string>;
  /** Standard input of each command, in order. */
  inputs: string[];
  /** Connections at all. */
  connections: number;
  close(): Promise<void>;
}

/** A fresh key pair: the private half in PEM, the public half as in authorized_keys. */
export function makeKey(): { privateKey: string; publicKey: string } {
  const { private: privateKey, public: publicKey } = ssh2.utils.generateKeyPairSync("ed25519");
  return { privateKey, publicKey };
}

/** Starts a server that lets `clientKey` or `password` in. The first `refuse` connections are cut at once. */
export async function startSshServer(options: {
  clientKey?: string;
  password?: string;
  refuse?: number;
  /** Folder that SFTP serves; without one there is no SFTP. */
  sftpRoot?: string;
}): Promise<TestSshServer> {
  const host = makeKey();
  const sockets = new Set<Connection>();
  const seen: TestSshServer = {
    port: 0,
    hostKey: host.publicKey,
    users: [],
    commands: [],
    environment: {},
    inputs: [],
    connections: 0,
    close: () => Promise.resolve(),
  };
  const server = new ssh2.Server({ hostKeys: [host.privateKey] }, (client) => {
    seen.connections += 1;
    sockets.add(client);
    client.on("error", () => undefined);
    client.on("close", () => sockets.delete(client));
    if (seen.connections <= (options.refuse ?? 0)) {
      client.end();
      return;
    }
    client.on("authentication", (context) => {
      seen.users.push(context.username);
      authenticate(context, options);
    });
    client.on("session", (accept) => {
      const session = accept();
      session.on("env", (acceptEnv, _reject, info) => {
        seen.environment[info.key] = info.val;
        (acceptEnv as (() => void) | undefined)?.();
      });
      const { sftpRoot } = options;
      if (sftpRoot !== undefined) session.on("sftp", (acceptSftp) => serveSftp(acceptSftp(), sftpRoot));
      session.on("exec", (acceptExec, _reject, info) => {
        seen.commands.push(info.command);
        execute(acceptExec(), info.command, seen);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  seen.port = (server.address() as AddressInfo).port;
  seen.close = async () => {
    for (const client of sockets) client.end();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return seen;
}

function authenticate(context: AuthContext, options: { clientKey?: string; password?: string }): void {
  if (context.method === "password" && context.password === options.password) context.accept();
  else if (context.method === "publickey" && options.clientKey !== undefined) {
    const allowed = ssh2.utils.parseKey(options.clientKey);
    if (!(allowed instanceof Error) && allowed.getPublicSSH().equals(context.key.data)) context.accept();
    else context.reject(["publickey"]);
  } else context.reject(["publickey", "password"]);
}

function execute(channel: ServerChannel, command: string, seen: TestSshServer): void {
  const input: Buffer[] = [];
  const child = spawn("/bin/sh", ["-c", command], { stdio: ["pipe", "pipe", "pipe"] });
  channel.on("data", (chunk: Buffer) => {
    input.push(chunk);
    child.stdin.write(chunk);
  });
  channel.on("end", () => child.stdin.end());
  channel.on("close", () => child.kill());
  child.stdin.on("error", () => undefined);
  child.stdout.on("data", (chunk: Buffer) => channel.write(chunk));
  child.stderr.on("data", (chunk: Buffer) => channel.stderr.write(chunk));
  child.on("close", (code) => {
    seen.inputs.push(Buffer.concat(input).toString());
    channel.exit(code ?? 1);
    channel.end();
  });
}
