import type { Command } from "commander";

/** Runs a command line; a failure is one line on stderr and exit status 1. */
export async function runCommand(command: Command, argv: readonly string[]): Promise<void> {
  try {
    await command.parseAsync([...argv], { from: "user" });
  } catch (error) {
    process.stderr.write(`gorkheavy: ${error instanceof Error ? error.message : "failed"}\n`);
    process.exitCode = 1;
  }
}
