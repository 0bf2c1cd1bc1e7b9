import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { llamaBackend } from "../../../../runtime/engine/llama/backend.ts";
import { ollamaBackend } from "../../../../runtime/engine/ollama/backend.ts";
import { scriptedBackend } from "../../../../runtime/engine/scripted/backend.ts";
import { startEngine } from "../../../../runtime/engine/serve.ts";
import { FileLibrary } from "../../../../runtime/engine/store/file-library.ts";
import { vllmBackend } from "../../../../runtime/engine/vllm/backend.ts";
import { createLogger } from "../../../../runtime/support/log.ts";
import { ollamaInCache, startOllama } from "../../../bench/peers/ollama.ts";
import { type Abilities, describeBackend } from "../../../support/backend-suite.ts";
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

const EVERYTHING: Abilities = {
  schema: true,
  labels: true,
  logprobs: "each",
  vectors: true,
  absence: true,
  longPrompts: true,
};
const NOTHING_TO_WAIT_FOR = (): Promise<void> => Promise.resolve();

const llama = (): ReturnType<typeof llamaBackend> =>
  llamaBackend({ library: new FileLibrary(new Map([["tiny:1", path]])), threads: 1, contextTokens: 512 });

describeBackend(
  "scripted",
  { ...EVERYTHING, schema: false, logprobs: false, vectors: false, absence: false, longPrompts: false },
  () => Promise.resolve({ backend: scriptedBackend(), model: "llama3.2:1b", close: NOTHING_TO_WAIT_FOR }),
);

describeBackend("llama", EVERYTHING, () =>
  Promise.resolve({ backend: llama(), model: "tiny:1", close: NOTHING_TO_WAIT_FOR }),
);

describeBackend("ollama, over an engine of ours", EVERYTHING, async () => {
  const adminToken = "a token that is long enough";
  const options = { backend: llama(), models: ["tiny:1"], adminToken, log: createLogger("engine", "fatal") };
  const engine = await startEngine(options, { host: "127.0.0.1", port: 0, ollamaPort: 0 });
  return {
    backend: ollamaBackend({ url: engine.ollama.url, key: adminToken, contextTokens: 512, threads: 1 }),
    model: "tiny:1",
    close: () => engine.stop(0),
  };
});

// Ollama itself, where `npm run bench -- speed` has built it and GORKHEAVY_TEST_OLLAMA asks for it: what another program's server does on a busy
// machine is not for CI to wait for. It says nothing of tokens that are no whole character, and random weights write many of these.
const ollama = process.env["GORKHEAVY_TEST_OLLAMA"] === undefined ? undefined : ollamaInCache();
if (ollama !== undefined) {
  describeBackend("ollama, over Ollama itself", { ...EVERYTHING, logprobs: "some" }, async () => {
    const server = await startOllama(ollama);
    await server.create("tiny:1", path);
    return {
      backend: ollamaBackend({ url: server.url, contextTokens: 512, threads: 1 }),
      model: "tiny:1",
      close: () => server.stop(),
    };
  });
}

describeBackend("vllm", EVERYTHING, async () => {
  const server = await startFakeVllm();
  return {
    backend: vllmBackend({ url: server.url }),
    model: "tiny",
    close: () => server.close(),
  };
});
