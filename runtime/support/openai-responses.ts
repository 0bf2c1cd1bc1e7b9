import { randomUUID } from "node:crypto";
import {
  type OpenAiResponse,
  type OpenAiResponseEvent,
  type OpenAiResponseRequest,
  type ResponseMessage,
} from "../contracts/openai-responses.ts";
import { type Fault, toFault } from "../core/fault.ts";
import type { Piece } from "../core/ports.ts";
import type { Framing } from "./http.ts";

/** Server-sent events of the Responses API. */
export const RESPONSE_EVENTS: Framing<OpenAiResponseEvent> = {
  contentType: "text/event-stream",
  frame: (event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
  failure: (fault) => `event: error\ndata: ${JSON.stringify({ type: "error", ...failureOf(fault) })}\n\n`,
};

function failureOf({ code, message }: Fault): { code: string; message: string } {
  return { code, message };
}

/** A response before it has an answer. */
export function responseBegun(request: OpenAiResponseRequest, id: string): OpenAiResponse {
  return {
    id,
    object: "response",
    created_at: Math.floor(Date.now() / 1000),
    status: "in_progress",
    model: request.model,
    output: [],
    error: null,
    incomplete_details: null,
    instructions: request.instructions ?? null,
    metadata: {},
    parallel_tool_calls: false,
    previous_response_id: request.previous_response_id ?? null,
    temperature: null,
    tool_choice: "none",
    tools: [],
    top_p: null,
    usage: null,
  };
}

/** A message of the output. */
function messageOf(id: string, text: string, done: NonNullable<Piece["done"]>): ResponseMessage {
  return {
    id,
    type: "message",
    role: "assistant",
    status: done.reason === "length" ? "incomplete" : "completed",
    content: [partOf(text)],
  };
}

function partOf(text: string): ResponseMessage["content"][number] {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

/** A response with its answer; one that was cut at its length is incomplete. */
function responseDone(
  base: OpenAiResponse,
  message: ResponseMessage,
  { reason, promptTokens = 0, answerTokens = 0 }: NonNullable<Piece["done"]>,
): OpenAiResponse {
  return {
    ...base,
    ...(reason === "length"
      ? { status: "incomplete" as const, incomplete_details: { reason: "max_output_tokens" } }
      : { status: "completed" as const }),
    output: [message],
    usage: {
      input_tokens: promptTokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: answerTokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: promptTokens + answerTokens,
    },
  };
}

/** The whole response of an answer. @throws what the pieces throw */
export async function wholeResponse(base: OpenAiResponse, pieces: AsyncIterable<Piece>): Promise<OpenAiResponse> {
  let text = "";
  let last: NonNullable<Piece["done"]> = { reason: "stop" };
  for await (const piece of pieces) {
    text += piece.text;
    last = piece.done ?? last;
  }
  return responseDone(base, messageOf(`msg_${randomUUID()}`, text, last), last);
}

/** The events of a response in the order in which OpenAI sends them. What fails after the first one is an event, too. */
export async function* responseEvents(
  response: OpenAiResponse,
  pieces: AsyncIterable<Piece>,
): AsyncIterable<OpenAiResponseEvent> {
  let sequence = 0;
  const next = (): number => sequence++;
  yield { type: "response.created", sequence_number: next(), response };
  yield { type: "response.in_progress", sequence_number: next(), response };
  const id = `msg_${randomUUID()}`;
  const place = { item_id: id, output_index: 0, content_index: 0 };
  let text = "";
  let begun = false;
  let last: NonNullable<Piece["done"]> = { reason: "stop" };
  try {
    for await (const piece of pieces) {
      if (!begun) {
        begun = true;
        const item = { id, type: "message", role: "assistant", status: "in_progress", content: [] } as const;
        yield {
          type: "response.output_item.added",
          sequence_number: next(),
          output_index: 0,
          item: { ...item, content: [] },
        };
        yield { type: "response.content_part.added", sequence_number: next(), ...place, part: partOf("") };
      }
      if (piece.text !== "")
        yield {
          type: "response.output_text.delta",
          sequence_number: next(),
          ...place,
          delta: piece.text,
          logprobs: [],
        };
      text += piece.text;
      last = piece.done ?? last;
    }
  } catch (error) {
    const failed: OpenAiResponse = { ...response, status: "failed", error: failureOf(toFault(error)) };
    yield { type: "response.failed", sequence_number: next(), response: failed };
    return;
  }
  const message = messageOf(id, text, last);
  yield { type: "response.output_text.done", sequence_number: next(), ...place, text, logprobs: [] };
  yield { type: "response.content_part.done", sequence_number: next(), ...place, part: partOf(text) };
  yield { type: "response.output_item.done", sequence_number: next(), output_index: 0, item: message };
  const whole = responseDone(response, message, last);
  yield {
    type: whole.status === "incomplete" ? "response.incomplete" : "response.completed",
    sequence_number: next(),
    response: whole,
  };
}
