import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { glob, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { AssetValue } from "../provider.ts";
import type { Log, Value } from "../provider.ts";
import { captureOutput } from "./output.ts";
import type { Logging } from "./output.ts";

/** One command on this machine. */
export interface LocalRun {
  command: string;
  shownCommand: string;
  /** Program and arguments before the command. Absent: /bin/sh -c. */
  interpreter: string[] | undefined;
  dir: string | undefined;
  environment: Record<string, string>;
  stdin: string | undefined;
  logging: Logging;
  secrets: readonly string[];
  signal: AbortSignal;
  log: Log;
}

/** Runs a command here. @throws Error with the exit status and the last lines when it is not 0. */
export async function runLocal(run: LocalRun): Promise<{ stdout: string; stderr: string }> {
  const [program = "/bin/sh", ...prefix] = run.interpreter?.length ? run.interpreter : ["/bin/sh", "-c"];
  const output = captureOutput({ command: run.shownCommand, logging: run.logging, secrets: run.secrets, log: run.log });
  const ended = await new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    const child = spawn(program, [...prefix, run.command], {
      cwd: run.dir,
      env: { ...process.env, ...run.environment },
      stdio: ["pipe", "pipe", "pipe"],
      signal: run.signal,
    });
    child.stdout.on("data", (chunk: Buffer) => output.stdout(chunk));
    child.stderr.on("data", (chunk: Buffer) => output.stderr(chunk));
    child.stdin.on("error", () => undefined);
    child.on("error", (error) => reject(new Error(output.failure(error.message), { cause: error })));
    child.on("close", (code, signal) => resolve({ code, signal }));
    child.stdin.end(run.stdin ?? "");
  });
  const captured = output.finish();
  if (ended.signal !== null) throw new Error(output.failure(`signal: ${ended.signal}`));
  if (ended.code !== 0) throw new Error(output.failure(`exit status ${ended.code ?? "unknown"}`));
  return captured;
}

/** Files below `dir` by glob, in order; a pattern with `!` takes files out again. Directories are left out. */
export async function collectAssets(dir: string, patterns: readonly string[]): Promise<Record<string, AssetValue>> {
  const found = new Map<string, AssetValue>();
  for (const pattern of patterns) {
    if (pattern.startsWith("!")) {
      for (const name of found.keys()) if (path.matchesGlob(name, pattern.slice(1))) found.delete(name);
      continue;
    }
    for await (const name of glob(pattern, { cwd: dir })) {
      const file = path.join(dir, name);
      if (!(await stat(file)).isFile()) continue;
      const hash = createHash("sha256")
        .update(await readFile(file))
        .digest("hex");
      found.set(name, new AssetValue("asset", { path: file, hash }));
    }
  }
  return Object.fromEntries([...found].sort(([left], [right]) => (left < right ? -1 : 1)));
}

/** The same files as one archive. */
export async function collectArchive(dir: string, patterns: readonly string[]): Promise<AssetValue> {
  const members: Record<string, Value> = await collectAssets(dir, patterns);
  return new AssetValue("archive", { members });
}
