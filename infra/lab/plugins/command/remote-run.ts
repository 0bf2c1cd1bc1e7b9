import type { ClientChannel } from "ssh2";
import type { Log } from "../provider.ts";
import { connect } from "./connection.ts";
import type { Connection } from "./connection.ts";
import { captureOutput } from "./output.ts";
import type { Logging } from "./output.ts";

/** One command on a remote machine. */
export interface RemoteRun {
  connection: Connection;
  command: string;
  /** Shown instead of the command where it is a secret itself. */
  shownCommand: string;
  stdin: string | undefined;
  environment: Record<string, string>;
  logging: Logging;
  /** Texts that must never be shown. */
  secrets: readonly string[];
  signal: AbortSignal;
  log: Log;
}

/** Runs a command by SSH. @throws Error with the exit status and the last lines when it is not 0, or never comes. */
export async function runRemote(run: RemoteRun): Promise<{ stdout: string; stderr: string }> {
  const host = await connect(run.connection, run.signal, (text) => run.log("info", text, { ephemeral: true }));
  const output = captureOutput({
    command: run.shownCommand,
    logging: run.logging,
    secrets: run.secrets,
    log: run.log,
  });
  try {
    const ended = await new Promise<Ended>((resolve, reject) => {
      host.client.exec(run.command, { env: run.environment }, (error, channel) => {
        // The listeners must be there at once: the exit status may be in the very packet that ended the request.
        if (error === undefined) finishChannel(channel, run, output).then(resolve, reject);
        else reject(error);
      });
    });
    const captured = output.finish();
    if (run.signal.aborted) throw new Error(output.failure(`cancelled: ${abortText(run.signal)}`));
    if (ended.signal !== undefined) throw new Error(output.failure(`Process exited on signal ${ended.signal}`));
    if (ended.code === undefined) {
      throw new Error(output.failure("the connection ended before the command did (no exit status)"));
    }
    if (ended.code !== 0) throw new Error(output.failure(`Process exited with status ${ended.code}`));
    return captured;
  } finally {
    host.close();
  }
}

/** How a command ended; both are absent when the connection went first. */
interface Ended {
  code?: number;
  signal?: string;
}

function finishChannel(
  channel: ClientChannel,
  run: RemoteRun,
  output: { stdout(chunk: Buffer): void; stderr(chunk: Buffer): void },
): Promise<Ended> {
  return new Promise((resolve) => {
    const ended: Ended = {};
    const onAbort = (): void => {
      channel.signal("TERM");
      channel.destroy();
    };
    channel.on("data", (chunk: Buffer) => output.stdout(chunk));
    channel.stderr.on("data", (chunk: Buffer) => output.stderr(chunk));
    channel.on("exit", (code: number | null, signal?: string) => {
      if (code !== null) ended.code = code;
      if (signal !== undefined) ended.signal = signal;
    });
    // A command that ends without reading its input closes the stream under us; its exit status says how it went.
    channel.on("error", () => undefined);
    channel.on("close", () => {
      run.signal.removeEventListener("abort", onAbort);
      resolve(ended);
    });
    run.signal.addEventListener("abort", onAbort, { once: true });
    if (run.signal.aborted) onAbort();
    channel.end(run.stdin ?? "");
  });
}

function abortText(signal: AbortSignal): string {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason.message : "interrupted";
}
