import { createHash } from "node:crypto";
import { appendFile, mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { EnsembleConfig } from "../../contracts/ensemble-config.ts";
import { type EvalQuestion, EvalResult } from "../../contracts/eval.ts";

/** A folder of results that cannot be gone on with. */
export class ResultsError extends Error {
  override readonly name = "ResultsError";
}

/** Digest by which a question is known again: its words, its conversation and its check. */
export function digestOf(value: EvalQuestion | EnsembleConfig["members"]): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
}

/** A folder that keeps each result as soon as it is there, so that a run that was stopped can go on. */
export class ResultsFolder {
  /** Results that were there already. */
  readonly before: readonly EvalResult[];
  readonly #file: string;

  private constructor(file: string, before: readonly EvalResult[]) {
    this.#file = file;
    this.before = before;
  }

  /**
   * Opens the folder or makes it. A half line at the end of its results, from a run that was killed, is taken off.
   * @throws ResultsError when it holds the results of other members, or a line that is no result
   */
  static async open(dir: string, config: EnsembleConfig): Promise<ResultsFolder> {
    try {
      await mkdir(dir, { recursive: true });
    } catch (cause) {
      throw new ResultsError(`--out ${dir}: cannot be made; name a folder that may be written`, { cause });
    }
    const members = digestOf(config.members);
    const header = join(dir, "run.json");
    const known = await readFile(header, "utf8").catch(() => undefined);
    if (known === undefined) await writeFile(header, `${JSON.stringify({ v: 1, members })}\n`);
    else if (membersIn(known) !== members)
      throw new ResultsError(
        `--out ${dir}: it holds results of other members than this configuration has; name another folder, or remove this one`,
      );
    const file = join(dir, "results.jsonl");
    return new ResultsFolder(file, await resultsIn(file));
  }

  /** Keeps a result. */
  async add(result: EvalResult): Promise<void> {
    await appendFile(this.#file, `${JSON.stringify(result)}\n`);
  }
}

function membersIn(header: string): unknown {
  try {
    return (JSON.parse(header) as { members?: unknown }).members;
  } catch {
    return undefined;
  }
}

async function resultsIn(file: string): Promise<EvalResult[]> {
  const handle = await open(file, "a+");
  try {
    const bytes = await handle.readFile();
    const wholeBytes = bytes.lastIndexOf(0x0a) + 1;
    await handle.truncate(wholeBytes);
    const lines = bytes.subarray(0, wholeBytes).toString("utf8").split("\n").slice(0, -1);
    return lines.map((line, index) => resultOf(line, `${file}, line ${index + 1}`));
  } finally {
    await handle.close();
  }
}

function resultOf(line: string, place: string): EvalResult {
  let raw: unknown;
  try {
    raw = JSON.parse(line);
  } catch (cause) {
    throw new ResultsError(`${place}: no JSON; remove the line, and its question is asked again`, { cause });
  }
  const parsed = EvalResult.safeParse(raw);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ResultsError(
    `${place}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "no result"}; remove the line, and its question is asked again`,
  );
}
