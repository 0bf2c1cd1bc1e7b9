import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { renderWaitScript } from "../../../components/ensemble/wait.ts";
import { renderPullScript } from "../../../components/models/ollama-container.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function serve(handler: RequestListener): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(
    () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  );
  const address = server.address() as AddressInfo;
  return `http://127.0.0.1:${address.port}/models/health`;
}

function run(
  file: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(file, args, { env: { PATH: process.env["PATH"], ...env } }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ code, stdout, stderr });
    });
  });
}

test("waits until every model has answered 200", async () => {
  let loading = 2;
  const ready = await serve((_, answer) => answer.end("{}"));
  const slow = await serve((_, answer) => {
    answer.statusCode = loading-- > 0 ? 503 : 200;
    answer.end("{}");
  });
  const script = renderWaitScript({ urls: [ready, slow], intervalSeconds: 0.05, extraSeconds: 0, deadlineSeconds: 20 });
  const { code, stdout } = await run(process.execPath, ["-e", script]);
  expect(code).toBe(0);
  expect(stdout).toContain(`${ready} is there`);
  expect(stdout).toContain(`waiting for ${slow} (HTTP 503)`);
  expect(loading).toBe(-1);
});

test("gives up at the deadline and names what is missing", async () => {
  const ready = await serve((_, answer) => answer.end("{}"));
  const gone = "http://127.0.0.1:1/models/health";
  const script = renderWaitScript({
    urls: [ready, gone],
    intervalSeconds: 0.05,
    extraSeconds: 0,
    deadlineSeconds: 0.2,
  });
  const { code, stderr } = await run(process.execPath, ["-e", script]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/gave up after 0.2 s; missing: http:\/\/127.0.0.1:1\/models\/health \(\w+\)/);
  expect(stderr).not.toContain(ready);
});

/** A stand-in for `ollama` that notes how it is called; `show` finds the model only if the file `have` is there. */
async function fakeOllama(): Promise<{ dir: string; calls: () => Promise<string[]>; env: Record<string, string> }> {
  const dir = await mkdtemp(join(tmpdir(), "gorkheavy-pull-"));
  cleanups.push(() => rm(dir, { recursive: true }));
  const lines = [
    "#!/bin/sh",
    'echo "$*" >> "$LOG"',
    'case "$1" in serve) exec sleep 30;; show) test "$2" = --modelfile && echo "FROM /models/blobs/sha256-$(cat "$OLLAMA_MODELS/have")" || test -e "$OLLAMA_MODELS/have";; pull) test ! -e "$OLLAMA_MODELS/offline";; esac',
  ];
  await writeFile(join(dir, "ollama"), lines.join("\n"));
  await chmod(join(dir, "ollama"), 0o755);
  const log = join(dir, "log");
  return {
    dir,
    calls: async () =>
      (await readFile(log, "utf8"))
        .trim()
        .split("\n")
        .filter((line) => line !== "serve" && line !== "list"),
    env: {
      PATH: `${dir}:${process.env["PATH"] ?? ""}`,
      LOG: log,
      OLLAMA_MODELS: join(dir, "models"),
      MODEL_NAME: "llama3.2:1b",
    },
  };
}

test("pulls a model that is not there and writes the threads into it", async () => {
  const { calls, env } = await fakeOllama();
  const { code } = await run("sh", ["-c", renderPullScript(1)], env);
  expect(code).toBe(0);
  expect(await calls()).toEqual(["show llama3.2:1b", "pull llama3.2:1b", "create llama3.2:1b -f /tmp/Modelfile"]);
  expect(await readFile("/tmp/Modelfile", "utf8")).toBe(
    "FROM llama3.2:1b\nPARAMETER num_ctx 4096\nPARAMETER num_thread 1\n",
  );
});

test("asks no registry for a model that is there", async () => {
  const { dir, calls, env } = await fakeOllama();
  await run("mkdir", ["-p", join(dir, "models")]);
  await writeFile(join(dir, "models", "have"), "");
  const { code } = await run("sh", ["-c", renderPullScript(undefined)], env);
  expect(code).toBe(0);
  expect(await calls()).toEqual(["show llama3.2:1b", "create llama3.2:1b -f /tmp/Modelfile"]);
});

test("takes weights of the digest that they are pinned to, and lets others go", async () => {
  const { dir, calls, env } = await fakeOllama();
  const [good, other] = ["a".repeat(64), "b".repeat(64)];
  await run("mkdir", ["-p", join(dir, "models")]);
  await writeFile(join(dir, "models", "have"), good);
  const pinned = { ...env, MODEL_DIGEST: good };
  expect((await run("sh", ["-c", renderPullScript(1, true)], pinned)).code).toBe(0);
  expect(await calls()).toContain("create llama3.2:1b -f /tmp/Modelfile");

  await writeFile(join(dir, "log"), "");
  await writeFile(join(dir, "models", "have"), other);
  const { code, stderr } = await run("sh", ["-c", renderPullScript(1, true)], pinned);
  expect(code).toBe(1);
  expect(stderr).toContain(`llama3.2:1b has other weights than sha256:${good}:\nFROM /models/blobs/sha256-${other}`);
  expect(await calls()).toEqual([
    "show llama3.2:1b",
    "show --modelfile llama3.2:1b",
    "show --modelfile llama3.2:1b",
    "rm llama3.2:1b",
  ]);
});

test("fails when the pull fails, so that the pod tries again", async () => {
  const { dir, calls, env } = await fakeOllama();
  await run("mkdir", ["-p", join(dir, "models")]);
  await writeFile(join(dir, "models", "offline"), "");
  const { code } = await run("sh", ["-c", renderPullScript(1)], env);
  expect(code).toBe(1);
  expect(await calls()).not.toContain("create llama3.2:1b -f /tmp/Modelfile");
});
