import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa, type ResultPromise } from "execa";
import type { z } from "zod";
import { labOf } from "../../infra/lab/lab.ts";

const root = resolve(import.meta.dirname, "../..");

/** What a command of the lab wrote and how it ended. */
export interface Ran {
  exitCode: number | undefined;
  stdout: string;
  /** Both streams together. */
  all: string;
  ms: number;
}

/** A lab of a test's own, driven by its command line as a user drives it. */
export class TestLab {
  readonly name: string;
  /** Everything that any command wrote so far, for the search of canaries. */
  written = "";

  constructor(name: string) {
    this.name = name;
  }

  /** Runs a command to its end. @throws Error with all it wrote when it fails, unless `mayFail` */
  async run(args: string[], options: { mayFail?: boolean; set?: Record<string, unknown> } = {}): Promise<Ran> {
    const started = Date.now();
    const result = await this.start(args, options.set);
    const ran: Ran = {
      exitCode: result.exitCode,
      stdout: String(result.stdout),
      all: String(result.all),
      ms: Date.now() - started,
    };
    this.written += ran.all;
    if (ran.exitCode !== 0 && options.mayFail !== true)
      throw new Error(`lab ${args.join(" ")}: exit code ${ran.exitCode}\n${ran.all}`);
    return ran;
  }

  /** Starts a command in a process group of its own. */
  start(
    args: string[],
    set: Record<string, unknown> = {},
  ): ResultPromise<{ all: true; reject: false; stdin: "ignore"; cwd: string }> {
    const settings = Object.entries(set).flatMap(([path, value]) => ["--set", `${path}=${JSON.stringify(value)}`]);
    return execa(process.execPath, ["infra/lab/main.ts", "--name", this.name, ...settings, ...args], {
      cwd: root,
      all: true,
      reject: false,
      stdin: "ignore",
    });
  }

  /** What the guests' own journals say of their boot and of SSH, and the end of each console: for a machine that lets nobody in. */
  async bootReports(): Promise<string> {
    const { stateDir } = labOf(this.name);
    const find = await execa("find", [stateDir, "(", "-name", "console.log", "-o", "-path", "*/var/log/journal", ")"], {
      reject: false,
    });
    const reports: string[] = [];
    for (const path of find.stdout.split("\n").filter((one) => one !== "")) {
      const [program, args]: [string, string[]] = path.endsWith("console.log")
        ? ["tail", ["-n", "30", path]]
        : ["journalctl", ["--directory", path, "--no-pager", "-n", "150", "-o", "short-monotonic", "-p", "notice"]];
      const { all } = await execa(program, args, { all: true, reject: false });
      reports.push(`== ${path}\n${all}`);
    }
    return reports.join("\n");
  }

  async kubectl(...args: string[]): Promise<string> {
    return (await this.run(["kubectl", ...args])).stdout;
  }

  /** A list or object from the API server, parsed. */
  async get<T>(schema: z.ZodType<T>, ...args: string[]): Promise<T> {
    return schema.parse(JSON.parse(await this.kubectl("get", ...args, "-o", "json")));
  }
}

/** Asks again until `check` gives a value; the last error is told when time is up. */
export async function eventually<T>(what: string, timeoutMs: number, check: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      const value = await check();
      if (value !== undefined) return value;
    } catch (error) {
      last = error;
    }
    await delay(1000);
  }
  throw new Error(`${what}: not within ${timeoutMs / 1000} s${last instanceof Error ? `: ${last.message}` : ""}`);
}
