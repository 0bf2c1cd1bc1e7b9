// The datacentre's outer process, in the host's network: serves what machines download, brings ports of the lab to
// 127.0.0.1, and keeps the inner process, which holds everything else in namespaces of its own and dies with this one.
import { spawn } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isolated } from "../nodes/isolation.ts";
import { createLabNetwork, labNetworkExists } from "../nodes/network.ts";
import { labOf } from "../lab.ts";
import { forward, listen } from "../release/forward.ts";
import { createReleaseServer } from "../release/server.ts";
import { acquireLock } from "../tools/lock.ts";
import { readDatacentreConfig } from "./config.ts";
import { callControl, type DatacentreStatus, Forward, serveControl } from "./control.ts";
import { InsideStatus, insideSocket, releaseSocket } from "./inside-status.ts";

const since = new Date().toISOString();
const lab = labOf(process.argv[2]);
await mkdir(lab.runDir, { recursive: true, mode: 0o700 });
const unlock = await acquireLock(lab.datacentreLock, `datacentre of lab ${lab.name}`);
const config = await readDatacentreConfig(lab);
const forwards: Forward[] = [];

await listen(createReleaseServer({ files: async () => (await readDatacentreConfig(lab)).files, log }), {
  path: releaseSocket(lab),
});

if (!(await labNetworkExists(lab.name))) await createLabNetwork(lab.name);
const argv = [
  process.execPath,
  "--disable-warning=ExperimentalWarning",
  join(import.meta.dirname, "inside.ts"),
  lab.name,
];
const [program = "", ...args] = isolated(lab.name, argv);
// A process group of its own, so that it can be asked to stop; it dies with this process in any case.
const inside = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"], detached: true });
const ready = new Promise<void>((resolve, reject) => {
  inside.stdout.on("data", (chunk: Buffer) => {
    if (chunk.toString().includes("ready")) resolve();
    process.stdout.write(chunk);
  });
  inside.on("error", reject);
  inside.on("exit", (code, signal) =>
    reject(new Error(`the inner process ended (exit code ${code}, signal ${signal})`)),
  );
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    log(`${signal}: stopping`);
    if (inside.pid) process.kill(-inside.pid, "SIGTERM");
  });
}
process.on("SIGHUP", () => log("SIGHUP: ignored, the lab outlives its terminal"));

try {
  await ready;
  await serveControl(lab.controlSocket, { status, openForward });
  log("datacentre is up");
} catch (error) {
  log(`datacentre: ${error instanceof Error ? error.message : String(error)}`);
  if (inside.pid && inside.exitCode === null) process.kill(-inside.pid, "SIGKILL");
  await end(1);
}
inside.on("exit", (code) => void end(code ?? 1));

async function end(code: number): Promise<never> {
  await rm(lab.controlSocket, { force: true });
  await unlock();
  process.exit(code);
}

async function status(): Promise<DatacentreStatus> {
  const { machines } = await callControl(insideSocket(lab), "/status", InsideStatus);
  return { lab: lab.name, pid: process.pid, since, root: config.root, machines, forwards };
}

/** Opens a way in: the outer end here, the inner end where the lab's addresses are. The same way twice is one way. */
async function openForward(wanted: Forward): Promise<Forward> {
  if ("path" in wanted.from) {
    await callControl(insideSocket(lab), "/forwards", Forward, wanted);
    const before = forwards.findIndex((f) => sameFrom(f.from, wanted.from));
    if (before === -1) forwards.push(wanted);
    else forwards[before] = wanted;
    return wanted;
  }
  const known = forwards.find(
    (f) => JSON.stringify(f.to) === JSON.stringify(wanted.to) && sameFrom(f.from, wanted.from),
  );
  if (known) return known;
  const path = join(lab.runDir, `forward-${forwards.length}.sock`);
  await callControl(insideSocket(lab), "/forwards", Forward, { from: { path }, to: wanted.to });
  const server = await forward(wanted.from, { path });
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : wanted.from.port;
  const opened: Forward = { from: { host: "127.0.0.1", port }, to: wanted.to };
  forwards.push(opened);
  return opened;
}

function sameFrom(open: Forward["from"], wanted: Forward["from"]): boolean {
  if ("path" in open) return "path" in wanted && open.path === wanted.path;
  return !("path" in wanted) && (wanted.port === 0 || wanted.port === open.port);
}

function log(line: string): void {
  process.stdout.write(`${new Date().toISOString()} ${line}\n`);
}
