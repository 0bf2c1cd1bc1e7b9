import { z } from "zod";

/**
 * Wire format of the Ollama API (docs/api.md of ollama/ollama, 0.17): requests are read as Ollama reads them, unknown
 * fields ignored; answers of other servers may carry more than we know.
 */

const Role = z.enum(["system", "user", "assistant", "tool"]);
const Count = z.number().int().nonnegative();

/** Seconds as a number or a Go duration such as `5m`; -1 keeps the model for ever. */
const KeepAlive = z.union([z.number(), z.string()]);

/** Sampling and runner options; those that nobody here reads are passed on. */
export const OllamaOptions = z.looseObject({
  num_ctx: z.number().int().positive().optional(),
  num_predict: z.number().int().optional(),
  num_thread: z.number().int().positive().optional(),
  temperature: z.number().nonnegative().optional(),
  top_k: z.number().int().optional(),
  top_p: z.number().min(0).max(1).optional(),
  min_p: z.number().min(0).max(1).optional(),
  repeat_penalty: z.number().positive().optional(),
  repeat_last_n: z.number().int().min(-1).optional(),
  presence_penalty: z.number().optional(),
  frequency_penalty: z.number().optional(),
  seed: z.number().int().optional(),
  stop: z.union([z.string(), z.array(z.string())]).optional(),
});
/** Sampling and runner options. */
export type OllamaOptions = z.output<typeof OllamaOptions>;

/** `"json"` or a JSON schema that the answer must satisfy. */
const Format = z.union([z.literal(""), z.literal("json"), z.record(z.string(), z.unknown())]);

/** Whether the probability of each written token is told, and of how many others that could have stood there. */
const Logprobs = { logprobs: z.boolean().nullish(), top_logprobs: z.number().int().min(0).max(20).nullish() };

/** One message of a chat. */
export const OllamaMessage = z.looseObject({
  role: Role,
  content: z.string().default(""),
  thinking: z.string().optional(),
  images: z.array(z.string()).optional(),
  tool_calls: z.array(z.unknown()).optional(),
});
/** One message of a chat. */
export type OllamaMessage = z.output<typeof OllamaMessage>;

/** `POST /api/generate`. An absent or empty prompt only loads the model. */
export const OllamaGenerateRequest = z.looseObject({
  model: z.string().min(1),
  prompt: z.string().nullish(),
  suffix: z.string().nullish(),
  system: z.string().nullish(),
  template: z.string().nullish(),
  context: z.array(z.number().int()).nullish(),
  images: z.array(z.string()).nullish(),
  stream: z.boolean().nullish(),
  raw: z.boolean().nullish(),
  format: Format.nullish(),
  think: z.union([z.boolean(), z.string()]).nullish(),
  keep_alive: KeepAlive.nullish(),
  options: OllamaOptions.nullish(),
  ...Logprobs,
});
/** `POST /api/generate`. */
export type OllamaGenerateRequest = z.output<typeof OllamaGenerateRequest>;

/** `POST /api/chat`. No messages only loads the model. */
export const OllamaChatRequest = z.looseObject({
  model: z.string().min(1),
  messages: z.array(OllamaMessage).nullish(),
  tools: z.array(z.unknown()).nullish(),
  stream: z.boolean().nullish(),
  format: Format.nullish(),
  think: z.union([z.boolean(), z.string()]).nullish(),
  keep_alive: KeepAlive.nullish(),
  options: OllamaOptions.nullish(),
  ...Logprobs,
});
/** `POST /api/chat`. */
export type OllamaChatRequest = z.output<typeof OllamaChatRequest>;

/** What the last line of an answer adds; durations are nanoseconds. */
const Totals = {
  done_reason: z.string().optional(),
  total_duration: Count.optional(),
  load_duration: Count.optional(),
  prompt_eval_count: Count.optional(),
  prompt_eval_duration: Count.optional(),
  eval_count: Count.optional(),
  eval_duration: Count.optional(),
};

/** One line of a streamed `/api/generate`, or the whole answer of an unstreamed one. */
export const OllamaGenerateChunk = z.looseObject({
  model: z.string(),
  created_at: z.string(),
  response: z.string(),
  thinking: z.string().optional(),
  done: z.boolean(),
  context: z.array(z.number().int()).optional(),
  ...Totals,
});
/** One line of a streamed `/api/generate`, or the whole answer of an unstreamed one. */
export type OllamaGenerateChunk = z.output<typeof OllamaGenerateChunk>;

