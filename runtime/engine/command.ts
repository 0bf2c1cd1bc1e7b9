import { Command, Option } from "commander";
import { cpuLimit, threadsWithin } from "../support/cpu-limit.ts";
import { createLogger, LOG_LEVELS, type Logger } from "../support/log.ts";
import { integer } from "../support/options.ts";
import { lameDuckMs, onShutdown } from "../support/shutdown.ts";
import type { Backend } from "./backend.ts";
import { llamaBackend } from "./llama/backend.ts";
import { modelArguments } from "./model-arguments.ts";
import { scriptedBackend } from "./scripted/backend.ts";
import { startEngine } from "./serve.ts";
import { openLibrary } from "./store/joined-library.ts";
import { memoryBytes } from "./store/memory-fit.ts";

interface Flags {
  store: string;
  host: string;
  port: number;
  ollamaPort: number;
  backend: string;
  model: string[];
  threads?: number;
  context: number;
  slots: number;
  loadMs: number;
  tokenMs: number;
  graceMs: number;
  logLevel: string;
}

/** `engine`: serves models. */
export function engineCommand(): Command {
  return new Command("engine")
    .description("serve models: the main API (health, models) and the Ollama API")
    .option("--store <dir>", "where model files are kept", "/models")
    .option("--host <address>", "address to listen on; 0.0.0.0 opens it to the network", "127.0.0.1")
    .option("--port <number>", "port of the main API", integer("port", 0, 65_535), 5000)
    .option("--ollama-port <number>", "port of the Ollama API", integer("ollama-port", 0, 65_535), 11_434)
    .addOption(
      new Option("--backend <name>", "where inference happens").choices(["llama", "scripted"]).default("llama"),
    )
    .requiredOption(
      "--model <name...>",
      "models to serve, family:tag, with their files as family:tag=FILE.gguf; each may be given with its own --model",
    )
    .option(
      "--threads <number>",
      "threads of the inference (default: the CPU limit of this container, else llama.cpp's choice)",
      integer("threads", 1, 1024),
    )
    .option(
      "--context <number>",
      "llama: longest window, tokens; less where a model was trained for less",
      integer("context", 256, 1_048_576),
      4096,
    )
    .option("--slots <number>", "llama: answers that a model writes at the same time", integer("slots", 1, 64), 2)
    .option("--load-ms <number>", "scripted: how long a load takes", integer("load-ms", 0, 3_600_000), 0)
    .option("--token-ms <number>", "scripted: pause between two words", integer("token-ms", 0, 60_000), 0)
    .option(
      "--grace-ms <number>",
      "longest wait for running answers at SIGTERM",
      integer("grace-ms", 0, 3_600_000),
      25_000,
    )
    .addOption(new Option("--log-level <level>", "what is logged").choices(LOG_LEVELS).default("info"))
    .addHelpText(
      "after",
      "\nGORKHEAVY_ADMIN_TOKEN: token of whoever may pull other models and unload; without it nobody may.",
    )
    .action(async (flags: Flags) => {
      await run(flags);
    });
}

async function backendOf(flags: Flags, files: ReadonlyMap<string, string>, log: Logger): Promise<Backend> {
  if (flags.backend === "scripted") return scriptedBackend({ loadMs: flags.loadMs, tokenMs: flags.tokenMs });
  const threads = flags.threads ?? threadsWithin(cpuLimit());
  return llamaBackend({
    library: await openLibrary(files, flags.store, {
      env: process.env,
      memoryBytes: memoryBytes(),
      removed: (model) => log.warn({ model }, "removed from the store to make room"),
    }),
    contextTokens: flags.context,
    slots: flags.slots,
    ...(threads === undefined ? {} : { threads }),
  });
}

async function run(flags: Flags): Promise<void> {
  const log = createLogger("engine", flags.logLevel);
  const { names, files } = modelArguments(flags.model);
  const adminToken = process.env["GORKHEAVY_ADMIN_TOKEN"];
  const options = {
    backend: await backendOf(flags, files, log),
    models: names,
    log,
    ...(adminToken === undefined || adminToken === "" ? {} : { adminToken }),
  };
  const running = await startEngine(options, { host: flags.host, port: flags.port, ollamaPort: flags.ollamaPort });
  log.info({ main: running.main.url, ollama: running.ollama.url, backend: flags.backend, models: names }, "listening");
  onShutdown(() => running.stop(flags.graceMs, lameDuckMs(process.env)), log);
}
