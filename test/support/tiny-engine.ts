import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { llamaBackend } from "../../runtime/engine/llama/backend.ts";
import { openLibrary } from "../../runtime/engine/store/joined-library.ts";
import { type RunningEngine, startEngine } from "../../runtime/engine/serve.ts";
import { createLogger } from "../../runtime/support/log.ts";
import { writeTinyGguf } from "./tiny-gguf.ts";

/** Admin token of a test's engine. */
export const ADMIN_TOKEN = "only-for-this-test";

/** A real engine over llama.cpp with a very small model of random weights, `tiny:1`, and a store. */
export interface TinyEngine extends RunningEngine {
  /** The model's file. */
  path: string;
  close(): Promise<void>;
}

/** Starts one and waits until its model is ready. */
export async function startTinyEngine(): Promise<TinyEngine> {
  const folder = await mkdtemp(join(tmpdir(), "engine-"));
  const path = join(folder, "tiny.gguf");
  await writeTinyGguf(path);
  const library = await openLibrary(new Map([["tiny:1", path]]), join(folder, "store"), {});
  const running = await startEngine(
    {
      backend: llamaBackend({
        library,
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
    path,
    close: async () => {
      await running.stop(0);
      await rm(folder, { recursive: true });
    },
  };
}