/** One line of a streamed `/api/chat`, or the whole answer of an unstreamed one. */
export const OllamaChatChunk = z.looseObject({
  model: z.string(),
  created_at: z.string(),
  message: OllamaMessage,
  done: z.boolean(),
  ...Totals,
});
/** One line of a streamed `/api/chat`, or the whole answer of an unstreamed one. */
export type OllamaChatChunk = z.output<typeof OllamaChatChunk>;

/** Error object of the Ollama API, also as a line in the middle of a stream. */
export const OllamaError = z.looseObject({ error: z.string(), code: z.string().optional() });
/** Error object of the Ollama API. */
export type OllamaError = z.output<typeof OllamaError>;

const ModelDetails = z.looseObject({
  parent_model: z.string().default(""),
  format: z.string().default(""),
  family: z.string().default(""),
  families: z.array(z.string()).nullish(),
  parameter_size: z.string().default(""),
  quantization_level: z.string().default(""),
});
/** What a model file says about itself. */
export type OllamaModelDetails = z.output<typeof ModelDetails>;

/** `GET /api/tags`. */
export const OllamaTags = z.looseObject({
  models: z.array(
    z.looseObject({
      name: z.string(),
      model: z.string().optional(),
      modified_at: z.string().optional(),
      size: Count.optional(),
      digest: z.string().optional(),
      details: ModelDetails.optional(),
    }),
  ),
});
/** `GET /api/tags`. */
export type OllamaTags = z.output<typeof OllamaTags>;

/** `GET /api/ps`: the models that are loaded now. */
export const OllamaPs = z.looseObject({
  models: z.array(
    z.looseObject({
      name: z.string(),
      model: z.string().optional(),
      size: Count.optional(),
      size_vram: Count.optional(),
      digest: z.string().optional(),
      details: ModelDetails.optional(),
      expires_at: z.string().optional(),
      context_length: Count.optional(),
    }),
  ),
});
/** `GET /api/ps`. */
export type OllamaPs = z.output<typeof OllamaPs>;

/** `GET /api/version`. */
export const OllamaVersion = z.looseObject({ version: z.string() });

/** `POST /api/show`; `name` is the field's old name. */
export const OllamaShowRequest = z
  .looseObject({
    model: z.string().min(1).optional(),
    name: z.string().min(1).optional(),
    verbose: z.boolean().optional(),
  })
  .refine((r) => (r.model ?? r.name) !== undefined, { path: ["model"], message: "want the model's name" });

/** `POST /api/pull`. */
export const OllamaPullRequest = z
  .looseObject({
    model: z.string().min(1).optional(),
    name: z.string().min(1).optional(),
    insecure: z.boolean().optional(),
    stream: z.boolean().nullish(),
  })
  .refine((r) => (r.model ?? r.name) !== undefined, { path: ["model"], message: "want the model's name" });

/** One line of a streamed `/api/pull`; sizes in bytes. */
export const OllamaPullProgress = z.looseObject({
  status: z.string(),
  digest: z.string().optional(),
  total: Count.optional(),
  completed: Count.optional(),
});
/** One line of a streamed `/api/pull`. */
export type OllamaPullProgress = z.output<typeof OllamaPullProgress>;

/** `POST /api/embed`. An absent or empty input only loads the model. */
export const OllamaEmbedRequest = z.looseObject({
  model: z.string().min(1),
  input: z.union([z.string(), z.array(z.string())]).nullish(),
  /** Whether what is longer than the window is cut; refused otherwise. @default true */
  truncate: z.boolean().nullish(),
  /** Takes so many numbers from the front of each vector. */
  dimensions: Count.nullish(),
  keep_alive: KeepAlive.nullish(),
  options: OllamaOptions.nullish(),
});

/** `POST /api/embeddings`, which `/api/embed` has replaced. */
export const OllamaEmbeddingsRequest = z.looseObject({
  model: z.string().min(1),
  prompt: z.string().nullish(),
  keep_alive: KeepAlive.nullish(),
});
