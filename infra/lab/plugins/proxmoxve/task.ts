import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { PveError } from "./client.ts";
import type { PveClient } from "./client.ts";

const statusSchema = z.looseObject({ status: z.string(), exitstatus: z.string().optional() });
const logSchema = z.array(z.looseObject({ n: z.number(), t: z.string() }));

/** The provider asks once a second; the lab's tasks are short, so this one asks more often. */
const POLL_MS = 200;

/**
 * Waits for a task's end. Answers its warnings. @throws Error with what was tried, the exit status and the end of the
 * task's log.
 */
export async function waitForTask(
  client: PveClient,
  node: string,
  upid: unknown,
  what: string,
  signal: AbortSignal,
): Promise<string[]> {
  const task = z.string(`${what}: the host gave no task id`).parse(upid);
  const path = `nodes/${node}/tasks/${encodeURIComponent(task).replaceAll("%3A", ":").replaceAll("%40", "@")}`;
  for (;;) {
    const status = await readStatus(client, path, signal);
    if (status?.status === "stopped") {
      const exit = status.exitstatus ?? "";
      if (exit === "OK") return [];
      const lines = await readLog(client, path, signal);
      if (/^WARNINGS: /.test(exit)) return lines.filter((line) => line.includes("WARN:"));
      throw new Error(`${what}: ${exit}${lines.length > 0 ? `\n${lines.join("\n")}` : ""}`);
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

async function readStatus(
  client: PveClient,
  path: string,
  signal: AbortSignal,
): Promise<z.output<typeof statusSchema> | undefined> {
  try {
    return statusSchema.parse(await client.get(`${path}/status`, undefined, signal));
  } catch (error) {
    // A task may show up a little later than its id. 599 is a node that is busy starting a machine.
    if (error instanceof PveError && (error.status === 400 || error.status === 599)) return undefined;
    throw error;
  }
}

async function readLog(client: PveClient, path: string, signal: AbortSignal): Promise<string[]> {
  const parsed = logSchema.safeParse(await client.get(`${path}/log`, undefined, signal).catch(() => []));
  return parsed.success ? parsed.data.map((line) => line.t).slice(-20) : [];
}

/** Refusals with status 500 that will be the same the next time. */
const FINAL = /already exists|refusing to override|does not exist|not configured for content-type/;

/** Starts a task and waits for it; three attempts where the host itself failed (5xx). */
export async function runTask(
  client: PveClient,
  node: string,
  what: string,
  start: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<string[]> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await waitForTask(client, node, await start(), what, signal);
    } catch (error) {
      if (!(error instanceof PveError)) throw error;
      // The first attempt got through after all, though its answer did not.
      if (attempt > 1 && error.exists) return [];
      if (error.status < 500 || FINAL.test(error.message) || attempt >= 3) {
        throw new Error(`${what}: ${error.message}`, { cause: error });
      }
      await sleep(1000, undefined, { signal });
    }
  }
}
