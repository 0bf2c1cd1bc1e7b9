import type { Hono } from "hono";
import { OllamaGenerateRequest } from "../../../contracts/ollama.ts";
import { Fault } from "../../../core/fault.ts";
import { clientSignal, OLLAMA_DIALECT, readJson } from "../../../support/http.ts";
import type { EngineMessage } from "../../backend.ts";
import type { Engine } from "../../engine.ts";
import { apiOf } from "../base.ts";
import { MOST_BODY_BYTES } from "../bodies.ts";
import { type Asked, generate } from "../inference.ts";
import { refuseImages, refuseUnserved } from "../refusals.ts";
import { answerLines, askedAbout, head, joinedLogprobs, loadOnly, withTotals } from "./shape.ts";

/** `POST /api/generate`. */
export function generateApi(engine: Engine): Hono {
  const app = apiOf(engine, OLLAMA_DIALECT);
  app.post("/api/generate", async (c) => {
    const request = await readJson(c, OllamaGenerateRequest, MOST_BODY_BYTES);
    const asked = askedOf(request);
    if ((request.prompt ?? "") === "") {
      const loaded = await loadOnly(engine, request.model, asked.lease.keepAliveMs);
      return c.json({ ...head(request.model), response: "", ...loaded });
    }
    const lines = linesOf(engine, asked, clientSignal(c));
    return answerLines(c, request.stream !== false, lines, (all, last) => ({
      ...last,
      ...joinedLogprobs(all),
      response: all.map(({ response }) => response).join(""),
    }));
  });
  return app;
}

async function* linesOf(engine: Engine, asked: Asked, signal: AbortSignal) {
  for await (const { text, totals, logprobs } of withTotals(generate(engine, asked, signal)))
    yield { ...head(asked.model), response: text, ...totals, ...logprobs };
}

/** @throws Fault invalid_request for what is not served */
function askedOf(request: OllamaGenerateRequest): Asked {
  const { model, prompt, system, raw } = request;
  if (raw === true && (request.template || system || (request.context ?? []).length > 0))
    throw new Fault("invalid_request", "raw mode does not support template, system, or context", { param: "raw" });
  refuseImages(model, request.images);
  refuseUnserved({ suffix: request.suffix }, `${model} does not support insert`);
  refuseUnserved({ think: request.think }, `"${model}" does not support thinking`);
  refuseUnserved(
    { context: request.context },
    "this engine keeps none; send the conversation as messages to /api/chat",
  );
  refuseUnserved(
    { template: request.template },
    "the model's own template is used; send raw: true to write a prompt whole",
  );
  const messages: EngineMessage[] = [
    ...(system ? [{ role: "system" as const, content: system }] : []),
    { role: "user", content: prompt ?? "" },
  ];
  const asked = askedAbout(messages, request);
  return raw === true ? { ...asked, request: { ...asked.request, raw } } : asked;
}
