import type { Hono } from "hono";
import type { Context } from "hono";
import { OllamaEmbeddingsRequest, OllamaEmbedRequest, OllamaShowRequest } from "../../../contracts/ollama.ts";
import { clientSignal, OLLAMA_DIALECT, readJson } from "../../../support/http.ts";
import type { Engine } from "../../engine.ts";
import { keepAliveMs } from "../../residency/keep-alive.ts";
import type { LeaseOptions } from "../../residency/residency.ts";
import { apiOf } from "../base.ts";
import { MOST_BODY_BYTES } from "../bodies.ts";
import { embed, normalized } from "../embedding.ts";
import { given } from "../inference.ts";
import { knownModel, knownModels } from "../known-models.ts";
import { chatApi } from "./chat.ts";
import { generateApi } from "./generate.ts";
import { psOf, showOf, tagsOf } from "./models.ts";
import { nanoseconds } from "./shape.ts";
import { storeApi } from "./store-api.ts";

/** Version of the Ollama API that this one follows; clients compare it. Source: ollama/ollama release 0.17.1. */
const OLLAMA_API_VERSION = "0.17.1";

/** The Ollama API over an engine's models. */
export function ollamaApi(engine: Engine): Hono {
  const app = apiOf(engine, OLLAMA_DIALECT);
  app.get("/", (c) => c.text("Ollama is running"));
  app.get("/api/version", (c) => c.json({ version: OLLAMA_API_VERSION }));
  app.get("/api/tags", async (c) => c.json(tagsOf(await knownModels(engine))));
  app.get("/api/ps", (c) => c.json(psOf(engine.residency.list())));
  app.post("/api/show", async (c) => {
    const { model, name } = await readJson(c, OllamaShowRequest, MOST_BODY_BYTES);
    return c.json(showOf(await knownModel(engine, model ?? name ?? "")));
  });
  app.route("/", generateApi(engine));
  app.route("/", chatApi(engine));
  app.post("/api/embed", (c) => embedded(engine, c));
  app.post("/api/embeddings", (c) => legacyEmbedded(engine, c));
  app.route("/", storeApi(engine));
  return app;
}

/** How long the model is kept after a request. @throws Fault invalid_request */
export function leaseOf(request: { keep_alive?: unknown }): LeaseOptions {
  return given({ keepAliveMs: keepAliveMs(request.keep_alive) });
}

async function embedded(engine: Engine, c: Context): Promise<Response> {
  const request = await readJson(c, OllamaEmbedRequest, MOST_BODY_BYTES);
  const { model, input, dimensions } = request;
  const texts =
    input === null || input === undefined || input === "" ? [] : typeof input === "string" ? [input] : input;
  const done = await embed(engine, model, texts, clientSignal(c), {
    ...leaseOf(request),
    truncate: request.truncate !== false,
  });
  return c.json({
    model,
    embeddings: normalized(done.vectors, dimensions === 0 ? undefined : dimensions),
    total_duration: nanoseconds(done.loadMs + done.embedMs),
    load_duration: nanoseconds(done.loadMs),
    prompt_eval_count: done.tokens,
  });
}

/** One vector as the model gave it: this older verb does not make its length 1. */
async function legacyEmbedded(engine: Engine, c: Context): Promise<Response> {
  const request = await readJson(c, OllamaEmbeddingsRequest, MOST_BODY_BYTES);
  const texts = request.prompt ? [request.prompt] : [];
  const { vectors } = await embed(engine, request.model, texts, clientSignal(c), {
    ...leaseOf(request),
    truncate: true,
  });
  return c.json({ embedding: vectors[0] ?? [] });
}
