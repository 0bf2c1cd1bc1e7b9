import type { Backend } from "../../runtime/engine/backend.ts";
import { scriptedBackend, type ScriptedOptions } from "../../runtime/engine/scripted/backend.ts";
import { type EngineAddress, type RunningEngine, startEngine } from "../../runtime/engine/serve.ts";
import { createLogger } from "../../runtime/support/log.ts";

/** Admin token of a test's engine. */
export const ADMIN_TOKEN = "only-for-this-test";
/** The model that a test's engine serves. */
export const MODEL = "llama3.2:1b";

/** Starts an engine on free ports of the loopback. @param more what is unlike the usual; a backend other than a scripted one, no admin token */
export function engineWith(
  more: ScriptedOptions & { backend?: Backend; adminToken?: string; stream?: EngineAddress["stream"] } = {},
): Promise<RunningEngine> {
  const { backend, adminToken = ADMIN_TOKEN, stream, ...timing } = more;
  return startEngine(
    {
      backend: backend ?? scriptedBackend(timing),
      models: [MODEL],
      log: createLogger("test", "silent"),
      ...(adminToken === "" ? {} : { adminToken }),
    },
    { host: "127.0.0.1", port: 0, ollamaPort: 0, ...(stream === undefined ? {} : { stream }) },
  );
}

/** A scripted backend whose loads end when told to, half done until then. */
export function gated(timing: ScriptedOptions = {}): Backend & { open: (error?: Error) => void; loads: number } {
  const scripted = scriptedBackend(timing);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  promise.catch(() => undefined);
  const backend = {
    ...scripted,
    loads: 0,
    open: (error?: Error) => (error === undefined ? resolve() : reject(error)),
    load: async (...args: Parameters<Backend["load"]>) => {
      backend.loads++;
      args[1](0.5);
      const [, , signal] = args;
      const stopped = new Promise<never>((_, fail) =>
        signal.addEventListener("abort", () => fail(new Error("stopped")), { once: true }),
      );
      await Promise.race([promise, stopped]);
      return scripted.load(...args);
    },
  };
  return backend;
}
