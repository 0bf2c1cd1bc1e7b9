import { Hono } from "hono";
import { OLLAMA_DIALECT } from "../../support/http.ts";
import { OPENAI_DIALECT } from "../../support/openai-chat.ts";
import type { Engine } from "../engine.ts";
import { adminApi } from "./admin-api.ts";
import { refuseOthers } from "./base.ts";
import { healthApi } from "./health-api.ts";
import { mainApi } from "./main-api.ts";
import type { ModelChanges } from "./model-changes.ts";
import { MAIN_DIALECT } from "./native.ts";
import { ollamaApi } from "./ollama/ollama-api.ts";
import { openAiApi } from "./openai/openai-api.ts";

/** All that the main port answers, usually 5000: health, the main API with its verbs, and the OpenAI API. @param webSocket whether there is one */
export function mainPort(engine: Engine, changes: ModelChanges, webSocket = true): Hono {
  const app = new Hono();
  app.route("/", healthApi(engine));
  app.route("/", openAiApi(engine));
  app.route("/", adminApi(engine));
  app.route("/", mainApi(engine, changes, webSocket));
  refuseOthers(app, (path) => (path.startsWith("/v1/") ? OPENAI_DIALECT : MAIN_DIALECT));
  return app;
}

/** All that Ollama's port answers, usually 11434: health, the Ollama API, and the OpenAI API. */
export function ollamaPort(engine: Engine): Hono {
  const app = new Hono();
  app.route("/", healthApi(engine));
  app.route("/", openAiApi(engine));
  app.route("/", ollamaApi(engine));
  refuseOthers(app, (path) => (path.startsWith("/v1/") ? OPENAI_DIALECT : OLLAMA_DIALECT));
  return app;
}
