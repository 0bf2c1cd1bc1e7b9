import { randomBytes, randomUUID } from "node:crypto";
import { Hono } from "hono";
import type { Context } from "hono";
import type { AskAnswer } from "../../contracts/native.ts";
import {
  type OpenAiResponse,
  type OpenAiResponseEvent,
  OpenAiResponseRequest,
  type ResponseMessage,
} from "../../contracts/openai-responses.ts";
import { Fault, toFault } from "../../core/fault.ts";
import { clientSignal, errorResponse, type Framing, readJson, streamResponse } from "../../support/http.ts";
import type { AskInput, Ensemble } from "../ensemble.ts";
import { askFor, askOfChat, callerOf, identityOf, type PlainMessage, replay } from "./asked.ts";
import { OPENAI_DIALECT } from "./dialect.ts";
import { onlyEnsemble } from "./model-names.ts";
import { userOf } from "./openai.ts";

/** The Responses API for the ensemble; what names a member was passed to its server before. */
export function responsesApi(ensemble: Ensemble): Hono {
  const app = new Hono();
  app.onError((error) => errorResponse(error, OPENAI_DIALECT));
  app.post("/v1/responses", async (c) => {
    const request = await readJson(c, OpenAiResponseRequest, ensemble.config.limits.bodyBytes);
    onlyEnsemble(ensemble, request.model, "/v1/responses");
    const input = inputOf(request, ensemble, c);
    if (request.stream === true) return streamResponse(eventsOf(ensemble, request, input, clientSignal(c)), SSE);
    const answer = await askFor(ensemble, input, c);
    return c.json(completed(begun(request, answer.conversation), request, answer, messageOf(answer.reply)));
  });
  return app;
}

const SSE: Framing<OpenAiResponseEvent> = {
  contentType: "text/event-stream",
  frame: (event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
  failure: (fault) => `event: error\ndata: ${JSON.stringify({ type: "error", ...failureOf(fault) })}\n\n`,
};

function failureOf({ code, message }: Fault): { code: string; message: string } {
  return { code, message };
}

/** What is asked. @throws Fault invalid_request, not_found for a response nobody remembers */
function inputOf(request: OpenAiResponseRequest, ensemble: Ensemble, c: Context): AskInput {
  const identity = identityOf(c);
  const messages: PlainMessage[] =
    request.instructions == null ? [] : [{ role: "system", content: request.instructions }];
  if (typeof request.input === "string") messages.push({ role: "user", content: request.input });
  else messages.push(...request.input.map(messageIn));
  const previous = request.previous_response_id;
  const conversation = previous == null ? identity.conversation : conversationOf(previous);
  const input = askOfChat(messages, ensemble.config.memory.turns, {
    ...identity,
    user: identity.user ?? callerOf(c).userFor(userOf(request.user)),
    conversation,
  });
  // A first question is remembered, so that the next one can name its response; a history that the client carries is not.
  const remembered = request.store !== false && (input.turns ?? []).length === 0;
  return remembered ? { ...input, turns: undefined } : { ...input, turns: input.turns ?? [] };
}

function messageIn(item: Exclude<OpenAiResponseRequest["input"], string>[number], index: number): PlainMessage {
  const { type = "message", role, content } = item;
  if (type !== "message" || role === undefined)
    throw new Fault(
      "invalid_request",
      `input.${index}: got ${type}, want messages with a role; ask a member for anything else`,
    );
  const text = typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join("");
  return { role, content: text };
}

/** A response's id: its conversation, and what makes it unlike the others of it. */
function idOf(conversation: string): string {
  return `resp_${Buffer.from(conversation).toString("base64url")}_${randomBytes(6).toString("hex")}`;
}

function conversationOf(id: string): string {
  const [, encoded] = /^resp_([A-Za-z0-9_-]+)_[0-9a-f]{12}$/.exec(id) ?? [];
  const conversation = encoded === undefined ? "" : Buffer.from(encoded, "base64url").toString("utf8");
  if (!/^[A-Za-z0-9._:@-]{1,128}$/.test(conversation))
    throw new Fault("not_found", "previous_response_id: no such response; send the messages themselves as input");
  return conversation;
}

/** The response before it has an answer. */
function begun(request: OpenAiResponseRequest, conversation: string): OpenAiResponse {
  return {
    id: idOf(conversation),
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

function messageOf(text: string): ResponseMessage {
  return {
    id: `msg_${randomUUID()}`,
    type: "message",
    role: "assistant",
    status: "completed",
    content: [partOf(text)],
  };
}

function partOf(text: string): ResponseMessage["content"][number] {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

function completed(
  base: OpenAiResponse,
  request: OpenAiResponseRequest,
  answer: AskAnswer,
  message: ResponseMessage,
): OpenAiResponse {
  const winner = answer.stages.find(({ member }) => member === answer.decision.winner);
  const [input, output] = [winner?.promptTokens ?? 0, winner?.answerTokens ?? 0];
  return {
    ...base,
    status: "completed",
    output: [message],
    store: request.store !== false,
    usage: {
      input_tokens: input,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input + output,
    },
  };
}

/** Events in the order in which OpenAI sends them. The winner's words come when they are known. */
async function* eventsOf(
  ensemble: Ensemble,
  request: OpenAiResponseRequest,
  input: AskInput,
  client: AbortSignal,
): AsyncIterable<OpenAiResponseEvent> {
  // The id names the conversation, so it is chosen before the first event.
  const conversation = input.conversation ?? randomUUID();
  const response = begun(request, conversation);
  let sequence = 0;
  const next = (): number => sequence++;
  yield { type: "response.created", sequence_number: next(), response };
  yield { type: "response.in_progress", sequence_number: next(), response };
  let answer: AskAnswer;
  try {
    answer = await ensemble.ask({ ...input, conversation }, client);
  } catch (error) {
    const failed: OpenAiResponse = { ...response, status: "failed", error: failureOf(toFault(error)) };
    yield { type: "response.failed", sequence_number: next(), response: failed };
    return;
  }
  const message = messageOf(answer.reply);
  const place = { item_id: message.id, output_index: 0, content_index: 0 };
  yield {
    type: "response.output_item.added",
    sequence_number: next(),
    output_index: 0,
    item: { ...message, status: "in_progress", content: [] },
  };
  yield { type: "response.content_part.added", sequence_number: next(), ...place, part: partOf("") };
  for (const delta of replay(answer.reply))
    yield { type: "response.output_text.delta", sequence_number: next(), ...place, delta, logprobs: [] };
  yield {
    type: "response.output_text.done",
    sequence_number: next(),
    ...place,
    text: answer.reply,
    logprobs: [],
  };
  yield { type: "response.content_part.done", sequence_number: next(), ...place, part: partOf(answer.reply) };
  yield { type: "response.output_item.done", sequence_number: next(), output_index: 0, item: message };
  yield {
    type: "response.completed",
    sequence_number: next(),
    response: completed(response, request, answer, message),
  };
}
