import { z } from "zod";

/** Wire format of the OpenAI Responses API (openai npm client 6), as far as the ensemble answers it; a member's server may know more. */

const Part = z.looseObject({ type: z.string(), text: z.string().optional() });

/** One item of the input. Only messages are understood; their type may be left out. */
export const ResponseItem = z.looseObject({
  type: z.string().optional(),
  role: z.enum(["system", "developer", "user", "assistant"]).optional(),
  content: z.union([z.string(), z.array(Part)]).optional(),
});

/** `POST /v1/responses`. */
export const OpenAiResponseRequest = z.looseObject({
  model: z.string().min(1),
  input: z.union([z.string(), z.array(ResponseItem).min(1)]),
  instructions: z.string().nullish(),
  /** Goes on with the conversation of that response, at its latest turn. */
  previous_response_id: z.string().nullish(),
  /** Whether the turn is kept for `previous_response_id`. @default true */
  store: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  user: z.string().nullish(),
});
/** `POST /v1/responses`. */
export type OpenAiResponseRequest = z.output<typeof OpenAiResponseRequest>;

const OutputText = z.looseObject({
  type: z.literal("output_text"),
  text: z.string(),
  annotations: z.array(z.unknown()),
});

/** One message of the output. */
export const ResponseMessage = z.looseObject({
  id: z.string(),
  type: z.literal("message"),
  role: z.literal("assistant"),
  status: z.enum(["in_progress", "completed", "incomplete"]),
  content: z.array(OutputText),
});
/** One message of the output. */
export type ResponseMessage = z.output<typeof ResponseMessage>;

/** Answer of an unstreamed response, and the `response` of its events. */
export const OpenAiResponse = z.looseObject({
  id: z.string(),
  object: z.literal("response"),
  created_at: z.number(),
  status: z.enum(["in_progress", "completed", "failed", "incomplete"]),
  model: z.string(),
  output: z.array(ResponseMessage),
  usage: z
    .looseObject({
      input_tokens: z.number().int().nonnegative(),
      output_tokens: z.number().int().nonnegative(),
      total_tokens: z.number().int().nonnegative(),
    })
    .nullish(),
});
/** Answer of an unstreamed response. */
export type OpenAiResponse = z.output<typeof OpenAiResponse>;

const Place = { sequence_number: z.number(), output_index: z.number(), content_index: z.number(), item_id: z.string() };
const whole = <T extends string>(type: T) =>
  z.looseObject({ type: z.literal(type), sequence_number: z.number(), response: OpenAiResponse });
const item = <T extends string>(type: T) =>
  z.looseObject({
    type: z.literal(type),
    sequence_number: z.number(),
    output_index: z.number(),
    item: ResponseMessage,
  });
const part = <T extends string>(type: T) => z.looseObject({ type: z.literal(type), ...Place, part: OutputText });

/** One event of a streamed response. */
export const OpenAiResponseEvent = z.discriminatedUnion("type", [
  whole("response.created"),
  whole("response.in_progress"),
  item("response.output_item.added"),
  part("response.content_part.added"),
  z.looseObject({ type: z.literal("response.output_text.delta"), ...Place, delta: z.string() }),
  z.looseObject({ type: z.literal("response.output_text.done"), ...Place, text: z.string() }),
  part("response.content_part.done"),
  item("response.output_item.done"),
  whole("response.completed"),
  whole("response.incomplete"),
  whole("response.failed"),
]);
/** One event of a streamed response. */
export type OpenAiResponseEvent = z.output<typeof OpenAiResponseEvent>;
