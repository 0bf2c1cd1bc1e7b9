import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { llamaBackend } from "../../runtime/engine/llama/backend.ts";
import { FileLibrary } from "../../runtime/engine/store/file-library.ts";
import { type RunningEngine, startEngine } from "../../runtime/engine/serve.ts";
import { createLogger } from "../../runtime/support/log.ts";
import { writeTinyGguf } from "./tiny-gguf.ts";

/** Admin token of a test's engine. */
export const ADMIN_TOKEN = "only-for-this-test";

/** A real engine over llama.cpp with a very small model of random weights, `tiny:1`. */
export interface TinyEngine extends RunningEngine {
  close(): Promise<void>;
}

/** Starts one and waits until its model is ready. */
export async function startTinyEngine(): Promise<TinyEngine> {
  const folder = await mkdtemp(join(tmpdir(), "engine-"));
  const path = join(folder, "tiny.gguf");
  await writeTinyGguf(path);
  const running = await startEngine(
    {
      backend: llamaBackend({
        library: new FileLibrary(new Map([["tiny:1", path]])),
        threads: 1,
        contextTokens: 512,
        slots: 2,
      }),
      models: ["tiny:1"],
      adminToken: ADMIN_TOKEN,
      log: createLogger("test", "silent"),
    },
    { host: "127.0.0.1", port: 0, ollamaPort: 0 },
  );
  await running.engine.residency.load("tiny:1");
  return {
    ...running,
    close: async () => {
      await running.stop(0);
      await rm(folder, { recursive: true });
    },
  };
}
