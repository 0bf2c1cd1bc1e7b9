import type { Hono } from "hono";
import { OllamaChatRequest } from "../../../contracts/ollama.ts";
import { clientSignal, OLLAMA_DIALECT, readJson } from "../../../support/http.ts";
import type { EngineMessage } from "../../backend.ts";
import type { Engine } from "../../engine.ts";
import { apiOf } from "../base.ts";
import { MOST_BODY_BYTES } from "../bodies.ts";
import { type Asked, generate } from "../inference.ts";
import { refuseImages, refuseToolMessage, refuseTools, refuseUnserved } from "../refusals.ts";
import { answerLines, askedAbout, head, joinedLogprobs, loadOnly, withTotals } from "./shape.ts";

/** `POST /api/chat`. */
export function chatApi(engine: Engine): Hono {
  const app = apiOf(engine, OLLAMA_DIALECT);
  app.post("/api/chat", async (c) => {
    const request = await readJson(c, OllamaChatRequest, MOST_BODY_BYTES);
    const asked = askedOf(request);
    if (asked.request.messages.length === 0) {
      const loaded = await loadOnly(engine, request.model, asked.lease.keepAliveMs);
      return c.json({ ...head(request.model), message: { role: "assistant", content: "" }, ...loaded });
    }
    const lines = linesOf(engine, asked, clientSignal(c));
    return answerLines(c, request.stream !== false, lines, (all, last) => ({
      ...last,
      ...joinedLogprobs(all),
      message: { role: "assistant", content: all.map(({ message }) => message.content).join("") },
    }));
  });
  return app;
}

async function* linesOf(engine: Engine, asked: Asked, signal: AbortSignal) {
  for await (const { text, totals, logprobs } of withTotals(generate(engine, asked, signal)))
    yield { ...head(asked.model), message: { role: "assistant", content: text }, ...totals, ...logprobs };
}

/** @throws Fault invalid_request for what is not served */
function askedOf(request: OllamaChatRequest): Asked {
  const { model } = request;
  refuseTools(model, request.tools);
  refuseUnserved({ think: request.think }, `"${model}" does not support thinking`);
  const messages = (request.messages ?? []).map((message, at): EngineMessage => {
    const { role, content, images } = message;
    refuseToolMessage(model, message, at);
    refuseImages(model, images, `messages.${at}.images`);
    return { role: role === "tool" ? "user" : role, content };
  });
  return askedAbout(messages, request);
}
