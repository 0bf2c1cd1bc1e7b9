import { z } from "zod";
import { FAULT_CODES } from "./errors.ts";

/** Wire format of the engine's main API, port 5000. What people write is checked strictly: a field that is not here is refused. */

const Count = z.int().nonnegative();
/** SHA-256 of a model's weights. */
export const Digest = z.string().regex(/^[0-9a-f]{64}$/, "want the SHA-256 as 64 hex digits in small letters");

/** Error object of the main API. */
export const EngineError = z.object({
  error: z.object({
    code: z.enum(FAULT_CODES),
    message: z.string(),
    retryable: z.boolean(),
    /** Field of the request that is wrong. */
    param: z.string().optional(),
  }),
});
/** Error object of the main API. */
export type EngineError = z.output<typeof EngineError>;

/** What a generation may be told beside its words. */
const Generation = {
  model: z.string().min(1).max(400),
  /** `json` for any JSON, or a JSON schema that the answer keeps to. Absent: free text. */
  format: z.union([z.literal("json"), z.record(z.string(), z.unknown())]).optional(),
  /** Longest answer, tokens. Absent: until the model stops. */
  maxTokens: z.int().positive().optional(),
  /** Window, tokens. Absent: the engine's. */
  contextTokens: z.int().positive().optional(),
  /** Absent: the likeliest token each time. */
  temperature: z.number().min(0).max(100).optional(),
  topK: z.int().nonnegative().optional(),
  topP: z.number().min(0).max(1).optional(),
  minP: z.number().min(0).max(1).optional(),
  repeatPenalty: z.number().positive().optional(),
  presencePenalty: z.number().min(-2).max(2).optional(),
  frequencyPenalty: z.number().min(-2).max(2).optional(),
  seed: z.int().optional(),
  /** Texts at which the answer ends; they are not part of it. */
  stop: z.array(z.string().min(1)).max(16).optional(),
  /** Labels, one of which is the answer: it is read off the probabilities of the next token. Excludes `format`. */
  choices: z.array(z.string().min(1)).min(2).max(64).optional(),
  /** Tells how likely each written token was, and so many others in its place. Absent: not told. */
  topLogprobs: z.int().min(0).max(20).optional(),
  /** How long the model stays in memory after the last token, seconds; negative: for ever. Absent: as the engine is set. */
  keepAliveSeconds: z.number().optional(),
};

/** One message of a chat. */
export const EngineMessage = z.strictObject({ role: z.enum(["system", "user", "assistant"]), content: z.string() });

const Chat = { ...Generation, messages: z.array(EngineMessage).min(1) };
const Generate = {
  ...Generation,
  prompt: z.string().min(1),
  /** Absent: the model's own. */
  system: z.string().optional(),
  /** The prompt as it is, without the model's template. @default false */
  raw: z.boolean().optional(),
};
/** Whether the answer comes as server-sent events, each an `EngineEvent`. @default false */
const Streamed = { stream: z.boolean().default(false) };

/** `POST /chat`. */
export const EngineChatRequest = z.strictObject({ ...Chat, ...Streamed });
/** `POST /chat`, defaults filled in. */
export type EngineChatRequest = z.output<typeof EngineChatRequest>;
/** `POST /generate`. */
export const EngineGenerateRequest = z.strictObject({ ...Generate, ...Streamed });
/** `POST /generate`, defaults filled in. */
export type EngineGenerateRequest = z.output<typeof EngineGenerateRequest>;

const TokenLogprob = z.object({ token: z.string(), /** Natural logarithm, at most 0. */ logprob: z.number() });
/** Probabilities of written tokens in order, where they were asked and the backend tells them. */
const Logprobs = { logprobs: z.array(TokenLogprob.extend({ top: z.array(TokenLogprob) })).optional() };

/** How an answer ended and what it took. */
const Ended = {
  /** `stop`: the model ended; `length`: cut at `maxTokens` or at the window's end. */
  reason: z.enum(["stop", "length"]),
  promptTokens: Count,
  answerTokens: Count,
  /** Time on the prompt and on the answer, ms. */
  promptMs: z.number().nonnegative(),
  answerMs: z.number().nonnegative(),
  /** Where `choices` were asked: the probability of each, in their order. */
  choices: z.array(z.object({ label: z.string(), probability: z.number().min(0).max(1) })).optional(),
};

/** Answer of `POST /chat` and `POST /generate`. */
export const EngineAnswer = z.object({ model: z.string(), text: z.string(), ...Logprobs, ...Ended });
/** Answer of `POST /chat` and `POST /generate`. */
export type EngineAnswer = z.output<typeof EngineAnswer>;

/** One part of a streamed answer: any number of `progress` while the model is loaded, then pieces, then `done`; or `error` as the last one. */
export const EngineEvent = z.discriminatedUnion("event", [
  /** The model is being loaded; `ratio` is 0 to 1. */
  z.object({ event: z.literal("progress"), model: z.string(), ratio: z.number() }),
  z.object({ event: z.literal("piece"), text: z.string(), ...Logprobs }),
  z.object({ event: z.literal("done"), model: z.string(), ...Ended }),
  z.object({ event: z.literal("error"), error: EngineError.shape.error }),
]);
/** One part of a streamed answer. */
export type EngineEvent = z.output<typeof EngineEvent>;

/** `POST /embeddings`. */
export const EngineEmbeddingsRequest = z.strictObject({
  model: Generation.model,
  input: z.union([z.string().min(1), z.array(z.string().min(1)).min(1).max(2048)]),
  keepAliveSeconds: Generation.keepAliveSeconds,
});
/** Answer of `POST /embeddings`: one vector a text, in their order, each of length 1. */
export const EngineEmbeddings = z.object({ model: z.string(), embeddings: z.array(z.array(z.number())) });

