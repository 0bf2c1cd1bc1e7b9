import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import { bundle } from "../../../runtime/bundle.mjs";
import { renderEnsembleConfig } from "../../../runtime/contracts/ensemble-config.ts";
import { freePort } from "../peers/gateway.ts";
import { treeUse } from "../peers/process-tree.ts";
import type { DialectName } from "./clients.ts";

/** Core of the server; load and source are on the other one. */
export const SERVER_CORE = 0;

/** Has a process collect its garbage at SIGUSR2, so that what is left is what it needs. */
const COLLECTS = `data:text/javascript,${encodeURIComponent("process.on('SIGUSR2', () => { globalThis.gc(); globalThis.gc(); })")}`;
const START_WITHIN_MS = 30_000;

/** A server under test. */
export interface RunningServer {
  url: string;
  /** Resident memory after garbage was collected, KiB. */
  restingKib(): Promise<number>;
  /** CPU time so far, ms. */
  cpuMs(): Promise<number>;
  stop(): Promise<void>;
}

/** Who takes part, with the kinds of connection that are measured of it. */
export interface Contestant {
  name: string;
  dialects: readonly DialectName[];
  start(upstream: string): Promise<RunningServer>;
}

/** The orchestrator as its container starts it, and the peers. */
export function contestants(): Contestant[] {
  const peer = (name: string, kind: DialectName): Contestant => ({
    name,
    dialects: [kind],
    start: async (upstream) => {
      const port = await freePort();
      return pinned(port, [join(import.meta.dirname, "relay.ts"), kind, `${port}`, upstream]);
    },
  });
  return [
    peer("ws, bare echo", "echo"),
    peer("ws, bare relay", "ws"),
    peer("socket.io, the same relay", "socketio"),
    { name: "gorkheavy", dialects: ["horn", "sse", "draft"], start: startOurs },
  ];
}

async function startOurs(upstream: string): Promise<RunningServer> {
  const dir = await mkdtemp(join(tmpdir(), "gorkheavy-bench-streams-"));
  const [entry, config, port] = [join(dir, "gorkheavy.mjs"), join(dir, "ensemble.yaml"), await freePort()];
  await bundle(entry);
  await writeFile(
    config,
    renderEnsembleConfig({
      members: [{ name: "mock", role: "candidate", url: upstream, api: "openai", model: "mock", maxTokens: 131_072 }],
      limits: { concurrent: 4_096 },
    }),
  );
  const running = await pinned(port, [entry, "serve", "--config", config, "--port", `${port}`, "--log-level", "error"]);
  return {
    ...running,
    stop: async () => {
      await running.stop();
      await rm(dir, { recursive: true });
    },
  };
}

async function pinned(port: number, command: readonly string[]): Promise<RunningServer> {
  const node = [process.execPath, "--expose-gc", "--import", COLLECTS];
  const child = execa("taskset", ["-c", `${SERVER_CORE}`, ...node, ...command], {
    reject: false,
    stdin: "ignore",
    all: true,
    forceKillAfterDelay: 5_000,
  });
  const url = `http://127.0.0.1:${port}`;
  const deadline = performance.now() + START_WITHIN_MS;
  while (
    !(await fetch(url).then(
      () => true,
      () => false,
    ))
  ) {
    if (child.exitCode !== null && child.exitCode !== undefined) throw new Error(`ended: ${(await child).all}`);
    if (performance.now() > deadline) throw new Error(`${command.join(" ")} does not answer`);
    await delay(20);
  }
  const { pid } = child;
  if (pid === undefined) throw new Error("no process");
  return {
    url,
    restingKib: async () => {
      for (let times = 0; times < 3; times++) {
        process.kill(pid, "SIGUSR2");
        await delay(300);
      }
      return (await treeUse(pid)).rssMib * 1_024;
    },
    cpuMs: async () => (await treeUse(pid)).cpuMs,
    stop: async () => {
      child.kill("SIGKILL");
      await child;
    },
  };
}
