import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { stringify } from "yaml";
import type { EnsembleConfigInput } from "../../runtime/contracts/ensemble-config.ts";

/** The service as people start it, in a process of its own. */
export interface ServiceProcess {
  url: string;
  port: number;
  pid: number;
  /** Memory that it has in use now, bytes. */
  residentBytes(): Promise<number>;
  /** Files and sockets that it has open now. */
  openFiles(): Promise<number>;
  /** Lines of its log so far. */
  log: string[];
  signal(name: NodeJS.Signals): void;
  /** How it ended: its exit status, or the signal. */
  ended: Promise<number | NodeJS.Signals>;
  /** Kills it if it still runs, and removes its files. */
  close(): Promise<void>;
}

const ROOT = resolve(import.meta.dirname, "../..");
/** Longest wait until it listens, ms: two slow cores may do other things as well. */
const START_MS = 30_000;

/** Starts it with a configuration, on a free port. @param env further variables of its environment */
export async function startServiceProcess(
  config: EnsembleConfigInput,
  env: Readonly<Record<string, string>> = {},
): Promise<ServiceProcess> {
  const dir = await mkdtemp(join(tmpdir(), "gorkheavy-service-"));
  const file = join(dir, "ensemble.yaml");
  await writeFile(file, stringify(config));
  const child = spawn(process.execPath, [join(ROOT, "runtime/orchestrator/main.ts"), "--config", file, "--port", "0"], {
    stdio: ["ignore", "ignore", "pipe"],
    cwd: dir,
    env: { ...process.env, HOME: dir, XDG_STATE_HOME: dir, ...env },
  });
  const log: string[] = [];
  const ended = new Promise<number | NodeJS.Signals>((done) => {
    child.on("exit", (status, signal) => done(status ?? signal ?? -1));
  });
  const url = await listening(child, log);
  const pid = child.pid ?? 0;
  return {
    url,
    port: Number(new URL(url).port),
    pid,
    log,
    ended,
    residentBytes: async () => {
      const status = await readFile(`/proc/${pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
    },
    openFiles: async () => (await readdir(`/proc/${pid}/fd`)).length,
    signal: (name) => void child.kill(name),
    close: async () => {
      child.kill("SIGKILL");
      await ended;
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Waits for the log's line that says where it listens. */
function listening(child: ChildProcess, log: string[]): Promise<string> {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`the service does not listen: ${log.join("\n")}`)), START_MS);
    child.on("exit", () => fail(new Error(`the service ended: ${log.join("\n")}`)));
    if (child.stderr === null) return;
    createInterface({ input: child.stderr }).on("line", (line) => {
      log.push(line);
      const url = /"url":"(http:[^"]+)"/.exec(line)?.[1];
      if (!line.includes('"listening"') || url === undefined) return;
      clearTimeout(timer);
      done(url);
    });
  });
}
