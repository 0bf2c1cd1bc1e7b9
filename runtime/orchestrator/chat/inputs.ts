import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/** Inputs that are kept for the up arrow. */
export const MOST_INPUTS = 1_000;

/** What was typed before, newest first, as readline has it. Nothing where there is no file, or one that cannot be read. */
export async function readInputs(file: string): Promise<string[]> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .slice(-MOST_INPUTS)
    .reverse();
}

/** Keeps what was typed in a file that only its owner may read. @throws Error naming the file */
export async function writeInputs(file: string, newestFirst: readonly string[]): Promise<void> {
  const lines = newestFirst.slice(0, MOST_INPUTS).toReversed();
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await writeFile(file, lines.map((line) => `${line}\n`).join(""), { mode: 0o600 });
    // A file that was there keeps its own mode.
    await chmod(file, 0o600);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "failed";
    throw new Error(`${file}: what was typed could not be kept (${code}); --no-history does without`, { cause });
  }
}
