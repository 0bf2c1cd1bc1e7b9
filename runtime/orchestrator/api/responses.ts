import { randomBytes, randomUUID } from "node:crypto";
import { Hono } from "hono";
import type { Context } from "hono";
import type { AskAnswer } from "../../contracts/native.ts";
import { type OpenAiResponse, OpenAiResponseRequest } from "../../contracts/openai-responses.ts";
import { Fault } from "../../core/fault.ts";
import type { Piece } from "../../core/ports.ts";
import { clientSignal, errorResponse, readJson, streamResponse } from "../../support/http.ts";
import { OPENAI_DIALECT } from "../../support/openai-chat.ts";
import { RESPONSE_EVENTS, responseBegun, responseEvents, wholeResponse } from "../../support/openai-responses.ts";
import type { AskInput, Ensemble } from "../ensemble.ts";
import { askFor, askOfChat, callerOf, identityOf, type PlainMessage, replay } from "./asked.ts";
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
    const begun = (conversation: string): OpenAiResponse => ({
      ...responseBegun(request, idOf(conversation)),
      store: request.store !== false,
    });
    if (request.stream === true) {
      // The id names the conversation, so it is chosen before the first event.
      const conversation = input.conversation ?? randomUUID();
      const pieces = piecesOf(() => ensemble.ask({ ...input, conversation }, clientSignal(c)));
      return streamResponse(responseEvents(begun(conversation), pieces), RESPONSE_EVENTS);
    }
    const answer = await askFor(ensemble, input, c);
    const pieces = piecesOf(() => Promise.resolve(answer));
    return c.json(await wholeResponse(begun(answer.conversation), pieces));
  });
  return app;
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

/** The winner's words, which are all there when the first of them comes. */
async function* piecesOf(ask: () => Promise<AskAnswer>): AsyncIterable<Piece> {
  const answer = await ask();
  for (const text of replay(answer.reply)) yield { text };
  const winner = answer.stages.find(({ member }) => member === answer.decision.winner);
  yield { text: "", done: { reason: "stop", promptTokens: winner?.promptTokens, answerTokens: winner?.answerTokens } };
}
