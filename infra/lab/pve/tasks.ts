import { appendFile, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorText, failure } from "./api-error.ts";
import { parseUpid, renderUpid } from "./format/upid.ts";
import type { Upid } from "./format/upid.ts";

/** What a task's work is given. */
export interface TaskContext {
  /** Adds one line to the task's log. */
  log: (line: string) => void;
  /** Adds a `WARN:` line; the task then ends with `WARNINGS: n` instead of `OK`. */
  warn: (line: string) => void;
  /** Aborted when somebody stops the task or the server closes. */
  signal: AbortSignal;
}

/** A task as `GET tasks/{upid}/status` answers it. */
export interface TaskStatus extends Record<string, unknown> {
  upid: string;
  status: "running" | "stopped";
  /** `OK`, `WARNINGS: n` or the error's text; absent while it runs. */
  exitstatus?: string;
}

interface Task {
  upid: Upid;
  lines: string[];
  exitStatus: string | undefined;
  abort: AbortController;
}

/** Tasks kept in memory and on disk; older ones are forgotten at the next start. */
const TASKS_KEPT = 500;

/**
 * Long work in the background, each with a name (UPID), a log and an end, as Proxmox' workers have them. A log is one file a task, its last
 * line the outcome; a task whose file has none was interrupted, and is closed as failed at the next start.
 */
export class Tasks {
  readonly #directory: string;
  readonly #node: string;
  readonly #now: () => number;
  readonly #tasks = new Map<string, Task>();
  readonly #running = new Map<string, Promise<void>>();
  #counter = 0;

  private constructor(directory: string, node: string, now: () => number) {
    this.#directory = directory;
    this.#node = node;
    this.#now = now;
  }

  /** Reads the logs in a folder (made when missing) and closes what was interrupted; `interrupted` lists those. */
  static async open(
    directory: string,
    node: string,
    now: () => number,
  ): Promise<{ tasks: Tasks; interrupted: Upid[] }> {
    await mkdir(directory, { recursive: true });
    const tasks = new Tasks(directory, node, now);
    const known = (await readdir(directory)).flatMap((name) => {
      const upid = parseUpid(name);
      return upid === undefined ? [] : [{ name, upid }];
    });
    known.sort((a, b) => a.upid.startTime - b.upid.startTime);
    const interrupted: Upid[] = [];
    for (const { name, upid } of known.slice(-TASKS_KEPT)) {
      const lines = (await readFile(join(directory, name), "utf8")).split("\n").filter((line) => line !== "");
      const last = /^TASK (OK|WARNINGS: \d+|ERROR: .*)$/.exec(lines.at(-1) ?? "")?.[1];
      const task: Task = { upid, lines, exitStatus: last?.replace(/^ERROR: /, ""), abort: new AbortController() };
      tasks.#tasks.set(name, task);
      if (last !== undefined) continue;
      interrupted.push(upid);
      await tasks.#finish(name, task, "interrupted, the server was stopped");
    }
    return { tasks, interrupted };
  }

  /** Starts work in the background and answers the task's UPID once its log exists. Errors of the work end up in the task. */
  async start(type: string, id: string, user: string, work: (context: TaskContext) => Promise<void>): Promise<string> {
    this.#counter += 1;
    const startTime = Math.floor(this.#now() / 1000);
    const upid: Upid = {
      node: this.#node,
      pid: process.pid,
      pstart: this.#counter,
      startTime,
      type,
      id: id.replace(/[:/\s]/g, "_"),
      user,
    };
    const name = renderUpid(upid);
    const task: Task = { upid, lines: [], exitStatus: undefined, abort: new AbortController() };
    await appendFile(join(this.#directory, name), "", { flag: "ax", mode: 0o600 });
    this.#tasks.set(name, task);
    this.#running.set(
      name,
      this.#execute(name, task, work).finally(() => this.#running.delete(name)),
    );
    return name;
  }

  async #execute(name: string, task: Task, work: (context: TaskContext) => Promise<void>): Promise<void> {
    let warnings = 0;
    const path = join(this.#directory, name);
    // Lines go to disk one after the other, so that what a killed server leaves is what had happened.
    let written: Promise<void> = Promise.resolve();
    const log = (text: string) => {
      for (const line of text.split("\n")) {
        task.lines.push(line);
        written = written.then(() => appendFile(path, `${line}\n`));
      }
    };
    const warn = (line: string) => {
      warnings += 1;
      log(`WARN: ${line}`);
    };
    let outcome: string;
    try {
      await work({ log, warn, signal: task.abort.signal });
      outcome = warnings === 0 ? "OK" : `WARNINGS: ${warnings}`;
    } catch (error) {
      outcome = task.abort.signal.aborted ? "received interrupt" : errorText(error).trim().replaceAll("\n", " ");
    }
    await written.catch(() => undefined);
    await this.#finish(name, task, outcome);
  }

  async #finish(name: string, task: Task, outcome: string): Promise<void> {
    const line = `TASK ${/^(OK|WARNINGS: \d+)$/.test(outcome) ? outcome : `ERROR: ${outcome}`}`;
    task.lines.push(line);
    task.exitStatus = outcome;
    // A full disk must not hide the outcome from whoever waits for it.
    await appendFile(join(this.#directory, name), `${line}\n`).catch(() => undefined);
  }

  /** One task's state. @throws ApiError 500 when there is no such task: the provider would ask again for half an hour after a 400, which Proxmox gives. */
  status(upid: string): TaskStatus {
    const task = this.#find(upid);
    return { ...describe(upid, task), pstart: task.upid.pstart };
  }

  /** Lines of a task's log, numbered from 1. @param start lines to skip @param limit most lines to answer, 0 for all */
  log(upid: string, start: number, limit: number): { n: number; t: string }[] {
    const lines = this.#find(upid).lines.map((t, index) => ({ n: index + 1, t }));
    return limit === 0 ? lines.slice(start) : lines.slice(start, start + limit);
  }

  /** Asks a running task to stop; a finished one is left as it is. */
  stop(upid: string): void {
    this.#find(upid).abort.abort();
  }

  /** All tasks that are known, newest first. */
  list(): TaskStatus[] {
    return [...this.#tasks].map(([upid, task]) => describe(upid, task)).reverse();
  }

  /** Resolves when the task has ended, with how; for the server's own use and for tests. */
  async settled(upid: string): Promise<string | undefined> {
    await this.#running.get(upid);
    return this.#find(upid).exitStatus;
  }

  /** Aborts what runs and waits for it to end. */
  async close(): Promise<void> {
    for (const task of this.#tasks.values()) if (task.exitStatus === undefined) task.abort.abort();
    await Promise.allSettled(this.#running.values());
  }

  #find(upid: string): Task {
    const task = this.#tasks.get(upid);
    if (task === undefined)
      throw failure(parseUpid(upid) === undefined ? `unable to parse worker upid '${upid}'` : "no such task");
    return task;
  }
}

function describe(upid: string, task: Task): TaskStatus {
  const { node, pid, startTime, type, id, user } = task.upid;
  const common = { upid, node, pid, starttime: startTime, type, id, user };
  return task.exitStatus === undefined
    ? { ...common, status: "running" }
    : { ...common, status: "stopped", exitstatus: task.exitStatus };
}
