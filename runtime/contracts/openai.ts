import { z } from "zod";

/**
 * Wire format of the OpenAI chat completions API (openai npm client 6): requests are read leniently, unknown fields
 * ignored; answers of other servers may carry more than we know.
 */

const Count = z.number().int().nonnegative();

const TextPart = z.looseObject({ type: z.literal("text"), text: z.string() });
const OtherPart = z.looseObject({ type: z.string() });

/** One message of a chat; parts that are not text are kept for a model that can read them. */
export const OpenAiMessage = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: z.union([z.string(), z.array(z.union([TextPart, OtherPart]))]).nullish(),
});
/** One message of a chat. */
export type OpenAiMessage = z.output<typeof OpenAiMessage>;

/** `POST /v1/chat/completions`. */
export const OpenAiChatRequest = z.looseObject({
  model: z.string().min(1),
  messages: z.array(OpenAiMessage).min(1),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  max_tokens: z.int().positive().nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  n: z.int().positive().nullish(),
  user: z.string().nullish(),
  tools: z.array(z.unknown()).nullish(),
  response_format: z.looseObject({ type: z.string() }).nullish(),
});
/** `POST /v1/chat/completions`. */
export type OpenAiChatRequest = z.output<typeof OpenAiChatRequest>;

const Usage = z.looseObject({ prompt_tokens: Count, completion_tokens: Count, total_tokens: Count });
/** Tokens of one answer. */
export type OpenAiUsage = z.output<typeof Usage>;

const TokenLogprob = z.looseObject({
  token: z.string(),
  /** Natural logarithm of the token's probability, at most 0. */
  logprob: z.number(),
  /** UTF-8 bytes of the token. */
  bytes: z.array(z.number()).nullish(),
});
/** How likely a written token was, and those that could have stood there, most likely first. */
export const OpenAiLogprob = TokenLogprob.extend({ top_logprobs: z.array(TokenLogprob) });
/** How likely a written token was. */
export type OpenAiLogprob = z.output<typeof OpenAiLogprob>;

/** Answer of an unstreamed chat completion. */
export const OpenAiChatCompletion = z.looseObject({
  id: z.string(),
  object: z.literal("chat.completion"),
  created: z.number(),
  model: z.string(),
  choices: z
    .array(
      z.looseObject({
        index: Count,
        message: z.looseObject({ role: z.string(), content: z.string().nullish() }),
        finish_reason: z.string().nullish(),
      }),
    )
    .min(1),
  usage: Usage.nullish(),
});
/** Answer of an unstreamed chat completion. */
export type OpenAiChatCompletion = z.output<typeof OpenAiChatCompletion>;

/** One event of a streamed chat completion; the one with usage has no choice. */
export const OpenAiChatChunk = z.looseObject({
  id: z.string(),
  object: z.literal("chat.completion.chunk"),
  created: z.number(),
  model: z.string(),
  choices: z.array(
    z.looseObject({
      index: Count,
      delta: z.looseObject({ role: z.string().nullish(), content: z.string().nullish() }),
      finish_reason: z.string().nullish(),
    }),
  ),
  usage: Usage.nullish(),
});
/** One event of a streamed chat completion. */
export type OpenAiChatChunk = z.output<typeof OpenAiChatChunk>;

/** Error object of the OpenAI API. */
export const OpenAiError = z.looseObject({
  error: z.looseObject({
    message: z.string(),
    type: z.string().nullish(),
    param: z.string().nullish(),
    code: z.union([z.string(), z.number()]).nullish(),
  }),
});
/** Error object of the OpenAI API. */
export type OpenAiError = z.output<typeof OpenAiError>;

/** `GET /v1/models`. */
export const OpenAiModels = z.looseObject({
  object: z.literal("list"),
  data: z.array(
    z.looseObject({ id: z.string(), object: z.literal("model"), created: z.number(), owned_by: z.string() }),
  ),
});
/** `GET /v1/models`. */
export type OpenAiModels = z.output<typeof OpenAiModels>;

/** The text of a message, its text parts joined; parts of other kinds are left out. */
export function textOf(message: OpenAiMessage): string {
  const { content } = message;
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => ("text" in part && typeof part.text === "string" ? part.text : "")).join("");
}
