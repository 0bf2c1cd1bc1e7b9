import { spawn } from "node:child_process";
import { join, resolve } from "node:path";

const PROGRAM = join(resolve(import.meta.dirname, "../.."), "runtime/main.ts");

/** How a pull ended. */
export interface Pulled {
  /** Exit status, or the signal that ended it. */
  status: number | NodeJS.Signals;
  stdout: string;
  stderr: string;
}

/** A pull as people start it, in a process of its own. */
export interface Puller {
  kill(signal: NodeJS.Signals): void;
  ended: Promise<Pulled>;
}

/** Starts `models pull` or another verb of `models`. */
export function startModels(args: readonly string[]): Puller {
  const child = spawn(process.execPath, [PROGRAM, "models", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = new Promise<Pulled>((done) => {
    child.on("close", (status, signal) => done({ status: status ?? signal ?? -1, stdout, stderr }));
  });
  return { kill: (signal) => void child.kill(signal), ended };
}
