import { type ChildProcess, execFile, spawn } from "node:child_process";
import { access, chown, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import postgres from "postgres";

const run = promisify(execFile);

/** Debian's user without rights; Postgres refuses to run as root. Source: Debian Policy 9.2.2. */
const NOBODY = 65_534;

/** A Postgres server of a test's own. */
export interface TestPostgres {
  /** Path of its Unix socket: unlike a port, nobody else can take it while the server is down. */
  socket: string;
  /** URL of a TCP port that leads to the socket, with a password in it. */
  url(port: number): string;
  /** A client of the test's own. */
  client(): postgres.Sql;
  /** Ends it as a power cut would. */
  kill(): Promise<void>;
  /** Starts it again on the same files. */
  start(): Promise<void>;
  /** Ends it and removes its files. */
  close(): Promise<void>;
}

/** Folder of Postgres' programs: Debian keeps them off PATH. */
async function programs(): Promise<string> {
  const base = "/usr/lib/postgresql";
  const versions = (await readdir(base).catch(() => [])).toSorted((a, b) => Number(b) - Number(a));
  for (const version of versions) {
    const folder = join(base, version, "bin");
    const there = await access(join(folder, "initdb")).then(
      () => true,
      () => false,
    );
    if (there) return folder;
  }
  throw new Error("Postgres is not installed; apt-get install -y postgresql");
}

/** Starts a Postgres with an empty database `gorkheavy` on a Unix socket. */
export async function startPostgres(): Promise<TestPostgres> {
  const folder = await programs();
  const directory = await mkdtemp(join(tmpdir(), "gorkheavy-postgres-"));
  const asRoot = process.getuid?.() === 0;
  if (asRoot) await chown(directory, NOBODY, NOBODY);
  const unprivileged = asRoot ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"] : ["env"];
  const [program = "", ...prefix] = unprivileged;
  const data = join(directory, "data");
  // Names and messages of another language would not be compared with.
  const env = { PATH: process.env["PATH"] ?? "", LC_ALL: "C", HOME: directory };
  await run(
    program,
    [...prefix, join(folder, "initdb"), "-D", data, "-U", "keeper", "-A", "trust", "--no-sync", "-E", "UTF8"],
    { env, cwd: directory },
  );
  const socket = join(directory, ".s.PGSQL.5432");
  const connect = (to: string): postgres.Sql =>
    postgres({ path: socket, user: "keeper", database: to, max: 1, onnotice: () => undefined, backoff: () => 0 });
  let server: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    const args = ["-D", data, "-c", "listen_addresses=", "-c", `unix_socket_directories=${directory}`];
    server = spawn(program, [...prefix, join(folder, "postgres"), ...args], { stdio: "ignore", env, cwd: directory });
    await answering(() => connect("postgres"));
  };
  const kill = async (): Promise<void> => {
    const victim = server;
    if (victim === undefined || victim.exitCode !== null || victim.signalCode !== null) return;
    const gone = new Promise((resolve) => victim.once("exit", resolve));
    victim.kill("SIGKILL");
    await gone;
    // Its children see that it is gone and end by themselves; a new one refuses to start before.
    await delay(100);
  };
  await start();
  const admin = connect("postgres");
  await admin`CREATE DATABASE gorkheavy`;
  await admin.end();
  return {
    socket,
    url: (port) => `postgres://keeper:not-a-real-secret@127.0.0.1:${port}/gorkheavy`,
    client: () => connect("gorkheavy"),
    kill,
    start,
    close: async () => {
      await kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function answering(connect: () => postgres.Sql): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const client = connect();
    try {
      await client`SELECT 1`;
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await delay(50);
    } finally {
      await client.end({ timeout: 0 });
    }
  }
}