/** One model as `GET /models` tells of it. */
export const EngineModel = z.object({
  name: z.string(),
  /** `ready` is said only when the weights of `digest` are loaded and have produced a token. */
  state: z.enum(["absent", "loading", "ready", "failed"]),
  /** SHA-256 of the weights. Absent for a local file that was not loaded yet. */
  digest: Digest.optional(),
  /** Of a load, 0 to 1. */
  progress: z.number().optional(),
  /** When it is let go unless it is asked, ms since 1970. Absent: never, or it is not in memory. */
  expiresAtMs: z.number().optional(),
  /** Why it failed. */
  reason: z.string().optional(),
  loadMs: Count.optional(),
  /** Bytes in memory. */
  memoryBytes: Count.optional(),
  /** Answers that it writes now. */
  inFlight: Count.optional(),
  /** Bytes of its file. */
  sizeBytes: Count.optional(),
  format: z.string().optional(),
  family: z.string().optional(),
  /** Such as `1.2B`. */
  parameterSize: z.string().optional(),
  /** Such as `Q4_K_M`. */
  quantization: z.string().optional(),
  /** Longest window that it was trained for, tokens. */
  contextTokens: Count.optional(),
});
/** One model as `GET /models` tells of it. */
export type EngineModel = z.output<typeof EngineModel>;
/** `GET /models`. */
export const EngineModels = z.object({ models: z.array(EngineModel) });

/** `GET /models/health`: 200 only when `ready`; 503 with `Retry-After` otherwise. */
export const EngineReadiness = z.object({
  ready: z.boolean(),
  state: z.enum(["ready", "loading", "failed", "draining"]),
  models: z.array(EngineModel),
});
/** `GET /models/health`. */
export type EngineReadiness = z.output<typeof EngineReadiness>;

/** One event of `GET /events` and of a socket that watches: a model as it is now, first all of them; `gone` when it was taken away. */
export const EngineModelEvent = z.discriminatedUnion("event", [
  z.object({ event: z.literal("model"), model: EngineModel }),
  z.object({ event: z.literal("gone"), name: z.string() }),
]);
/** One event of `GET /events`. */
export type EngineModelEvent = z.output<typeof EngineModelEvent>;

const Name = z.string().min(1).max(400);
/** `POST /admin/pull`. */
export const EnginePullRequest = z.strictObject({
  model: Name,
  /** What the weights must be. Absent: as the source says. */
  digest: Digest.optional(),
  /** Where it comes from. Absent: the place that the name itself means. */
  source: z.string().min(1).max(2000).optional(),
  /** Which of several quantizations, by its profile's name. Absent: the store's own choice. */
  profile: z.string().min(1).max(100).optional(),
  ...Streamed,
});
/** `POST /admin/create`: from a file on the engine's machine, from uploaded ones by their digests, or from another model. */
export const EngineCreateRequest = z
  .strictObject({
    model: Name,
    path: z.string().min(1).max(4096).optional(),
    files: z.record(z.string(), z.string().regex(/^sha256:[0-9a-f]{64}$/, "want sha256: and 64 hex digits")).optional(),
    from: Name.optional(),
    system: z.string().optional(),
    template: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).optional(),
    license: z.string().optional(),
    ...Streamed,
  })
  .refine(({ path, files, from }) => [path, files, from].filter((one) => one !== undefined).length === 1, {
    path: ["from"],
    message: "want exactly one of path, files and from",
  });
/** `POST /admin/copy`. */
export const EngineCopyRequest = z.strictObject({ from: Name, to: Name });
/** One step of a pull or a create; the last one has the status `success`. */
export const EngineStep = z.object({
  status: z.string(),
  digest: z.string().optional(),
  totalBytes: Count.optional(),
  completedBytes: Count.optional(),
});
/** One step of a pull or a create. */
export type EngineStep = z.output<typeof EngineStep>;

/** Subprotocol of `/stream`; a client that names none is served as well. */
export const STREAM_PROTOCOL = "gorkheavy.engine.v1";
/** Close codes of `/stream`. Source of the numbers: IANA's registry of WebSocket close codes. */
export const STREAM_CLOSE = { stopping: 1001, unsupported: 1003 } as const;

/** Name that a client gives a generation; unique among those running on its socket. */
const RunId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "want 1 to 64 of A-Z, a-z, 0-9, _ and -");

/** What a client sends on `/stream`, each a text frame. */
export const StreamRequest = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("chat"), id: RunId, ...Chat }),
  z.strictObject({ type: z.literal("generate"), id: RunId, ...Generate }),
  z.strictObject({ type: z.literal("cancel"), id: RunId }),
  /** Has the models' states told from now on, first as they are. */
  z.strictObject({ type: z.literal("watch") }),
  z.strictObject({ type: z.literal("unwatch") }),
  z.strictObject({ type: z.literal("ping"), nonce: z.string().max(64) }),
]);
/** What a client sends on `/stream`. */
export type StreamRequest = z.output<typeof StreamRequest>;

/** What the engine sends on `/stream`: events of a generation, with its `id` and in order; states of models; `refused` for a frame that is none. */
export const StreamReply = z.discriminatedUnion("type", [
  z.object({ type: z.literal("event"), id: z.string(), event: EngineEvent }),
  z.object({ type: z.literal("model"), event: EngineModelEvent }),
  z.object({ type: z.literal("refused"), id: z.string().optional(), error: EngineError.shape.error }),
  z.object({ type: z.literal("pong"), nonce: z.string() }),
]);
/** What the engine sends on `/stream`. */
export type StreamReply = z.output<typeof StreamReply>;
