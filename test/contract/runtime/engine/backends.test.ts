import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe } from "vitest";
import { llamaBackend } from "../../../../runtime/engine/llama/backend.ts";
import { ollamaBackend } from "../../../../runtime/engine/ollama/backend.ts";
import { scriptedBackend } from "../../../../runtime/engine/scripted/backend.ts";
import { startEngine } from "../../../../runtime/engine/serve.ts";
import { FileLibrary } from "../../../../runtime/engine/store/file-library.ts";
import { vllmBackend } from "../../../../runtime/engine/vllm/backend.ts";
import { createLogger } from "../../../../runtime/support/log.ts";
import { ollamaInCache, startOllama } from "../../../bench/peers/ollama.ts";
import { describeBackend } from "../../../support/backend-suite.ts";
import { startFakeVllm } from "../../../support/fake-vllm.ts";
import { writeTinyGguf } from "../../../support/tiny-gguf.ts";

// Every backend passes one and the same suite; what a backend cannot do is said here.

let folder: string;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "backends-"));
  path = join(folder, "tiny.gguf");
  await writeTinyGguf(path);
});
afterAll(() => rm(folder, { recursive: true }));

const EVERYTHING = {
  schema: true,
  labels: true,
  logprobs: "each" as const,
  vectors: true,
  absence: true,
  longPrompts: true,
};
const NOTHING_TO_WAIT_FOR = (): Promise<void> => Promise.resolve();

const llama = (): ReturnType<typeof llamaBackend> =>
  llamaBackend({ library: new FileLibrary(new Map([["tiny:1", path]])), threads: 1, contextTokens: 512 });

describeBackend("scripted", () =>
  Promise.resolve({
    backend: scriptedBackend(),
    model: "llama3.2:1b",
    can: { ...EVERYTHING, schema: false, logprobs: false as const, vectors: false, absence: false, longPrompts: false },
    close: NOTHING_TO_WAIT_FOR,
  }),
);

describeBackend("llama", () =>
  Promise.resolve({ backend: llama(), model: "tiny:1", can: EVERYTHING, close: NOTHING_TO_WAIT_FOR }),
);

describeBackend("ollama, over an engine of ours", async () => {
  const adminToken = "a token that is long enough";
  const options = { backend: llama(), models: ["tiny:1"], adminToken, log: createLogger("engine", "fatal") };
  const engine = await startEngine(options, { host: "127.0.0.1", port: 0, ollamaPort: 0 });
  return {
    backend: ollamaBackend({ url: engine.ollama.url, key: adminToken, contextTokens: 512, threads: 1 }),
    model: "tiny:1",
    can: EVERYTHING,
    close: () => engine.stop(0),
  };
});

describe.skipIf(ollamaInCache() === undefined)("with Ollama itself, which `npm run bench -- speed` builds", () => {
  describeBackend("ollama", async () => {
    const server = await startOllama(ollamaInCache() ?? "");
    await server.create("tiny:1", path);
    return {
      backend: ollamaBackend({ url: server.url, contextTokens: 512, threads: 1 }),
      model: "tiny:1",
      // It says nothing of tokens that are no whole character, and random weights write many of these.
      can: { ...EVERYTHING, logprobs: "some" as const },
      close: () => server.stop(),
    };
  });
});

describeBackend("vllm", async () => {
  const server = await startFakeVllm();
  return {
    backend: vllmBackend({ url: server.url }),
    model: "tiny",
    can: EVERYTHING,
    close: () => server.close(),
  };
});
