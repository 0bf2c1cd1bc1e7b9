import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { holdFolder } from "./folder.ts";
import { type OutboxFile, OutboxLine } from "./outbox.ts";
import type { Finished } from "./store.ts";
import { jsonOf } from "../support/json.ts";
import { explained, StoreUnavailable } from "./unavailable.ts";

/** Most processes that share a folder. */
const MOST_SLOTS = 64;

/**
 * The outbox's file in a folder that several processes may share: each has one of its own, and takes over those of dead processes.
 * @throws StoreUnavailable when the folder cannot be used
 */
export async function openOutboxFile(directory: string): Promise<OutboxFile> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw explained(error, { target: directory, setting: "store.directory" });
  }
  const own = await freeSlot(directory);
  const left = [...(await linesOf(own.path))];
  const others: string[] = [];
  for (const name of (await readdir(directory)).filter((one) => /^outbox-\d+\.jsonl$/.test(one)).toSorted()) {
    const path = join(directory, name);
    if (path === own.path) continue;
    const free = await holdFolder(directory, lockOf(name)).catch(() => undefined);
    if (free === undefined) continue;
    left.push(...(await linesOf(path)));
    others.push(path);
    await free();
  }
  const file = await FileOutbox.open(own.path, left, own.free);
  // Only now: what was theirs is on the disk under this process's own name.
  for (const path of others) await rm(path, { force: true });
  return file;
}

async function freeSlot(directory: string): Promise<{ path: string; free: () => Promise<void> }> {
  let refused: unknown;
  for (let slot = 0; slot < MOST_SLOTS; slot++) {
    const name = `outbox-${slot}.jsonl`;
    try {
      return { path: join(directory, name), free: await holdFolder(directory, lockOf(name)) };
    } catch (error) {
      refused = error;
      if (!(error instanceof StoreUnavailable) || error.cause !== undefined) break;
    }
  }
  throw explained(refused, { target: directory, setting: "store.directory" });
}

function lockOf(name: string): string {
  return name.replace(/jsonl$/, "lock");
}

/** What a file still holds. A line that was cut by a crash was never promised to anybody. */
async function linesOf(path: string): Promise<Finished[]> {
  const text = await readFile(path, "utf8").catch(() => "");
  const waiting = new Map<string, Finished>();
  for (const line of text.split("\n")) {
    const parsed = OutboxLine.safeParse(jsonOf(line));
    if (!parsed.success) continue;
    if (parsed.data.op === "put") waiting.set(parsed.data.finished.id, parsed.data.finished);
    else waiting.delete(parsed.data.id);
  }
  return [...waiting.values()];
}

/** One file, written line by line, each on the disk before its promise resolves. */
class FileOutbox implements OutboxFile {
  readonly left: readonly Finished[];
  readonly #path: string;
  readonly #free: () => Promise<void>;
  #last: Promise<void> = Promise.resolve();
  /** A line may have been written in part: what follows it begins on a line of its own. */
  #torn = false;

  private constructor(path: string, left: readonly Finished[], free: () => Promise<void>) {
    this.#path = path;
    this.left = left;
    this.#free = free;
  }

  static async open(path: string, left: readonly Finished[], free: () => Promise<void>): Promise<FileOutbox> {
    const file = new FileOutbox(path, left, free);
    await file.rewrite(left);
    return file;
  }

  append(line: OutboxLine): Promise<void> {
    return this.#inTurn(async () => {
      const file = await open(this.#path, "a", 0o600);
      try {
        const text = `${this.#torn ? "\n" : ""}${JSON.stringify(line)}\n`;
        this.#torn = true;
        await file.appendFile(text);
        await file.sync();
        this.#torn = false;
      } finally {
        await file.close();
      }
    });
  }

  rewrite(finished: readonly Finished[]): Promise<void> {
    return this.#inTurn(async () => {
      const beside = `${this.#path}.part`;
      const file = await open(beside, "w", 0o600);
      try {
        await file.writeFile(finished.map((one) => `${JSON.stringify({ op: "put", finished: one })}\n`).join(""));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(beside, this.#path);
      this.#torn = false;
    });
  }

  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
    await this.#free();
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work, work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}
