import { randomUUID } from "node:crypto";
import { Hono } from "hono";
import type { Context } from "hono";
import { OpenAiChatRequest, textOf } from "../../contracts/openai.ts";
import { Fault } from "../../core/fault.ts";
import type { Piece } from "../../core/ports.ts";
import { errorResponse, readJson, streamResponse } from "../../support/http.ts";
import {
  chatChunks,
  chatCompletion,
  type CompletionBase,
  OPENAI_DIALECT,
  openAiEvents,
} from "../../support/openai-chat.ts";
import type { AskInput, Ensemble } from "../ensemble.ts";
import { askFor, askOfChat, callerOf, identityOf, type PlainMessage, replay } from "./asked.ts";
import { modelNames, onlyEnsemble, unknownModel } from "./model-names.ts";

/** The OpenAI API for the ensemble; what names a member was passed to its server before. */
export function openAiApi(ensemble: Ensemble): Hono {
  const app = new Hono();
  app.onError((error) => errorResponse(error, OPENAI_DIALECT));
  app.get("/v1/models", (c) => c.json({ object: "list", data: modelNames(ensemble).map(modelOf) }));
  app.get("/v1/models/:model", (c) => {
    const name = c.req.param("model");
    if (!ensemble.isEnsemble(name) && ensemble.memberNamed(name) === undefined) throw unknownModel(ensemble, name);
    return c.json(modelOf(name));
  });
  app.post("/v1/chat/completions", async (c) => {
    const request = await readJson(c, OpenAiChatRequest, ensemble.config.limits.bodyBytes);
    onlyEnsemble(ensemble, request.model, "/v1/chat/completions");
    if ((request.n ?? 1) > 1)
      throw new Fault("invalid_request", `n: got ${request.n ?? 1}, want 1; the ensemble gives its one best answer`);
    const base = { id: `chatcmpl-${randomUUID()}`, created: secondsOf(new Date()), model: request.model };
    const pieces = piecesOf(ensemble, request, c, base);
    if (request.stream === true) {
      const chunks = chatChunks(pieces, base, request.stream_options?.include_usage === true);
      return streamResponse(chunks, openAiEvents());
    }
    return c.json(await chatCompletion(pieces, base));
  });
  return app;
}

/** Time of this process' start, seconds. */
const SINCE = secondsOf(new Date());

function modelOf(id: string): { id: string; object: "model"; created: number; owned_by: string } {
  return { id, object: "model", created: SINCE, owned_by: "gorkheavy" };
}

/** The winner's words, replayed. @throws Fault invalid_request */
function piecesOf(
  ensemble: Ensemble,
  request: OpenAiChatRequest,
  c: Context,
  base: CompletionBase,
): AsyncIterable<Piece> {
  const messages = request.messages.map((message): PlainMessage => ({ role: message.role, content: textOf(message) }));
  const identity = identityOf(c);
  const input = askOfChat(messages, ensemble.config.memory.turns, {
    ...identity,
    user: identity.user ?? callerOf(c).userFor(userOf(request.user)),
  });
  return replayed(ensemble, input, c, base);
}

/** OpenAI's `user` is any text; only one that can be an identifier names a user here. */
export function userOf(user: string | null | undefined): string | undefined {
  return typeof user === "string" && /^[A-Za-z0-9._:@-]{1,128}$/.test(user) ? user : undefined;
}

async function* replayed(ensemble: Ensemble, input: AskInput, c: Context, base: CompletionBase): AsyncIterable<Piece> {
  const answer = await askFor(ensemble, input, c);
  // Of the answer, not of this request: under an idempotency key the same bytes come again.
  base.id = `chatcmpl-${answer.id}`;
  base.created = secondsOf(new Date(answer.answeredAt));
  for (const text of replay(answer.reply)) yield { text };
  const winner = answer.stages.find(({ member }) => member === answer.decision.winner);
  yield { text: "", done: { reason: "stop", promptTokens: winner?.promptTokens, answerTokens: winner?.answerTokens } };
}

function secondsOf(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
