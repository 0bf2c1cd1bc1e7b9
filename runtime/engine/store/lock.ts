import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { link, open, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { z } from "zod";
import { sleep } from "../../support/clock.ts";
import { codeOf } from "../../support/error-code.ts";

/** How often an owner shows that it lives, and the silence after which an owner on another machine counts as gone, ms. */
const SIGN_MS = 2_000;
const GONE_MS = 30_000;
/** Longest time that taking over a dead owner's lock may take, ms. */
const TAKE_OVER_MS = 10_000;

const OwnerSchema = z.strictObject({ token: z.string(), machine: z.string(), pid: z.int(), ticks: z.string() });
type Owner = z.output<typeof OwnerSchema>;

/** A lock that is held. */
export interface Held {
  /** Aborts when another has taken the lock over, as it may when this process did not show for long that it lives. */
  lost: AbortSignal;
  release(): Promise<void>;
}

/**
 * Takes a lock that is a file, with its owner written into it; undefined when somebody who lives holds it.
 * An owner on this machine is known to live by its process, one elsewhere by the file's time.
 */
export async function tryLock(path: string): Promise<Held | undefined> {
  const token = randomBytes(12).toString("hex");
  const beside = `${path}.${token}.tmp`;
  await writeFile(beside, JSON.stringify({ token, ...self() } satisfies Owner), { flag: "wx" });
  try {
    if (await place(beside, path)) return held(path, token);
    if (!(await isDead(path))) return undefined;
    return (await takeOver(beside, path)) ? held(path, token) : undefined;
  } finally {
    await rm(beside, { force: true });
  }
}

/** Waits until the lock is free. @param waiting called before each look */
export async function lock(
  path: string,
  signal: AbortSignal,
  waiting: () => Promise<void> | void,
  everyMs = 200,
): Promise<Held> {
  for (;;) {
    signal.throwIfAborted();
    const taken = await tryLock(path);
    if (taken !== undefined) return taken;
    await waiting();
    await sleep(everyMs, signal);
  }
}

/** Puts the file there unless there is one: at once with its content where the file system has hard links. */
async function place(beside: string, path: string): Promise<boolean> {
  try {
    await link(beside, path);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes(codeOf(error) ?? "")) throw error;
  }
  try {
    const handle = await open(path, "wx");
    await handle.writeFile(await readFile(beside)).finally(() => handle.close());
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Replaces a dead owner's lock. Only one at a time may try, so that none takes it from the one who just did. */
async function takeOver(beside: string, path: string): Promise<boolean> {
  const guard = `${path}.taking`;
  try {
    await (await open(guard, "wx")).close();
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    const seen = await stat(guard).catch(() => undefined);
    if (seen !== undefined && Date.now() - seen.mtimeMs > TAKE_OVER_MS) await rm(guard, { force: true });
    return false;
  }
  try {
    if (!(await isDead(path))) return false;
    await rename(beside, path);
    return true;
  } finally {
    await rm(guard, { force: true });
  }
}

async function ownerOf(path: string): Promise<Owner | undefined> {
  try {
    return OwnerSchema.safeParse(JSON.parse(await readFile(path, "utf8"))).data;
  } catch {
    return undefined;
  }
}

/** Whether a lock's owner is gone. False while that cannot be told. */
export async function isDead(path: string): Promise<boolean> {
  const owner = await ownerOf(path);
  if (owner !== undefined && owner.machine === self().machine) return ticksOf(owner.pid) !== owner.ticks;
  const seen = await stat(path).catch(() => undefined);
  return seen !== undefined && Date.now() - seen.mtimeMs > GONE_MS;
}

function held(path: string, token: string): Held {
  const lost = new AbortController();
  const isOurs = async (): Promise<boolean> => (await ownerOf(path))?.token === token;
  const sign = async (): Promise<void> => {
    if (!(await isOurs())) lost.abort(new Error("the lock was taken over"));
    else await utimes(path, new Date(), new Date());
  };
  const timer = setInterval(() => void sign().catch(() => undefined), SIGN_MS);
  timer.unref();
  return {
    lost: lost.signal,
    release: async () => {
      clearInterval(timer);
      if (await isOurs()) await rm(path, { force: true });
    },
  };
}

let me: Omit<Owner, "token"> | undefined;

/** Who this process is: the boot and the process namespace that its number means something in, its number, and when it began. */
function self(): Omit<Owner, "token"> {
  me ??= {
    machine: `${textOf("/proc/sys/kernel/random/boot_id")} ${namespaceOf()}`,
    pid: process.pid,
    ticks: ticksOf(process.pid) ?? "",
  };
  return me;
}

function namespaceOf(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return process.platform;
  }
}

/** Start time of a process in the kernel's ticks; undefined when there is none of that number. Source: proc_pid_stat(5), field 22. */
function ticksOf(pid: number): string | undefined {
  const stat = textOf(`/proc/${pid}/stat`);
  if (stat === "") {
    if (process.platform === "linux") return undefined;
    try {
      process.kill(pid, 0);
      return "";
    } catch {
      return undefined;
    }
  }
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}
