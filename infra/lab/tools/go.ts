import { execa } from "execa";
import type { Report } from "./cache.ts";

/** Oldest Go that builds what the lab needs: the `go` line of Kubernetes 1.34 and of the Pulumi CLI asks for 1.25. */
const OLDEST_GO_MINOR = 25;

/** The version of the `go` on PATH, e.g. `1.26.8`. @throws Error when there is none or it is too old */
export async function goVersion(): Promise<string> {
  const { stdout } = await execa("go", ["env", "GOVERSION"]).catch(() => {
    throw new Error(
      "go: not found on PATH. Install Go 1.25 or newer (https://go.dev/dl): the lab builds from source what it cannot download.",
    );
  });
  const match = /^go(1\.(\d+)\S*)$/.exec(stdout.trim());
  if (!match?.[1] || Number(match[2]) < OLDEST_GO_MINOR) {
    throw new Error(
      `go: found ${stdout.trim()}, need 1.${OLDEST_GO_MINOR} or newer. Install a newer Go (https://go.dev/dl).`,
    );
  }
  return match[1];
}

/**
 * Runs `go build` (or another go subcommand) in `dir` and reports how many packages are done.
 * @throws Error with the compiler's last lines
 */
export async function go(args: string[], dir: string, report: Report, env: Record<string, string> = {}): Promise<void> {
  const child = execa("go", args, {
    cwd: dir,
    env: { GOFLAGS: "", ...env },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    buffer: false,
    reject: false,
  });
  const tail: string[] = [];
  let modules = 0;
  let packages = 0;
  let told = 0;
  for await (const line of child.iterable({ from: "stderr" })) {
    if (line.startsWith("go: downloading")) modules++;
    else if (/^[\w./@~-]+$/.test(line)) packages++;
    else tail.push(line);
    if (Date.now() - told > 1000) {
      report(packages > 0 ? `compiled ${packages} packages` : `fetched ${modules} modules`);
      told = Date.now();
    }
  }
  const { exitCode } = await child;
  if (exitCode !== 0)
    throw new Error(`go ${args[0]} in ${dir} failed with exit code ${exitCode}:\n${tail.slice(-20).join("\n")}`);
}
