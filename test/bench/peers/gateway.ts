import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import type { Report } from "../../../infra/lab/tools/cache.ts";

/** Model name that every gateway passes on to its upstream. */
export const MODEL = "mock";

/** What is put in front of a model server: how it is had, started and asked. */
export interface Gateway {
  /** Name in tables, with the version where it has one. */
  name: string;
  /**
   * Makes sure that it is there; the first time it may be installed, which takes minutes.
   * @returns how it is started
   * @throws Error that says why it cannot be had
   */
  prepare(report: Report): Promise<PreparedGateway>;
}

/** A gateway that is installed. */
export interface PreparedGateway {
  name: string;
  /** Starts it in front of `upstreams`, the first of which answers and the others stand in for it. */
  start(options: GatewayOptions): Promise<RunningGateway>;
}

/** What a gateway is started with. */
export interface GatewayOptions {
  /** Base addresses of model servers with the OpenAI API, such as `http://127.0.0.1:9000`, without `/v1`. */
  upstreams: readonly [string, ...string[]];
  /** CPU core that all its processes are pinned to. */
  core: number;
  /** Empty folder for its files; the caller removes it. */
  work: string;
  /**
   * Longest time of one call of a model, ms; where a gateway has such a setting. With it faults are measured: the upstreams may be out of order
   * from the beginning, so a gateway counts as started with its first answer of any kind. Absent: its default, and a whole answer is waited for.
   */
  timeoutMs?: number;
}

/** A gateway that has answered once. */
export interface RunningGateway {
  /** Base address, without `/v1`. */
  url: string;
  /** Headers that every request must carry beside its content type. */
  headers: Record<string, string>;
  /** From the start of its process to its first whole answer, ms. */
  readyMs: number;
  /** Its first process; the others are that one's children. */
  pid: number;
  /** True while its first process lives. */
  alive(): boolean;
  stop(): Promise<void>;
}

/** How often a starting gateway is asked, ms. */
const ASK_EVERY_MS = 5;
/** LiteLLM takes some 10 s on an idle core and more on a busy one. */
const START_WITHIN_MS = 180_000;
/** Time between SIGTERM and SIGKILL. */
const STOP_WITHIN_MS = 5_000;
/** Last characters of a process's own words that go into an error. */
const WORDS = 2_000;

/**
 * Starts a gateway's process pinned to a core and asks it until it answers the question that it is for: a port that is open says little.
 * @throws Error with its last words when it ends or does not answer
 */
export async function startPinned(
  gateway: { name: string; url: string; headers?: Record<string, string>; env?: Record<string, string> },
  options: Pick<GatewayOptions, "core" | "timeoutMs">,
  command: readonly string[],
): Promise<RunningGateway> {
  const began = performance.now();
  const child = execa("taskset", ["-c", `${options.core}`, ...command], {
    reject: false,
    buffer: false,
    stdin: "ignore",
    all: true,
    forceKillAfterDelay: STOP_WITHIN_MS,
    env: { ...gateway.env },
  });
  let words = "";
  child.all.on("data", (part: Buffer) => (words = `${words}${part.toString()}`.slice(-WORDS)));
  const ended = { yes: false };
  const end = child.then(() => (ended.yes = true));
  const stop = async (): Promise<void> => {
    child.kill();
    await end;
  };
  const headers = gateway.headers ?? {};
  const anyAnswer = options.timeoutMs !== undefined;
  const failed = (what: string): Error => new Error(`${gateway.name} ${what}; its last words:\n${words}`);
  while (!(await answers(gateway.url, headers, anyAnswer))) {
    if (ended.yes) throw failed("ended before it answered");
    if (performance.now() - began > START_WITHIN_MS) {
      await stop();
      throw failed(`did not answer within ${START_WITHIN_MS / 1000} s`);
    }
    await delay(ASK_EVERY_MS);
  }
  if (child.pid === undefined) throw failed("has no process");
  return {
    url: gateway.url,
    headers,
    readyMs: performance.now() - began,
    pid: child.pid,
    alive: () => !ended.yes,
    stop,
  };
}

async function answers(url: string, headers: Record<string, string>, any: boolean): Promise<boolean> {
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "Are you there?" }] }),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    return any || (response.ok && text.includes('"choices"'));
  } catch {
    return false;
  }
}

/** A port of 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
