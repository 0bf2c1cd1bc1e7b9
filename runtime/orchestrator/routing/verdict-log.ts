import { type FileHandle, open, readFile, rename } from "node:fs/promises";
import { codeOf } from "../../support/error-code.ts";
import type { RoutingConfig } from "../../contracts/routing-config.ts";
import { VerdictRecord } from "../../contracts/verdict-record.ts";
import type { Logger } from "../../support/log.ts";

/** A line of a verdicts file that is none. */
export interface BadLine {
  file: string;
  /** From 1. */
  line: number;
  /** Names the field and what is wanted. */
  message: string;
}

/** What a verdicts file holds. */
export interface ReadVerdicts {
  records: VerdictRecord[];
  bad: BadLine[];
  /** Bytes up to the end of the last whole line: what follows was cut off by a crash and is no verdict. */
  wholeBytes: number;
}

/** Verdicts that wait to be written; more are dropped, so that a disk that hangs cannot fill the memory. */
const MOST_WAITING = 1_000;

/** Verdicts that are looked at for each one that is learned from: most of a routed service's teach nothing. */
const LINES_PER_LESSON = 4;

/** A verdicts file that cannot be used; the message names it and what to do. */
export class VerdictsFileError extends Error {
  override readonly name = "VerdictsFileError";
}

/** Reads a verdicts file. A half line at its end is left out. @param lines newest lines to look at. @throws VerdictsFileError when it cannot be read */
export async function readVerdicts(file: string, lines = Number.POSITIVE_INFINITY): Promise<ReadVerdicts> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new VerdictsFileError(
      `${file}: cannot be read (${codeOf(cause) ?? "unreadable"}); give the path of a verdicts file`,
      {
        cause,
      },
    );
  }
  const wholeBytes = bytes.lastIndexOf(0x0a) + 1;
  const all = bytes.subarray(0, wholeBytes).toString("utf8").split("\n").slice(0, -1);
  const skipped = Math.max(0, all.length - lines);
  const records: VerdictRecord[] = [];
  const bad: BadLine[] = [];
  for (const [index, text] of all.slice(skipped).entries()) {
    if (text.trim() === "") continue;
    const read = verdictOf(text);
    if ("record" in read) records.push(read.record);
    else bad.push({ file, line: skipped + index + 1, message: read.fault });
  }
  return { records, bad, wholeBytes };
}

function verdictOf(text: string): { record: VerdictRecord } | { fault: string } {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return { fault: "no JSON; want one JSON object a line" };
  }
  const parsed = VerdictRecord.safeParse(raw);
  if (parsed.success) return { record: parsed.data };
  const [issue] = parsed.error.issues;
  return { fault: issue === undefined ? "no verdict" : `${issue.path.join(".") || "line"}: ${issue.message}` };
}

/** Where verdicts are kept and come from. */
export interface Verdicts {
  /** Those of earlier times, oldest first. */
  readonly remembered: readonly VerdictRecord[];
  /** Keeps one; never fails and never waits. */
  append(record: VerdictRecord): void;
  /** Verdicts that could not be kept. */
  readonly lost: number;
}

/** A verdicts file that is only ever appended to, set aside as `FILE.1` at a size. A failure to write never stops an answer: it is logged and counted. */
export class VerdictLog implements Verdicts {
  readonly remembered: readonly VerdictRecord[];
  readonly #file: string;
  readonly #mostBytes: number;
  readonly #log: Pick<Logger, "warn"> | undefined;
  #handle: FileHandle;
  #bytes: number;
  #waiting: string[] = [];
  #writing: Promise<void> | undefined;
  #lost = 0;
  #failing = false;

  private constructor(
    file: string,
    mostBytes: number,
    handle: FileHandle,
    bytes: number,
    remembered: VerdictRecord[],
    log?: Pick<Logger, "warn">,
  ) {
    this.#file = file;
    this.#mostBytes = mostBytes;
    this.#handle = handle;
    this.#bytes = bytes;
    this.remembered = remembered;
    this.#log = log;
  }

