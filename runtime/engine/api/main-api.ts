import type { Hono } from "hono";
import type { Context } from "hono";
import {
  type EngineAnswer,
  EngineChatRequest,
  EngineEmbeddingsRequest,
  type EngineEvent,
  EngineGenerateRequest,
  type EngineModelEvent,
} from "../../contracts/engine-api.ts";
import { Fault } from "../../core/fault.ts";
import { clientSignal, type Framing, readJson, streamResponse } from "../../support/http.ts";
import type { Engine } from "../engine.ts";
import { apiOf } from "./base.ts";
import { MOST_BODY_BYTES } from "./bodies.ts";
import { describe } from "./describe.ts";
import { embed, normalized } from "./embedding.ts";
import { type Asked, generate } from "./inference.ts";
import { resolveModel } from "./known-models.ts";
import type { ModelChanges } from "./model-changes.ts";
import { askedOfChat, askedOfGenerate, endOf, errorOf, eventsOf, leaseOf, MAIN_DIALECT, toldOf } from "./native.ts";

/**
 * What the main API serves beside health, verbs that change the engine, and the OpenAI API: chat, generate, embeddings, models.
 * @param webSocket whether there is one at `/stream`
 */
export function mainApi(engine: Engine, changes: ModelChanges, webSocket = true): Hono {
  const app = apiOf(engine, MAIN_DIALECT);
  app.get("/", (c) => c.text("gorkheavy engine is running"));
  app.post("/chat", async (c) => {
    const { stream, ...request } = await readJson(c, EngineChatRequest, MOST_BODY_BYTES);
    return answer(engine, c, askedOfChat(request), stream);
  });
  app.post("/generate", async (c) => {
    const { stream, ...request } = await readJson(c, EngineGenerateRequest, MOST_BODY_BYTES);
    return answer(engine, c, askedOfGenerate(request), stream);
  });
  app.post("/embeddings", async (c) => {
    const request = await readJson(c, EngineEmbeddingsRequest, MOST_BODY_BYTES);
    const texts = typeof request.input === "string" ? [request.input] : request.input;
    const { vectors } = await embed(engine, request.model, texts, clientSignal(c), leaseOf(request));
    return c.json({ model: request.model, embeddings: normalized(vectors) });
  });
  app.get("/models", (c) => c.json({ models: engine.residency.list().map(describe) }));
  app.get("/events", (c) => streamResponse(changes.stream(clientSignal(c)), events<EngineModelEvent>()));
  app.post("/models/:name{.+}/load", async (c) => {
    const name = await resolveModel(engine, c.req.param("name"));
    await engine.residency.load(name);
    return c.json(describe(engine.residency.status(name)));
  });
  app.post("/models/:name{.+}/unload", async (c) => {
    engine.requireAdmin(c.req.header("authorization"));
    const name = await resolveModel(engine, c.req.param("name"));
    const { inFlight } = engine.residency.status(name);
    if (inFlight > 0)
      throw new Fault("overloaded", `${name} writes ${inFlight} answers; it cannot leave the memory under them`, {
        retryAfterSeconds: 2,
      });
    await engine.residency.unload(name);
    return c.json(describe(engine.residency.status(name)));
  });
  app.get("/models/:name{.+}", async (c) => {
    const name = await resolveModel(engine, c.req.param("name"));
    return c.json(describe(engine.residency.status(name)));
  });
  app.get("/stream", () => {
    if (!webSocket) throw new Fault("not_found", "the WebSocket is switched off here (features.webSocket)");
    throw new Fault("invalid_request", "this is a WebSocket: want connection: upgrade and upgrade: websocket", {
      headers: { upgrade: "websocket" },
    });
  });
  return app;
}

/** Events that each say what they are, as server-sent events of that name. */
function events<T extends { event: string }>(): Framing<T> {
  return {
    contentType: "text/event-stream",
    frame: (event) => `event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`,
    failure: (fault) => `event: error\ndata: ${JSON.stringify({ event: "error", error: errorOf(fault) })}\n\n`,
  };
}

async function answer(engine: Engine, c: Context, asked: Asked, stream: boolean): Promise<Response> {
  const signal = clientSignal(c);
  if (stream) return streamResponse(eventsOf(engine, asked, signal), events<EngineEvent>());
  let text = "";
  let logprobs: EngineAnswer["logprobs"];
  for await (const piece of generate(engine, asked, signal)) {
    text += piece.text;
    if (piece.logprobs !== undefined) logprobs = [...(logprobs ?? []), ...(toldOf(piece.logprobs).logprobs ?? [])];
    if (piece.done === undefined) continue;
    const told = logprobs === undefined ? {} : { logprobs };
    return c.json({ model: asked.model, text, ...told, ...endOf(piece.done) } satisfies EngineAnswer);
  }
  throw new Fault("model_failed", `${asked.model} ended without a last word`);
}
