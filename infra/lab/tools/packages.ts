import { access, constants, readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { execa } from "execa";
import type { Report } from "./cache.ts";

/** A program of the operating system that the lab calls, and the Debian and Ubuntu package that brings it. */
export interface SystemProgram {
  program: string;
  package: string;
  for: string;
}

/** Every system program the lab calls. Base packages (coreutils, tar, util-linux) are there on any Debian or Ubuntu. */
export const SYSTEM_PROGRAMS: readonly SystemProgram[] = [
  { program: "systemd-nspawn", package: "systemd-container", for: "the lab's machines" },
  { program: "mmdebstrap", package: "mmdebstrap", for: "the machines' root file system" },
  { program: "ip", package: "iproute2", for: "the lab's network" },
  { program: "iptables", package: "iptables", for: "the lab's network" },
  { program: "nsenter", package: "util-linux", for: "the lab's network" },
  { program: "ssh", package: "openssh-client", for: "lab ssh" },
  { program: "ssh-keygen", package: "openssh-client", for: "the machines' keys" },
];

/** Says which of `programs` are not on PATH. */
export async function missingPrograms(
  programs: readonly SystemProgram[] = SYSTEM_PROGRAMS,
  env: NodeJS.ProcessEnv = process.env,
): Promise<SystemProgram[]> {
  const missing = [];
  for (const program of programs) if (!(await onPath(program.program, env))) missing.push(program);
  return missing;
}

/**
 * Installs what is missing with apt on Debian and Ubuntu; elsewhere, and with `install: false`, names it and fails.
 * @throws Error naming each program, its package and the command that installs them
 */
export async function ensurePrograms(options: {
  /** @default SYSTEM_PROGRAMS */
  programs?: readonly SystemProgram[];
  install: boolean;
  report: Report;
  env?: NodeJS.ProcessEnv;
  osRelease?: string;
}): Promise<string[]> {
  const missing = await missingPrograms(options.programs ?? SYSTEM_PROGRAMS, options.env);
  if (missing.length === 0) return [];
  const packages = [...new Set(missing.map((m) => m.package))];
  const listing = missing.map((m) => `${m.program} (package ${m.package}, for ${m.for})`).join(", ");
  const command = `apt-get update && apt-get install -y --no-install-recommends ${packages.join(" ")}`;
  if (!options.install)
    throw new Error(`--no-install: these system programs are missing: ${listing}. Install them: ${command}`);
  if (!(await isDebianLike(options.osRelease ?? "/etc/os-release"))) {
    throw new Error(
      `These system programs are missing: ${listing}. Only Debian and Ubuntu packages are installed by the lab; install yours by hand.`,
    );
  }
  options.report(`installing system packages ${packages.join(", ")}`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await apt(["update"], env);
  await apt(["install", "-y", "--no-install-recommends", ...packages], env);
  const still = await missingPrograms(missing, options.env);
  if (still.length > 0)
    throw new Error(
      `apt-get installed ${packages.join(", ")}, but ${still.map((m) => m.program).join(", ")} is still not on PATH.`,
    );
  return packages;
}

async function apt(args: string[], env: Record<string, string>): Promise<void> {
  try {
    await execa("apt-get", ["-q", ...args], { env, stdin: "ignore", all: true });
  } catch (error) {
    const text = error instanceof Error && "all" in error && typeof error.all === "string" ? error.all : String(error);
    throw new Error(`apt-get ${args[0]} failed:\n${text.split("\n").slice(-15).join("\n")}`, { cause: error });
  }
}

async function onPath(program: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  for (const dir of (env["PATH"] ?? "").split(delimiter)) {
    const found = await access(join(dir, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}

async function isDebianLike(osRelease: string): Promise<boolean> {
  const text = await readFile(osRelease, "utf8").catch(() => "");
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(text);
}
