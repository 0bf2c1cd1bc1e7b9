import { randomUUID } from "node:crypto";
import type { Hono } from "hono";
import { EngineOpenAiChatRequest, EngineOpenAiResponseRequest } from "../../../contracts/openai-engine.ts";
import { textOf } from "../../../contracts/openai.ts";
import { Fault } from "../../../core/fault.ts";
import { clientSignal, readJson, streamResponse } from "../../../support/http.ts";
import {
  chatChunks,
  chatCompletion,
  type CompletionBase,
  OPENAI_DIALECT,
  openAiEvents,
} from "../../../support/openai-chat.ts";
import { RESPONSE_EVENTS, responseBegun, responseEvents, wholeResponse } from "../../../support/openai-responses.ts";
import type { EngineMessage } from "../../backend.ts";
import type { Engine } from "../../engine.ts";
import { apiOf } from "../base.ts";
import { MOST_BODY_BYTES } from "../bodies.ts";
import { type Asked, begun, generate, given, openAiPieces, topLogprobsOf } from "../inference.ts";
import { knownModel, knownModels } from "../known-models.ts";
import { refuseImages, refuseMany, refuseToolMessage, refuseTools, refuseUnserved } from "../refusals.ts";
import { completions } from "./completions.ts";
import { embeddings } from "./embeddings.ts";
import { formatOf, leaseOf, samplingOf } from "./sampling.ts";

/** The OpenAI API over an engine's models. */
export function openAiApi(engine: Engine): Hono {
  const app = apiOf(engine, OPENAI_DIALECT);
  app.get("/v1/models", async (c) => c.json({ object: "list", data: (await knownModels(engine)).map(modelOf) }));
  app.get("/v1/models/:model{.+}", async (c) => c.json(modelOf(await knownModel(engine, c.req.param("model")))));
  app.post("/v1/chat/completions", async (c) => {
    const request = await readJson(c, EngineOpenAiChatRequest, MOST_BODY_BYTES);
    const pieces = openAiPieces(generate(engine, chatOf(request), clientSignal(c)));
    const base: CompletionBase = { id: `chatcmpl-${randomUUID()}`, created: seconds(new Date()), model: request.model };
    if (request.stream !== true) return c.json(await chatCompletion(pieces, base));
    const chunks = chatChunks(pieces, base, request.stream_options?.include_usage === true);
    return streamResponse(chunks, openAiEvents());
  });
  app.post("/v1/completions", (c) => completions(engine, c));
  app.post("/v1/embeddings", (c) => embeddings(engine, c));
  app.post("/v1/responses", async (c) => {
    const request = await readJson(c, EngineOpenAiResponseRequest, MOST_BODY_BYTES);
    const pieces = openAiPieces(generate(engine, responseOf(request), clientSignal(c)));
    const base = {
      ...responseBegun(request, `resp_${randomUUID().replaceAll("-", "")}`),
      temperature: request.temperature ?? null,
      top_p: request.top_p ?? null,
      max_output_tokens: request.max_output_tokens ?? null,
      metadata: request.metadata ?? {},
      text: request.text ?? { format: { type: "text" } },
      store: false,
    };
    if (request.stream !== true) return c.json(await wholeResponse(base, pieces));
    // A model that is unknown or still loading has its own status, not an event in a stream that was begun.
    return streamResponse(responseEvents(base, await begun(pieces)), RESPONSE_EVENTS);
  });
  return app;
}

function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}

function modelOf({ name, modifiedAt }: { name: string; modifiedAt: Date }): Record<string, unknown> {
  return { id: name, object: "model", created: seconds(modifiedAt), owned_by: "library" };
}

/** @throws Fault invalid_request for what is not served */
function chatOf(request: EngineOpenAiChatRequest): Asked {
  const { model } = request;
  refuseMany("n", request.n);
  // Who forbids the calls gets the words that he wants.
  if (request.tool_choice !== "none") refuseTools(model, request.tools);
  refuseUnserved({ functions: request.functions }, `${model} does not support tools`);
  refuseUnserved({ logit_bias: request.logit_bias }, "not served here; leave it out");
  refuseUnserved(
    { modalities: (request.modalities ?? []).filter((one) => one !== "text") },
    `${model} writes text alone`,
  );
  const messages = request.messages.map((message, at): EngineMessage => {
    refuseToolMessage(model, message, at);
    const parts = Array.isArray(message.content) ? message.content : [];
    refuseImages(
      model,
      parts.filter(({ type }) => type !== "text" && type !== "refusal"),
      `messages.${at}.content`,
    );
    const role = message.role === "developer" ? "system" : message.role;
    return { role: role === "system" || role === "assistant" ? role : "user", content: textOf(message) };
  });
  return {
    model,
    request: {
      messages,
      ...formatOf(request.response_format),
      ...samplingOf(request),
      ...given({
        maxTokens: request.max_completion_tokens ?? request.max_tokens,
        topLogprobs: topLogprobsOf(request),
      }),
    },
    lease: leaseOf(request),
  };
}

/** @throws Fault invalid_request for what is not served */
function responseOf(request: EngineOpenAiResponseRequest): Asked {
  const { model, input } = request;
  if (request.tool_choice !== "none") refuseTools(model, request.tools);
  refuseUnserved(
    { previous_response_id: request.previous_response_id },
    "this engine remembers no response; send the messages themselves as input",
  );
  refuseUnserved({ background: request.background }, "not served here; leave it out");
  const messages: EngineMessage[] = [];
  if (request.instructions) messages.push({ role: "system", content: request.instructions });
  if (typeof input === "string") messages.push({ role: "user", content: input });
  else {
    messages.push(
      ...input.map(({ type = "message", role, content }, at): EngineMessage => {
        if (type !== "message" || role === undefined)
          throw new Fault("invalid_request", `input.${at}: got ${type.slice(0, 40)}, want messages with a role`, {
            param: `input.${at}`,
          });
        const parts = typeof content === "string" ? [{ type: "input_text", text: content }] : (content ?? []);
        refuseImages(
          model,
          parts.filter((part) => part.text === undefined),
          `input.${at}.content`,
        );
        return {
          role: role === "developer" ? "system" : role,
          content: parts.map(({ text }) => text ?? "").join(""),
        };
      }),
    );
  }
  const format = request.text?.format;
  return {
    model,
    request: {
      messages,
      ...(format?.type === "json_schema" ? { format: format.schema } : formatOf(format)),
      ...given({ temperature: request.temperature, topP: request.top_p, maxTokens: request.max_output_tokens }),
    },
    lease: {},
  };
}