  /**
   * Opens the file, makes it where it is not there, and takes off a half line at its end. Lines that are no verdicts are left out and logged.
   * @param window verdicts that are learned from. @throws VerdictsFileError when it cannot be read or written
   */
  static async open(
    { file, bytes, window }: { file: string; bytes: number; window: number },
    log?: Pick<Logger, "warn">,
  ): Promise<VerdictLog> {
    const lines = window * LINES_PER_LESSON;
    let handle: FileHandle;
    try {
      handle = await open(file, "a", 0o600);
    } catch (cause) {
      throw new VerdictsFileError(
        `routing.verdictsFile: ${file} cannot be written (${codeOf(cause) ?? "unreadable"}); name a file in a folder that is there and may be written`,
        { cause },
      );
    }
    const now = await readVerdicts(file, lines);
    const before =
      now.records.length < lines
        ? await readVerdicts(`${file}.1`, lines - now.records.length).catch(noneBefore)
        : noneBefore();
    for (const { file: where, line, message } of [...before.bad, ...now.bad])
      log?.warn({ file: where, line }, `this line is no verdict and was left out: ${message}`);
    await handle.truncate(now.wholeBytes);
    return new VerdictLog(file, bytes, handle, now.wholeBytes, [...before.records, ...now.records], log);
  }

  get lost(): number {
    return this.#lost;
  }

  append(record: VerdictRecord): void {
    if (this.#waiting.length >= MOST_WAITING) {
      this.#lost++;
      return;
    }
    this.#waiting.push(`${JSON.stringify(record)}\n`);
    this.#writing ??= this.#write();
  }

  /** Writes what waits and closes the file. */
  async close(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
    await this.#handle.close();
  }

  async #write(): Promise<void> {
    // Verdicts of the same moment go in one write.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const lines = this.#take();
      const bytes = Buffer.from(lines.join(""));
      try {
        if (this.#bytes > 0 && this.#bytes + bytes.length > this.#mostBytes) await this.#rotate();
        await this.#handle.appendFile(bytes);
        this.#bytes += bytes.length;
        this.#failing = false;
      } catch (error) {
        this.#lost += lines.length;
        await this.#mend();
        if (!this.#failing)
          this.#log?.warn(
            { file: this.#file, code: codeOf(error) ?? "unreadable" },
            "verdicts cannot be written; answers go on, and what cannot be written is not learned after a restart",
          );
        this.#failing = true;
      }
    }
    this.#writing = undefined;
  }

  /** The next lines: as many as the file has room for, or one that begins the next file. */
  #take(): string[] {
    let count = 0;
    let bytes = this.#bytes;
    for (const line of this.#waiting) {
      bytes += Buffer.byteLength(line);
      if (count > 0 && bytes > this.#mostBytes) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #rotate(): Promise<void> {
    await rename(this.#file, `${this.#file}.1`);
    const fresh = await open(this.#file, "a", 0o600);
    await this.#handle.close();
    this.#handle = fresh;
    this.#bytes = 0;
  }

  /** Takes off what a failed write may have left, so that the next verdict begins a line. */
  async #mend(): Promise<void> {
    await this.#handle.truncate(this.#bytes).catch(() => undefined);
  }
}

/** The verdicts file that a configuration names; undefined where it names none. @throws VerdictsFileError */
export async function openVerdicts(
  { verdictsFile, verdictsBytes, window }: RoutingConfig,
  log?: Pick<Logger, "warn">,
): Promise<VerdictLog | undefined> {
  if (verdictsFile === undefined) return undefined;
  return VerdictLog.open({ file: verdictsFile, bytes: verdictsBytes, window }, log);
}

function noneBefore(): ReadVerdicts {
  return { records: [], bad: [], wholeBytes: 0 };
}
