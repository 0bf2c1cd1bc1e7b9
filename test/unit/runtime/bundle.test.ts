import { type ChildProcess, spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { bundle } from "../../../runtime/bundle.mjs";
import { bundleLlamaWorker, llamaFiles } from "../../../runtime/bundle-llama.mjs";
import { renderEnsembleConfig } from "../../../runtime/contracts/ensemble-config.ts";
import { type MockModel, startMockModel } from "../../support/mock-model.ts";
import { writeTinyGguf } from "../../support/tiny-gguf.ts";

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

describe("the bundled process of a model", () => {
  test("finds llama.cpp beside it, and nothing else, and answers by a JSON grammar", async () => {
    await bundleLlamaWorker(join(dir, "llama-worker.mjs"));
    for (const [place, from] of await llamaFiles(`${process.platform}-${process.arch}`)) {
      await mkdir(dirname(join(dir, place)), { recursive: true });
      await copyFile(from, join(dir, place));
    }
    const model = join(dir, "tiny.gguf");
    await writeTinyGguf(model);
    const args = ["engine", "--host", "127.0.0.1", "--port", "0", "--ollama-port", "0", "--threads", "1"];
    const engine = spawn(process.execPath, [file, ...args, "--model", `tiny:1=${model}`], {
      cwd: dir,
      env: { HOME: dir },
      stdio: ["ignore", "ignore", "pipe"],
    });
    try {
      const url = await ollamaUrlOf(engine);
      await expect
        .poll(async () => await (await fetch(`${url}/models/health`)).json(), { timeout: 30_000 })
        .toMatchObject({ state: "ready", models: [{ name: "tiny:1" }] });
      const response = await fetch(`${url}/api/generate`, {
        method: "POST",
        body: JSON.stringify({
          model: "tiny:1",
          prompt: "Why?",
          format: "json",
          stream: false,
          options: { num_predict: 8 },
        }),
      });
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({
        done: true,
        response: expect.stringMatching(/^\s*[{[]/) as string,
      });
    } finally {
      engine.kill("SIGKILL");
    }
  }, 60_000);

  test("names the platform that has no llama.cpp", async () => {
    await expect(llamaFiles("linux-mips")).rejects.toThrow(/llama\.cpp for linux-mips is not in .*npm ci/);
  });
});

async function ollamaUrlOf(engine: ChildProcess): Promise<string> {
  return (await lineOf(engine, z.looseObject({ msg: z.literal("listening"), ollama: z.string() }))).ollama;
}

async function configOf(mock: MockModel): Promise<string> {
  const config = join(dir, "ensemble.yaml");
  const member = { name: "llama", role: "candidate" as const, url: mock.url, api: "openai" as const, model: "llama" };
  await writeFile(config, renderEnsembleConfig({ members: [member] }));
  return config;
}

async function urlOf(service: ChildProcess): Promise<string> {
  return (await lineOf(service, z.looseObject({ msg: z.literal("listening"), url: z.string() }))).url;
}

/** The first line of a program's log that is of this form. */
async function lineOf<T>(program: ChildProcess, form: z.ZodType<T>): Promise<T> {
  if (program.stderr === null) throw new Error("no stderr");
  for await (const line of createInterface({ input: program.stderr })) {
    const parsed = form.safeParse(JSON.parse(line));
    if (parsed.success) {
      program.stderr.resume();
      return parsed.data;
    }
  }
  throw new Error("the program ended before it listened");
}
