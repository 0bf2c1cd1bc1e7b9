// The running service against its own OpenAPI document, by a tester that invents requests from it: no status of 500 or more, and nothing undocumented.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { MEMBERS, type MockEnsemble, startMockEnsemble } from "../../support/ensemble.ts";
import { venvPython } from "../../../infra/lab/tools/venv.ts";

/** What invents the requests; the newest of 2026-11. */
const SCHEMATHESIS = "schemathesis==4.32.5";
/** The same requests every time. */
const SEED = 4_711;
/** Requests for each operation with something to vary; a run takes ten to thirty seconds on two slow cores. */
const EXAMPLES = 40;
/** Some of them cannot be made, as documents of many alternatives are hard to fill. */
const LEAST_EXAMPLES = 10;
/** What an answer must be: no 5xx, and of a documented status, content type and shape. */
const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_schema_conformance",
];

const Document = z.looseObject({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) });
type Document = z.output<typeof Document>;
/** One operation's requests, as the tester's report of events has them; other events are left out. */
const Finished = z.object({
  ScenarioFinished: z.looseObject({
    status: z.string(),
    recorder: z.looseObject({ label: z.string(), cases: z.record(z.string(), z.unknown()) }),
  }),
});

let ensemble: MockEnsemble;
let document: Document;
let python: string;
let dir: string;

beforeAll(async () => {
  python = await venvPython("schemathesis", [SCHEMATHESIS]);
  dir = await mkdtemp(join(tmpdir(), "schemathesis-"));
  ensemble = await startMockEnsemble();
  const answer = await fetch(`${ensemble.url}/openapi.json`);
  document = Document.parse(await answer.json());
});
afterAll(async () => {
  await ensemble.close();
  await rm(dir, { recursive: true, force: true });
});

describe("schemathesis finds nothing in the running service", () => {
  test("by its document as it is", async () => {
    const run = await schemathesis(`${ensemble.url}/openapi.json`, CHECKS);
    expect(run.exitCode, run.all).toBe(0);
    expectAllTested(run.cases);
  });

  test("by a document that names the models that are there", async () => {
    const file = join(dir, "named.json");
    await writeFile(file, JSON.stringify(naming(document, [...MEMBERS, "gorkheavy:latest"])));
    const run = await schemathesis(file, CHECKS, "--url", ensemble.url);
    expect(run.exitCode, run.all).toBe(0);
    expectAllTested(run.cases);
  });
});

/** The same value with `models` as the only ones that a request's `model` may be: made-up names end at 404, before most of the work. */
function naming(value: unknown, models: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((one) => naming(one, models));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]: [string, unknown]) => {
      if (key === "responses") return [key, one];
      const named = key === "model" && z.looseObject({ type: z.literal("string") }).safeParse(one).success;
      return [key, named ? { type: "string", enum: models } : naming(one, models)];
    }),
  );
}

/** Every operation was asked at least once, those with something to vary often. The document itself was read by the tester. */
function expectAllTested(cases: ReadonlyMap<string, number>): void {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ label: `${method.toUpperCase()} ${path}`, operation })),
  );
  expect(operations.length).toBeGreaterThan(25);
  const few = operations
    .filter(({ label }) => label !== "GET /openapi.json")
    .map(({ label, operation }) => ({
      label,
      has: cases.get(label) ?? 0,
      want: "requestBody" in Object(operation) ? LEAST_EXAMPLES : 1,
    }))
    .filter(({ has, want }) => has < want);
  expect(few, "operations that were hardly asked").toEqual([]);
}

/** Runs the tester in a folder of its own, where it may leave what it likes. */
async function schemathesis(
  location: string,
  checks: readonly string[],
  ...flags: string[]
): Promise<{ exitCode: number | undefined; all: string; cases: Map<string, number> }> {
  const report = join(dir, "events.ndjson");
  await rm(report, { force: true });
  const { exitCode, all } = await execa(
    python,
    [
      ...["-m", "schemathesis.cli", "run", location, "--no-color", "--checks", checks.join(","), "--phases", "fuzzing"],
      ...["--seed", String(SEED), "--max-examples", String(EXAMPLES), "--workers", "2", "--continue-on-failure"],
      ...["--no-shrink", "--generation-database", "none", "--suppress-health-check", "all", "--request-timeout", "20"],
      ...["--report", "ndjson", "--report-ndjson-path", report, ...flags],
    ],
    { cwd: dir, reject: false, all: true, timeout: 240_000 },
  );
  const lines = await readFile(report, "utf8").catch(() => "");
  const cases = new Map<string, number>();
  for (const line of lines.split("\n").filter((one) => one !== "")) {
    const event = Finished.safeParse(JSON.parse(line));
    if (!event.success) continue;
    const { label, cases: asked } = event.data.ScenarioFinished.recorder;
    cases.set(label, (cases.get(label) ?? 0) + Object.keys(asked).length);
  }
  return { exitCode, all, cases };
}
