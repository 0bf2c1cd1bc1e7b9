import { join } from "node:path";
import { Command } from "commander";
import { type EngineConfig, EngineConfigSchema } from "../contracts/engine-config.ts";
import { cpuLimit, threadsWithin } from "../support/cpu-limit.ts";
import { createLogger, type Logger } from "../support/log.ts";
import { memoryLimit } from "../support/memory-limit.ts";
import { lameDuckMs, onShutdown } from "../support/shutdown.ts";
import type { Backend } from "./backend.ts";
import { printConfig } from "./config/print.ts";
import { LiveConfig } from "./config/reload.ts";
import { SETTINGS, variableOf } from "./config/settings.ts";
import { resolveConfig, type Sources } from "./config/sources.ts";
import type { EngineOptions } from "./engine.ts";
import { llamaBackend } from "./llama/backend.ts";
import { scriptedBackend } from "./scripted/backend.ts";
import { UsageFile } from "./residency/usage-file.ts";
import { startEngine } from "./serve.ts";
import { openLibrary } from "./store/joined-library.ts";
import { upstreamBackend } from "./upstream/backend.ts";

/** File beside the models' of the hours in which they are asked. */
const USAGE = "usage.json";
const DEFAULTS = EngineConfigSchema.parse({});

/** `engine`: serves models. */
export function engineCommand(): Command {
  const command = new Command("engine")
    .description("serve models: the main API, the Ollama API and the OpenAI API")
    .option("--config <file>", "YAML or JSON file with settings, such as one of a mounted ConfigMap; watched")
    .option("--secrets <dir>", "folder with one file a setting, such as a mounted Secret with adminToken; watched")
    .option("--print-config", "print the settings and where each is from, without secrets, and end");
  for (const one of SETTINGS) if (one.flag !== "") command.option(one.flag, `${one.help}${defaultOf(one.path)}`);
  return command.addHelpText("after", sourcesHelp()).action(run);
}

/** A setting's default for the help; nothing where it has none. */
function defaultOf(path: string): string {
  const value = path
    .split(".")
    .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], DEFAULTS);
  return value === undefined || Array.isArray(value) ? "" : ` (default: ${JSON.stringify(value)})`;
}

function sourcesHelp(): string {
  const width = Math.max(...SETTINGS.map(({ path }) => path.length));
  const rows = SETTINGS.map(
    (one) => `  ${one.path.padEnd(width)}  ${variableOf(one)}${one.live ? "" : " (change takes a restart)"}`,
  );
  return [
    "",
    "Settings come from the file, then the Secret's folder, then the environment, then flags; the later wins. A variable with _FILE",
    "names a file that holds the value. The file and the Secret are read again when they change and at SIGHUP; a wrong one changes nothing.",
    "In the file, and as environment variables:",
    ...rows,
  ].join("\n");
}

async function run(flags: Record<string, unknown>): Promise<void> {
  const { config: file, secrets, printConfig: print } = flags;
  const sources: Sources = {
    env: process.env,
    flags,
    ...(typeof file === "string" ? { file } : {}),
    ...(typeof secrets === "string" ? { secrets } : {}),
  };
  const resolved = await resolveConfig(sources);
  const { config } = resolved;
  if (print === true) {
    process.stdout.write(printConfig(resolved));
    return;
  }
  const log = createLogger("engine", config.logLevel);
  for (const warning of resolved.warnings) log.warn(warning);
  const files = new Map<string, string>();
  setFiles(files, config);
  const running = await startEngine(
    {
      backend: await backendOf(config, files, log),
      stored: config.backend !== "scripted",
      log,
      ...(config.backend === "llama" ? { usage: await UsageFile.open(join(config.store, USAGE), log) } : {}),
      ...optionsOf(config),
    },
    { ...config, stream: config.features.webSocket && config.stream },
  );
  const { main, ollama, engine } = running;
  const models = config.models.map(({ name }) => name);
  log.info({ main: main.url, ollama: ollama.url, backend: config.backend, models }, "listening");
  const live = new LiveConfig(
    sources,
    resolved,
    async (next) => {
      log.level = next.logLevel;
      graceMs = next.graceMs;
      setFiles(files, next);
      await engine.reconfigure(optionsOf(next));
    },
    log,
  );
  let { graceMs } = config;
  live.watch();
  process.on("SIGHUP", () => void live.reload(true));
  onShutdown(() => {
    live.close();
    return running.stop(graceMs, lameDuckMs(process.env));
  }, log);
}

async function backendOf(config: EngineConfig, files: ReadonlyMap<string, string>, log: Logger): Promise<Backend> {
  const { loadMs, tokenMs, contextTokens, slots } = config;
  if (config.backend === "scripted") return scriptedBackend({ loadMs, tokenMs });
  if (config.backend === "ollama" || config.backend === "vllm") return upstreamBackend(config.backend, config);
  const threads = config.threads ?? threadsWithin(cpuLimit());
  const library = await openLibrary(files, config.store, {
    env: process.env,
    memoryBytes: memoryLimit(),
    settings: config.storage,
    removed: (model) => log.warn({ model }, "removed from the store to make room"),
  });
  return llamaBackend({ library, contextTokens, slots, threads });
}

/** The files of the models that have one, as they are named now. */
function setFiles(files: Map<string, string>, { models }: EngineConfig): void {
  files.clear();
  for (const { name, file } of models) if (file !== undefined) files.set(name, file);
}

/** What of a configuration an engine may also take over while it runs. */
function optionsOf(
  config: EngineConfig,
): Pick<EngineOptions, "models" | "onDemand" | "rules" | "adminToken" | "predictivePreload"> {
  const { keepAliveSeconds, ...rules } = config.residency;
  const named = (load: "start" | "demand"): string[] =>
    config.models.filter((model) => model.load === load).map(({ name }) => name);
  return {
    models: named("start"),
    onDemand: named("demand"),
    predictivePreload: config.features.predictivePreload,
    rules: { ...rules, keepAliveMs: keepAliveSeconds < 0 ? Number.POSITIVE_INFINITY : keepAliveSeconds * 1000 },
    ...(config.adminToken === undefined ? {} : { adminToken: config.adminToken }),
  };
}
