import type { Log } from "../provider.ts";

/** Which of a command's streams show up in the log. */
export type Logging = "stdout" | "stderr" | "stdoutAndStderr" | "none";

/** Gathers what a command writes, shows whole lines as they come, and words its failure. */
export interface OutputCapture {
  stdout(chunk: Buffer): void;
  stderr(chunk: Buffer): void;
  /** Shows the last line if it has no line end. */
  finish(): { stdout: string; stderr: string };
  /** The failure's message: what happened, which command, and the last lines that may be shown. */
  failure(what: string): string;
}

/** The tail that goes into an error: enough for a journal's last words, not for a screenful. */
const TAIL_LINES = 40;

/** `secrets` are masked wherever they would be shown; the captured output keeps them. */
export function captureOutput(options: {
  command: string;
  logging: Logging;
  secrets: readonly string[];
  log: Log;
}): OutputCapture {
  const { logging } = options;
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[], shown: [] as Buffer[] };
  const logs = {
    stdout: logging === "stdout" || logging === "stdoutAndStderr",
    stderr: logging !== "stdout" && logging !== "none",
  };
  const mask = (text: string): string =>
    options.secrets.reduce((masked, secret) => masked.replaceAll(secret, "[secret]"), text);
  const partial = { stdout: "", stderr: "" };

  const take = (stream: "stdout" | "stderr", chunk: Buffer): void => {
    chunks[stream].push(chunk);
    // stderr may always explain a failure; stdout may be the secret that logging was switched off for.
    if (logs[stream] || stream === "stderr") chunks.shown.push(chunk);
    if (!logs[stream]) return;
    const lines = (partial[stream] + chunk.toString("utf8")).split("\n");
    partial[stream] = lines.pop() ?? "";
    for (const line of lines) if (line !== "") options.log("info", mask(line), { ephemeral: true });
  };
  const text = (parts: Buffer[]): string => Buffer.concat(parts).toString("utf8");

  return {
    stdout: (chunk) => take("stdout", chunk),
    stderr: (chunk) => take("stderr", chunk),
    finish() {
      for (const stream of ["stdout", "stderr"] as const) {
        if (partial[stream] !== "") options.log("info", mask(partial[stream]), { ephemeral: true });
        partial[stream] = "";
      }
      return { stdout: text(chunks.stdout).replace(/\n$/, ""), stderr: text(chunks.stderr).replace(/\n$/, "") };
    },
    failure(what) {
      const lines = text(chunks.shown).trimEnd().split("\n");
      const tail = lines.slice(-TAIL_LINES).join("\n");
      const dropped = lines.length > TAIL_LINES ? `(${lines.length - TAIL_LINES} lines before)\n` : "";
      return mask(`${what}: running ${JSON.stringify(options.command)}:\n${dropped}${tail}`);
    },
  };
}
