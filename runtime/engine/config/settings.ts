/** How a setting is written as text, in a Secret, the environment or a flag; a whole section as JSON. */
export type SettingKind = "text" | "number" | "switch" | "models" | "seconds" | "section";

/** One setting: where it stands in the file, and how else it is given. */
export interface Setting {
  /** Place in the configuration file, such as `residency.dwellMs`. */
  path: string;
  /** Its flag, as commander has it. */
  flag: string;
  kind: SettingKind;
  help: string;
  /** Whether a change is taken over without a restart. */
  live: boolean;
  /** Whether its value is never shown, and never taken from the file. */
  secret?: true;
}

function setting(path: string, flag: string, kind: SettingKind, help: string, more: Partial<Setting> = {}): Setting {
  return { path, flag, kind, help, live: false, ...more };
}

const LIVE = { live: true } as const;

/** Every setting of the engine, in the order of `--help`. */
export const SETTINGS: readonly Setting[] = [
  setting("backend", "--backend <name>", "text", "where inference happens: llama, ollama, vllm or scripted"),
  setting(
    "upstream",
    "--upstream <url>",
    "text",
    "ollama, vllm: address of the server, such as http://127.0.0.1:11434",
  ),
  setting("store", "--store <dir>", "text", "where model files are kept"),
  setting("storage", "", "section", "how the store brings models and how much it keeps; as JSON in the environment"),
  setting("host", "--host <address>", "text", "address to listen on; 0.0.0.0 opens it to the network"),
  setting("port", "--port <number>", "number", "port of the main API; 0 takes a free one"),
  setting("ollamaPort", "--ollama-port <number>", "number", "port of the Ollama API; 0 takes a free one"),
  setting(
    "models",
    "--model <name...>",
    "models",
    "models to serve, family:tag, with their files as family:tag=FILE.gguf; each may be given with its own --model",
    LIVE,
  ),
  setting(
    "threads",
    "--threads <number>",
    "number",
    "threads of the inference; without it the CPU limit of this container, else all CPUs but one",
  ),
  setting(
    "contextTokens",
    "--context <number>",
    "number",
    "llama: longest window, tokens; less where a model was trained for less",
  ),
  setting("slots", "--slots <number>", "number", "llama: answers that a model writes at the same time"),
  setting(
    "residency.keepAliveSeconds",
    "--keep-alive <time>",
    "seconds",
    "time from a model's last token to being unloaded, such as 300, 5m or -1 (for ever)",
    LIVE,
  ),
  setting(
    "residency.memoryBytes",
    "--memory-bytes <number>",
    "number",
    "memory for all models together; without it what this container may have",
    LIVE,
  ),
  setting(
    "residency.waitMs",
    "--wait-ms <number>",
    "number",
    "longest wait of a request for a model that it makes load; 0 tells it to come back",
    LIVE,
  ),
  setting(
    "residency.dwellMs",
    "--dwell-ms <number>",
    "number",
    "shortest stay of a loaded model before it makes room for another",
    LIVE,
  ),
  setting(
    "residency.fairnessMs",
    "--fairness-ms <number>",
    "number",
    "longest wait for memory that busy models have; then they give way",
    LIVE,
  ),
  setting(
    "residency.replaceWithoutRoom",
    "--replace-without-room <yes>",
    "switch",
    "without room for two versions: unload the old one, then load the new one",
    LIVE,
  ),
  setting("stream", "", "section", "who may open the WebSocket, and how often; as JSON in the environment"),
  setting("features.webSocket", "--web-socket <yes>", "switch", "open the main API's WebSocket"),
  setting(
    "features.predictivePreload",
    "--predictive-preload <yes>",
    "switch",
    "load models ahead of the hours in which they are usually asked",
    LIVE,
  ),
  setting("loadMs", "--load-ms <number>", "number", "scripted: how long a load takes"),
  setting("tokenMs", "--token-ms <number>", "number", "scripted: pause between two words"),
  setting("graceMs", "--grace-ms <number>", "number", "longest wait for running answers at SIGTERM", LIVE),
  setting("logLevel", "--log-level <level>", "text", "what is logged: trace, debug, info, warn, error or silent", LIVE),
  setting(
    "adminToken",
    "",
    "text",
    "token of whoever may pull, create, delete and unload models; no flag and no place in the file, as others can read those",
    {
      live: true,
      secret: true,
    },
  ),
  setting("upstreamKey", "", "text", "ollama, vllm: token that the server wants; neither a flag nor in the file", {
    secret: true,
  }),
];

/** Environment variable of a setting: `residency.dwellMs` is GORKHEAVY_RESIDENCY_DWELL_MS. */
export function variableOf({ path }: Setting): string {
  return `GORKHEAVY_${path
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .replaceAll(".", "_")
    .toUpperCase()}`;
}

/** Commander's name for a setting's flag; undefined where it has none. */
export function optionOf({ flag }: Setting): string | undefined {
  const name = /^--([a-z-]+)/.exec(flag)?.[1];
  return name?.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
