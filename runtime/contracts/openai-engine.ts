import { z } from "zod";
import { OpenAiChatRequest } from "./openai.ts";
import { OpenAiResponseRequest } from "./openai-responses.ts";

/**
 * What the engine reads of the OpenAI API beyond the ensemble (openai npm client 6). Unknown fields are ignored, as other servers of this API do;
 * known ones that would change the answer and are not served are refused by name.
 */

/** Sampling that chat completions and completions share. `keep_alive` is Ollama's, so that a model can be kept through this API, too. */
const Sampling = {
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(16)]).nullish(),
  logit_bias: z.record(z.string(), z.number()).nullish(),
  keep_alive: z.union([z.number(), z.string()]).nullish(),
};

/** `response_format`: what the answer must be. */
const ResponseFormat = z.discriminatedUnion("type", [
  z.looseObject({ type: z.literal("text") }),
  z.looseObject({ type: z.literal("json_object") }),
  z.looseObject({
    type: z.literal("json_schema"),
    json_schema: z.looseObject({ name: z.string().nullish(), schema: z.record(z.string(), z.unknown()) }),
  }),
]);

/** `POST /v1/chat/completions` at the engine. */
export const EngineOpenAiChatRequest = OpenAiChatRequest.extend({
  ...Sampling,
  response_format: ResponseFormat.nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  tool_choice: z.unknown().optional(),
  functions: z.array(z.unknown()).nullish(),
  modalities: z.array(z.string()).nullish(),
});
/** `POST /v1/chat/completions` at the engine. */
export type EngineOpenAiChatRequest = z.output<typeof EngineOpenAiChatRequest>;

/** `POST /v1/completions`. The prompt goes to the model as it is, without its chat template. */
export const OpenAiCompletionRequest = z.looseObject({
  model: z.string().min(1),
  prompt: z.union([z.string(), z.array(z.unknown())]).nullish(),
  suffix: z.string().nullish(),
  max_tokens: z.int().positive().nullish(),
  n: z.int().positive().nullish(),
  best_of: z.int().positive().nullish(),
  echo: z.boolean().nullish(),
  /** So many of the likeliest tokens are told for each written one. */
  logprobs: z.int().min(0).max(5).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  ...Sampling,
});
/** `POST /v1/completions`. */
export type OpenAiCompletionRequest = z.output<typeof OpenAiCompletionRequest>;

/** `POST /v1/embeddings`. */
export const OpenAiEmbeddingsRequest = z.looseObject({
  model: z.string().min(1),
  input: z.union([z.string(), z.array(z.unknown()).min(1).max(2048)]),
  /** `float`: a list of numbers. `base64`: 32-bit floats, little-endian. @default "float" */
  encoding_format: z.enum(["float", "base64"]).nullish(),
  /** Takes so many numbers from the front of each vector. */
  dimensions: z.int().positive().nullish(),
  keep_alive: Sampling.keep_alive,
});

/** `POST /v1/responses` at the engine, which remembers nothing between requests. */
export const EngineOpenAiResponseRequest = OpenAiResponseRequest.extend({
  temperature: Sampling.temperature,
  top_p: Sampling.top_p,
  max_output_tokens: z.int().positive().nullish(),
  tools: z.array(z.unknown()).nullish(),
  tool_choice: z.unknown().optional(),
  background: z.boolean().nullish(),
  text: z
    .looseObject({
      format: z
        .discriminatedUnion("type", [
          z.looseObject({ type: z.literal("text") }),
          z.looseObject({ type: z.literal("json_object") }),
          z.looseObject({ type: z.literal("json_schema"), schema: z.record(z.string(), z.unknown()) }),
        ])
        .nullish(),
    })
    .nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
});
/** `POST /v1/responses` at the engine. */
export type EngineOpenAiResponseRequest = z.output<typeof EngineOpenAiResponseRequest>;
