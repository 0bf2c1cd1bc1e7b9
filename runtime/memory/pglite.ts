import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { z } from "zod";
import { type Database, numbered, type Rows, type Sql } from "./database.ts";
import { holdFolder } from "./folder.ts";
import { codeOf } from "../support/error-code.ts";
import { explained, StoreUnavailable } from "./unavailable.ts";

const Reply = z.object({
  id: z.int(),
  rows: z.array(z.record(z.string(), z.unknown())).optional(),
  failed: z.object({ code: z.string().optional() }).optional(),
});

/** Time for the last statement and a clean end, ms. */
const CLOSE_MS = 5_000;

/** A failure inside PGlite, with Postgres' code. */
class PgliteFailure extends Error {
  override readonly name = "PgliteFailure";
  readonly code: string | undefined;
  constructor(code: string | undefined) {
    super(`PGlite failed (${code ?? "no code"})`);
    this.code = code;
  }
}

/**
 * Postgres in this process: PGlite on a thread of its own, its files in `directory/pglite`, held by one process at a time.
 * @throws StoreUnavailable when the folder cannot be used, is held by another process, or PGlite is not installed
 */
export async function openPglite(directory: string): Promise<Database> {
  const place = { target: directory, setting: "store.directory" };
  const entry = fileURLToPath(new URL("./pglite-worker.ts", import.meta.url));
  // The bundle is one file: neither the thread's source nor PGlite's own 27 MB are in it.
  if (!existsSync(entry)) {
    throw new StoreUnavailable(
      "store.kind pglite: PGlite is not part of this single-file build; set store.kind to postgres (with the URL in the variable that store.urlEnv names) or to process",
      { passing: false },
    );
  }
  const files = join(directory, "pglite");
  try {
    await mkdir(files, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw explained(error, place);
  }
  const free = await holdFolder(directory, "pglite.lock");
  const line = new Line(new Worker(entry, { workerData: { directory: files }, execArgv: [] }));
  try {
    await line.started;
  } catch (error) {
    await line.end();
    await free();
    const code = codeOf(error);
    throw new StoreUnavailable(
      `${files}: PGlite cannot use this folder (${code ?? "no code"}); its files may be damaged or the disk full: move the folder away to begin anew, or give another store.directory`,
      { passing: code === "ENOSPC", cause: error },
    );
  }
  return databaseOn(line, free);
}

function databaseOn(line: Line, free: () => Promise<void>): Database {
  const sql: Sql = (text, ...values) => line.alone(() => line.send(numbered(text), values));
  return {
    sql,
    begin: (work) =>
      line.alone(async () => {
        await line.send("BEGIN");
        try {
          const done = await work(
            (text, ...values) => line.send(numbered(text), values),
            async (text) => {
              await line.send(text);
            },
          );
          await line.send("COMMIT");
          return done;
        } catch (error) {
          await line.send("ROLLBACK").catch(() => undefined);
          throw error;
        }
      }),
    close: async () => {
      await line.end();
      await free();
    },
  };
}

/** Statements to the thread, and their answers. */
class Line {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve: (rows: Rows) => void; reject: (error: unknown) => void }>();
  /** PGlite started. */
  readonly started: Promise<unknown>;
  #last: Promise<unknown>;
  #next = 1;
  #gone: PgliteFailure | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    this.started = new Promise<Rows>((resolve, reject) => this.#waiting.set(0, { resolve, reject }));
    this.#last = this.started.catch(() => undefined);
    worker.unref();
    worker.on("message", (message: unknown) => {
      const { id, rows = [], failed } = Reply.parse(message);
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (failed === undefined) waiting?.resolve(rows);
      else waiting?.reject(new PgliteFailure(failed.code));
    });
    worker.on("error", (error) => this.#fail(codeOf(error) ?? "CONNECTION_CLOSED"));
    worker.on("exit", () => this.#fail("CONNECTION_CLOSED"));
  }

  /** Runs the work when everything before it is over: PGlite has one connection. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Sends one statement; without values a script. */
  send(text: string, values?: readonly unknown[]): Promise<Rows> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, text, values });
    });
  }

  /** Closes PGlite cleanly, or breaks it off where that takes too long. */
  async end(): Promise<void> {
    const clean = this.alone(() => this.send("close")).catch(() => undefined);
    let handle: NodeJS.Timeout | undefined;
    await Promise.race([clean, new Promise((resolve) => (handle = setTimeout(resolve, CLOSE_MS)))]);
    clearTimeout(handle);
    await this.#worker.terminate();
    this.#fail("CONNECTION_ENDED");
  }

  #fail(code: string): void {
    this.#gone ??= new PgliteFailure(code);
    for (const { reject } of this.#waiting.values()) reject(this.#gone);
    this.#waiting.clear();
  }
}
