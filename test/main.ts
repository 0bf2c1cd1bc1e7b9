// `npm test`: every test that this machine can run, and what was left out and why. With CI=true a left-out part is a failure.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Command } from "commander";
import { execa } from "execa";
import { z } from "zod";
import { goVersion } from "../infra/lab/tools/go.ts";
import { ensurePrograms, SYSTEM_PROGRAMS } from "../infra/lab/tools/packages.ts";
import { resolvePulumi } from "../infra/lab/tools/pulumi.ts";

const root = resolve(import.meta.dirname, "..");
const VitestReport = z.looseObject({
  numPassedTests: z.int(),
  numFailedTests: z.int(),
  numPendingTests: z.int(),
  numTodoTests: z.int(),
  success: z.boolean(),
});

interface Outcome {
  passed: number;
  failed: number;
  /** Tests that were left out, and why. */
  skipped: { count: number; why: string }[];
}

interface Part {
  name: string;
  /** Why this machine cannot run it; undefined when it can. */
  missing: () => Promise<string | undefined>;
  run: () => Promise<Outcome>;
}

const parts: Part[] = [
  {
    name: "check",
    missing: async () => undefined,
    run: () =>
      commands([
        ["biome", "format", "--config-path=.biome.json", "."],
        ["eslint", "--config", ".eslint.config.mjs", "."],
        ["tsc", "--noEmit"],
      ]),
  },
  { name: "unit,graph,contract", missing: async () => undefined, run: () => vitest("test/vitest.config.ts") },
  {
    name: "go",
    missing: () =>
      goVersion().then(
        () => undefined,
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      ),
    run: () =>
      commands(
        [
          // The flags of the build, so that what it compiled is used again: Kubernetes takes minutes.
          ["go", "vet", "-trimpath", "./..."],
          ["go", "test", "-trimpath", "./..."],
        ],
        join(root, "infra/lab/tools/k3s"),
      ),
  },
  { name: "system", missing: systemMissing, run: system },
];

/** What only tests call: a second reader of the ISO images that the project writes, and the database that conversations are kept in. */
const TEST_PROGRAMS = [
  { program: "isoinfo", package: "genisoimage", for: "tests of first-boot images" },
  { program: "python3", package: "python3-venv", for: "tests of the API by its own document" },
  { program: "redis-server", package: "redis-server", for: "tests of limits and answers that replicas share" },
  // Its server is not on PATH in Debian, but this is.
  { program: "pg_ctlcluster", package: "postgresql", for: "tests of the conversation store" },
];

const { only } = new Command("test")
  .description("Runs every test that this machine can run.")
  .option("--only <parts>", `only these parts, comma-separated: check, unit, graph, contract, go, system`)
  .parse()
  .opts<{ only?: string }>();
const wanted = only?.split(",");
const total: Outcome = { passed: 0, failed: 0, skipped: [] };

// Without root nothing can be installed; the tests then say what they left out.
if (process.getuid?.() === 0) {
  await ensurePrograms({
    programs: [...SYSTEM_PROGRAMS, ...TEST_PROGRAMS],
    install: true,
    report: (line) => console.log(line),
  });
}
for (const part of parts) {
  if (wanted && !part.name.split(",").some((name) => wanted.includes(name))) continue;
  const why = await part.missing();
  if (why !== undefined) {
    total.skipped.push({ count: 1, why: `${part.name}: ${why}` });
    continue;
  }
  const begun = Date.now();
  console.log(`\n== ${part.name}`);
  const outcome = await part.run();
  total.passed += outcome.passed;
  total.failed += outcome.failed;
  total.skipped.push(...outcome.skipped);
  console.log(
    `== ${part.name}: ${outcome.failed === 0 ? "green" : "RED"} in ${((Date.now() - begun) / 1000).toFixed(0)} s`,
  );
}

for (const { count, why } of total.skipped) console.log(`skipped ${count}: ${why}`);
const strict = process.env["CI"] === "true" && total.skipped.length > 0;
if (strict) console.log("CI=true: a skipped test is a failure");
console.log(`${total.passed} passed, ${total.failed + (strict ? total.skipped.length : 0)} failed`);
process.exitCode = total.failed > 0 || strict ? 1 : 0;

async function systemMissing(): Promise<string | undefined> {
  if (process.platform !== "linux") return `needs Linux, this is ${process.platform}`;
  if (process.getuid?.() !== 0) return "needs root (namespaces, machines): run it with sudo";
  return undefined;
}

/** Builds what the system tests need, then runs them. */
async function system(): Promise<Outcome> {
  const report = (line: string) => console.log(line);
  const pulumi = await resolvePulumi(report);
  console.log(`pulumi ${pulumi.version}: ${pulumi.source}`);
  return vitest("test/system.config.ts", { GORKHEAVY_PULUMI: pulumi.path });
}

/** Runs commands one after the other; each counts as one test. */
async function commands(list: string[][], cwd = root): Promise<Outcome> {
  const outcome: Outcome = { passed: 0, failed: 0, skipped: [] };
  for (const [program = "", ...args] of list) {
    const { exitCode } = await execa(program, args, {
      cwd,
      stdio: "inherit",
      reject: false,
      env: { GOFLAGS: "", CGO_ENABLED: "0" },
    });
    if (exitCode === 0) outcome.passed++;
    else outcome.failed++;
    console.log(`${exitCode === 0 ? "ok" : "FAILED"}: ${program} ${args.join(" ")}`);
  }
  return outcome;
}

async function vitest(config: string, env: Record<string, string> = {}): Promise<Outcome> {
  const dir = await mkdtemp(join(tmpdir(), "gorkheavy-test-"));
  try {
    const file = join(dir, "report.json");
    const { exitCode } = await execa(
      "vitest",
      ["run", "--config", config, "--reporter=default", "--reporter=json", `--outputFile.json=${file}`],
      { cwd: root, stdio: "inherit", reject: false, env },
    );
    const report = VitestReport.parse(JSON.parse(await readFile(file, "utf8")));
    const left = report.numPendingTests + report.numTodoTests;
    // A file that cannot even be loaded fails the run without a failed test.
    const failed = Math.max(report.numFailedTests, exitCode === 0 ? 0 : 1);
    return {
      passed: report.numPassedTests,
      failed,
      skipped: left > 0 ? [{ count: left, why: `${config}: skipped in the test file` }] : [],
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
