import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { bundle } from "../../../runtime/bundle.mjs";
import { renderEnsembleConfig } from "../../../runtime/contracts/ensemble-config.ts";
import { type MockModel, startMockModel } from "../../support/mock-model.ts";

/** Packages that take long to evaluate or much memory, and that not every start needs: whoever uses one imports it when it is needed. */
const ONLY_WHEN_NEEDED = [
  "@electric-sql/pglite",
  "@opentelemetry/exporter-trace-otlp-http",
  "@opentelemetry/resources",
  "@opentelemetry/sdk-trace-base",
  "ioredis",
  "node-llama-cpp",
  "openai",
  "postgres",
];

let dir: string;
let file: string;
let packagesAtStart: Record<string, string[]>;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "gorkheavy-bundle-"));
  file = join(dir, "gorkheavy.mjs");
  ({ packagesAtStart } = await bundle(file));
}, 60_000);
afterAll(() => rm(dir, { recursive: true, force: true }));

describe("the bundled runtime", () => {
  test("loads nothing heavy when the service starts", () => {
    const atStart = packagesAtStart["orchestrator/command.ts"];
    expect(atStart).toEqual(expect.arrayContaining(["commander", "undici", "zod"]));
    expect(atStart?.filter((name) => ONLY_WHEN_NEEDED.includes(name))).toEqual([]);
  });

  test("is ASCII: with one other character V8 keeps two bytes for each of two million", async () => {
    expect((await readFile(file, "latin1")).match(/[^\0-\x7f]/g)).toBeNull();
  });

  test("names all its commands, and an unknown one", async () => {
    const { stdout } = await execa(process.execPath, [file, "--help"]);
    for (const command of ["engine", "serve", "chat", "ask"]) expect(stdout).toMatch(new RegExp(`^  ${command} `, "m"));
    const { exitCode, stderr } = await execa(process.execPath, [file, "sreve"], { reject: false });
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("sreve") as string });
  });

  test("answers through a model server with what it kept of its libraries", async () => {
    const mock = await startMockModel("llama");
    const service = spawn(process.execPath, [file, "serve", "--config", await configOf(mock), "--port", "0"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    try {
      const url = await urlOf(service);
      for (const stream of [false, true]) {
        const response = await fetch(`${url}/v1/chat/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ model: "llama", stream, messages: [{ role: "user", content: "Why?" }] }),
        });
        expect(response.status).toBe(200);
        expect(await response.text()).toContain(stream ? "data: [DONE]" : "An answer of llama.");
      }
      expect((await fetch(`${url}/v1/chat/completions`, { method: "POST", body: "{" })).status).toBe(400);
    } finally {
      service.kill("SIGKILL");
      await mock.close();
    }
  }, 60_000);
});

async function configOf(mock: MockModel): Promise<string> {
  const config = join(dir, "ensemble.yaml");
  const member = { name: "llama", role: "candidate" as const, url: mock.url, api: "openai" as const, model: "llama" };
  await writeFile(config, renderEnsembleConfig({ members: [member] }));
  return config;
}

async function urlOf(service: ChildProcess): Promise<string> {
  if (service.stderr === null) throw new Error("no stderr");
  for await (const line of createInterface({ input: service.stderr })) {
    const listening = z.looseObject({ msg: z.literal("listening"), url: z.string() }).safeParse(JSON.parse(line));
    if (listening.success) {
      service.stderr.resume();
      return listening.data.url;
    }
  }
  throw new Error("the service ended before it listened");
}
