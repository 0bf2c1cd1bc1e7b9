import { z } from "zod";
import { EngineStreamConfigSchema } from "./engine-stream-config.ts";
import { ModelStoreSchema, STORE_PATH } from "./model-store-config.ts";

function whole(least: number, most: number): z.ZodNumber {
  const error = `want a whole number from ${least} to ${most}`;
  return z.int({ error }).min(least, { error }).max(most, { error });
}

const FLAG = z.boolean({ error: "want true or false" });

/** Longest time that a setting takes, ms: a day. */
const DAY_MS = 86_400_000;

/** A model's name as Ollama has it: letters, digits and `. _ -`, path parts, and a tag. No part can climb out of a folder. */
const ModelName = z
  .string()
  .regex(
    /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,79}(\/[a-zA-Z0-9][a-zA-Z0-9._-]{0,79}){0,3}(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,79})?$/,
    "want family:tag such as llama3.2:1b",
  );

/** A model that an engine serves. */
export const EngineModelSchema = z.strictObject({
  name: ModelName,
  /** Its GGUF file. Absent: it is in the store under its name. */
  file: z.string().min(1, "want the path of a file").optional(),
  /** ollama: digest that the server's model must have, 64 hex digits. Absent: it may have any. */
  digest: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "want 64 hex digits in small letters")
    .optional(),
  /** `start`: loaded at the start, and the engine is not ready without it; `demand`: loaded when it is first asked for. */
  load: z.enum(["start", "demand"], { error: "want start or demand" }).default("start"),
});

/** The engine's configuration. Each setting may come from a file, a Secret, the environment or a flag; the later wins. */
export const EngineConfigSchema = z.strictObject({
  /** Where inference happens. */
  backend: z
    .enum(["llama", "ollama", "vllm", "scripted"], { error: "want llama, ollama, vllm or scripted" })
    .default("llama"),
  /** ollama, vllm: base address of the server, such as `http://127.0.0.1:11434`, without user and password. */
  upstream: z.string().min(1, "want an address such as http://127.0.0.1:11434").optional(),
  /** Folder of the model files. */
  store: z.string().min(1, "want a folder").default(STORE_PATH),
  /** How the store brings models and how much it keeps. */
  storage: ModelStoreSchema.prefault({}),
  /** Address to listen on; 0.0.0.0 opens it to the network. */
  host: z.string().min(1, "want an address such as 127.0.0.1 or 0.0.0.0").default("127.0.0.1"),
  /** Port of the main API; 0 takes a free one. */
  port: whole(0, 65_535).default(5000),
  /** Port of the Ollama API; 0 takes a free one. */
  ollamaPort: whole(0, 65_535).default(11_434),
  /** Models to serve, in the order in which they are loaded. */
  models: z
    .array(EngineModelSchema, { error: "want a list of models" })
    .refine((models) => new Set(models.map(({ name }) => name)).size === models.length, {
      error: "want each name once",
    })
    .default([]),
  /** Threads of the inference. Absent: the CPU limit of this container, else all CPUs but one. */
  threads: whole(1, 1024).optional(),
  /** llama: longest window, tokens; less where a model was trained for less. */
  contextTokens: whole(256, 1_048_576).default(4096),
  /** llama: answers that a model writes at the same time. */
  slots: whole(1, 64).default(2),
  /** How models are kept in memory. */
  residency: z
    .strictObject({
      /** Time from a model's last token to being let go, s; negative is for ever. A request's own `keep_alive` wins. */
      keepAliveSeconds: z.number({ error: "want seconds, negative for ever" }).max(31_536_000).default(-1),
      /** Memory for all models together, bytes. Absent: what the container may have. */
      memoryBytes: whole(1, Number.MAX_SAFE_INTEGER).optional(),
      /** Longest wait of a request for a model that it makes load, ms; 0: it is told at once to come back. */
      waitMs: whole(0, DAY_MS).default(30_000),
      /** Shortest stay of a model that was loaded before it makes room for another, ms. */
      dwellMs: whole(0, DAY_MS).default(10_000),
      /** Longest wait for memory while those that have it are busy, ms; then they end what runs and give way. */
      fairnessMs: whole(0, DAY_MS).default(20_000),
      /** Whether a new version is loaded after the old one was unloaded, where there is no room for both. */
      replaceWithoutRoom: FLAG.default(true),
    })
    .prefault({}),
  /** The main API's WebSocket. */
  stream: EngineStreamConfigSchema.prefault({}),
  /** Parts that can be switched on and off. */
  features: z
    .strictObject({
      /** Loads models ahead of the hours in which they are usually asked. */
      predictivePreload: FLAG.default(false),
      /** Opens the main API's WebSocket. */
      webSocket: FLAG.default(true),
    })
    .prefault({}),
  /** scripted: how long a load takes, ms. */
  loadMs: whole(0, 3_600_000).default(0),
  /** scripted: pause between two words, ms. */
  tokenMs: whole(0, 60_000).default(0),
  /** Longest wait for running answers at SIGTERM, ms. */
  graceMs: whole(0, 3_600_000).default(25_000),
  logLevel: z
    .enum(["trace", "debug", "info", "warn", "error", "silent"], {
      error: "want trace, debug, info, warn, error or silent",
    })
    .default("info"),
  /** Token of whoever may change the engine. Absent: nobody may. Never in the file: a ConfigMap is no place for it. */
  adminToken: z.string({ error: "want a text" }).min(1, "want a text that is not empty").optional(),
  /** ollama, vllm: token that the server wants. Absent: none. Never in the file. */
  upstreamKey: z.string({ error: "want a text" }).min(1, "want a text that is not empty").optional(),
});
/** The engine's configuration, defaults filled in. */
export type EngineConfig = z.output<typeof EngineConfigSchema>;
/** A model that an engine serves, defaults filled in. */
export type EngineModelConfig = z.output<typeof EngineModelSchema>;
