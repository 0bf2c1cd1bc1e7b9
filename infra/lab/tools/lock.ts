import { randomBytes } from "node:crypto";
import { link, mkdir, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { processStart } from "./process-start.ts";

/** Who holds a lock: enough to tell the process from a later one with the same id. */
export interface LockHolder {
  pid: number;
  /** When it started, clock ticks after the host's boot: {@link processStart}. */
  startTicks: number;
  /** What it is doing, for messages. */
  purpose: string;
  /** ISO 8601. */
  since: string;
}

/** Longest time that it may take to clear a dead owner's lock away, ms. */
const CLEAR_MS = 10_000;

/** Raised by `acquireLock` when another living process holds the lock. */
export class LockHeld extends Error {
  override readonly name = "LockHeld";
  readonly path: string;
  readonly holder: LockHolder;
  constructor(path: string, holder: LockHolder) {
    super(`process ${holder.pid} (${holder.purpose}, since ${holder.since}) holds ${path}`);
    this.path = path;
    this.holder = holder;
  }
}

/**
 * Takes a lock file; a lock whose process has died is taken over.
 * @param options.waitMs how long to wait for another holder; 0 gives up at once
 * @returns a function that gives the lock back
 * @throws LockHeld
 */
export async function acquireLock(
  path: string,
  purpose: string,
  options: { waitMs?: number } = {},
): Promise<() => Promise<void>> {
  await mkdir(dirname(path), { recursive: true });
  const mine: LockHolder = {
    pid: process.pid,
    startTicks: (await processStart(process.pid))?.ticks ?? 0,
    purpose,
    since: new Date().toISOString(),
  };
  const deadline = Date.now() + (options.waitMs ?? 0);
  const beside = `${path}.${randomBytes(6).toString("hex")}`;
  await writeFile(beside, JSON.stringify(mine), { flag: "wx", mode: 0o600 });
  try {
    for (;;) {
      // A link is there at once with its content: nobody ever reads half of it.
      const isMine = await link(beside, path).then(
        () => true,
        (error: unknown) => {
          if (isAlreadyThere(error)) return false;
          throw error;
        },
      );
      if (isMine) return async () => rm(path, { force: true });
      const holder = await readLock(path);
      if (!holder) await clearStale(path);
      else if (Date.now() >= deadline) throw new LockHeld(path, holder);
      else await delay(200);
    }
  } finally {
    await rm(beside, { force: true });
  }
}

/** Takes a dead owner's lock away. Only one at a time may, so that none takes it from the one who just got it. */
async function clearStale(path: string): Promise<void> {
  const guard = `${path}.taking`;
  try {
    await (await open(guard, "wx", 0o600)).close();
  } catch (error) {
    if (!isAlreadyThere(error)) throw error;
    const seen = await stat(guard).catch(() => undefined);
    if (seen !== undefined && Date.now() - seen.mtimeMs > CLEAR_MS) await rm(guard, { force: true });
    await delay(20);
    return;
  }
  try {
    if ((await readLock(path)) === undefined) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

/** The living holder of a lock file, or undefined when it is free, stale or unreadable. */
export async function readLock(path: string): Promise<LockHolder | undefined> {
  for (let attempt = 0; attempt < 2; attempt++) {
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text === undefined) return undefined;
    const holder = parseHolder(text);
    if (holder) return (await lives(holder)) ? holder : undefined;
    // Written in this very moment by somebody else: its content follows its creation.
    await delay(100);
  }
  return undefined;
}

/** Writes the lock of another process, e.g. of a daemon that was just started, in one step. */
export async function writeLock(path: string, pid: number, purpose: string): Promise<void> {
  const holder: LockHolder = {
    pid,
    startTicks: (await processStart(pid))?.ticks ?? 0,
    purpose,
    since: new Date().toISOString(),
  };
  await writeFile(path, JSON.stringify(holder), { mode: 0o600 });
}

/** Whether the holder still runs; one that has ended holds nothing, even while its parent has not noticed. */
async function lives({ pid, startTicks }: LockHolder): Promise<boolean> {
  const start = await processStart(pid);
  return start !== undefined && !start.zombie && start.ticks === startTicks;
}

function parseHolder(text: string): LockHolder | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return undefined;
    const { pid, startTicks, purpose, since } = value as Record<string, unknown>;
    return typeof pid === "number" &&
      // A lab that an earlier checkout started wrote it as text.
      (typeof startTicks === "number" || typeof startTicks === "string") &&
      typeof purpose === "string" &&
      typeof since === "string"
      ? { pid, startTicks: Number(startTicks), purpose, since }
      : undefined;
  } catch {
    return undefined;
  }
}

function isAlreadyThere(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EEXIST";
}
