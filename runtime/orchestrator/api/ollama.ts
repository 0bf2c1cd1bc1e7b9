import { Hono } from "hono";
import type { Context } from "hono";
import type { AskAnswer } from "../../contracts/native.ts";
import {
  OllamaChatRequest,
  type OllamaChatChunk,
  type OllamaGenerateChunk,
  OllamaGenerateRequest,
  type OllamaPs,
  OllamaShowRequest,
  type OllamaTags,
} from "../../contracts/ollama.ts";
import { Fault } from "../../core/fault.ts";
import { errorResponse, ndjson, OLLAMA_DIALECT, readJson, streamResponse } from "../../support/http.ts";
import type { AskInput, Ensemble } from "../ensemble.ts";
import { askFor, askOfChat, contextOf, conversationOf, digestOf, identityOf, replay } from "./asked.ts";
import { known, modelNames, onlyEnsemble } from "./model-names.ts";

/** Version of the Ollama API that this one follows. Source: ollama/ollama release 0.17.1. */
const OLLAMA_API_VERSION = "0.17.1";
const NANOSECONDS = 1_000_000;

/** One part of an answer before it has its shape. */
interface Part {
  text: string;
  totals: { done: false } | Last;
  /** When it was answered, ISO 8601. Absent: now. */
  at?: string;
  /** Conversation that the answer belongs to; `/api/generate` hands it to the client as `context`. */
  conversation?: string;
}

/** What the last part adds. */
interface Last {
  done: true;
  done_reason: string;
  total_duration: number;
  prompt_eval_count: number;
  eval_count: number;
}

/** The Ollama API for the ensemble; what names a member was passed to its server before. */
export function ollamaApi(ensemble: Ensemble): Hono {
  const app = new Hono();
  const most = ensemble.config.limits.bodyBytes;
  app.onError((error) => errorResponse(error, OLLAMA_DIALECT));
  app.get("/api/version", (c) => c.json({ version: OLLAMA_API_VERSION }));
  app.get("/api/tags", (c) => c.json(tagsOf(ensemble)));
  app.get("/api/ps", async (c) => c.json(await psOf(ensemble)));
  app.post("/api/show", async (c) => {
    const request = await readJson(c, OllamaShowRequest, most);
    return c.json(showOf(ensemble, request.model ?? request.name ?? ""));
  });
  app.post("/api/generate", async (c) => {
    const request = await readJson(c, OllamaGenerateRequest, most);
    if ((request.prompt ?? "").trim() === "") {
      known(ensemble, request.model);
      return c.json({ ...head(request.model), response: "", done: true, done_reason: "load" });
    }
    onlyEnsemble(ensemble, request.model, "/api/generate");
    return answer(c, request.stream !== false, generateParts(ensemble, request, c), generateShape(request.model));
  });
  app.post("/api/chat", async (c) => {
    const request = await readJson(c, OllamaChatRequest, most);
    if ((request.messages ?? []).length === 0) {
      known(ensemble, request.model);
      return c.json({
        ...head(request.model),
        message: { role: "assistant", content: "" },
        done: true,
        done_reason: "load",
      });
    }
    onlyEnsemble(ensemble, request.model, "/api/chat");
    return answer(c, request.stream !== false, chatParts(ensemble, request, c), chatShape(request.model));
  });
  for (const path of ["/api/pull", "/api/create", "/api/copy", "/api/push", "/api/blobs/:digest"])
    app.post(path, refuse);
  app.delete("/api/delete", refuse);
  return app;
}

/** Verbs that change models are no business of whoever may ask questions. */
function refuse(): Response {
  throw new Fault("forbidden", "models are changed where they are deployed, not through the ensemble");
}

/** Answers with the parts as they come, or with all of them in one document. */
async function answer<T extends OllamaGenerateChunk | OllamaChatChunk>(
  c: Context,
  stream: boolean,
  parts: AsyncIterable<Part>,
  shape: (part: Part) => T,
): Promise<Response> {
  if (stream) {
    const chunks = (async function* () {
      for await (const part of parts) yield shape(part);
    })();
    return streamResponse(
      chunks,
      ndjson<T>((fault) => OLLAMA_DIALECT.body(fault)),
    );
  }
  let text = "";
  for await (const part of parts) {
    text += part.text;
    if (part.totals.done) return c.json(shape({ ...part, text }));
  }
  throw new Fault("internal", "the answer ended without a last part");
}

function head(model: string, at = new Date().toISOString()): { model: string; created_at: string } {
  return { model, created_at: at };
}

function generateShape(model: string): (part: Part) => OllamaGenerateChunk {
  return ({ text, totals, conversation, at }) => {
    const context = totals.done && conversation !== undefined ? contextOf(conversation) : undefined;
    return { ...head(model, at), response: text, ...totals, ...(context === undefined ? {} : { context }) };
  };
}

function chatShape(model: string): (part: Part) => OllamaChatChunk {
  return ({ text, totals, at }) => ({ ...head(model, at), message: { role: "assistant", content: text }, ...totals });
}

function generateParts(ensemble: Ensemble, request: OllamaGenerateRequest, c: Context): AsyncIterable<Part> {
  const system = request.system ?? undefined;
  const { conversation = conversationOf(request.context), ...identity } = identityOf(c);
  return ensembleParts(ensemble, { question: request.prompt ?? "", ...identity, conversation, system }, c);
}

function chatParts(ensemble: Ensemble, request: OllamaChatRequest, c: Context): AsyncIterable<Part> {
  return ensembleParts(ensemble, askOfChat(request.messages ?? [], ensemble.config.memory.turns, identityOf(c)), c);
}

async function* ensembleParts(ensemble: Ensemble, input: AskInput, c: Context): AsyncIterable<Part> {
  const answer = await askFor(ensemble, input, c);
  for (const text of replay(answer.reply)) yield { text, totals: { done: false }, at: answer.answeredAt };
  yield {
    text: "",
    totals: last(answer),
    at: answer.answeredAt,
    conversation: answer.conversation,
  };
}

function last(answer: AskAnswer): Last {
  const winner = answer.stages.find(({ member }) => member === answer.decision.winner);
  return {
    done: true,
    done_reason: "stop",
    total_duration: Math.round(answer.ms * NANOSECONDS),
    prompt_eval_count: winner?.promptTokens ?? 0,
    eval_count: winner?.answerTokens ?? 0,
  };
}

/** Time of this process' start: when its models came to be there. */
const SINCE = new Date().toISOString();

const detailsOf = (family: string): NonNullable<OllamaTags["models"][number]["details"]> => ({
  parent_model: "",
  format: "",
  family,
  families: [family],
  parameter_size: "",
  quantization_level: "",
});

function tagsOf(ensemble: Ensemble): OllamaTags {
  return {
    models: modelNames(ensemble).map((name) => ({
      name,
      model: name,
      modified_at: SINCE,
      size: 0,
      digest: digestOf(`${name} ${ensemble.memberNamed(name)?.model ?? ""}`),
      details: detailsOf(ensemble.memberNamed(name)?.model ?? "ensemble"),
    })),
  };
}

async function psOf(ensemble: Ensemble): Promise<OllamaPs> {
  const { ready, members } = await ensemble.health.check();
  const names = [
    ...(ready ? [ensemble.config.name] : []),
    ...members.filter((one) => one.ready).map(({ member }) => member),
  ];
  return {
    models: names.map((name) => ({
      name,
      model: name,
      size: 0,
      size_vram: 0,
      digest: digestOf(`${name} ${ensemble.memberNamed(name)?.model ?? ""}`),
      details: detailsOf(ensemble.memberNamed(name)?.model ?? "ensemble"),
      expires_at: "2318-01-01T00:00:00Z",
    })),
  };
}

function showOf(ensemble: Ensemble, model: string): unknown {
  const member = known(ensemble, model);
  return {
    modelfile: "",
    parameters: member === undefined ? "" : `num_ctx ${member.numCtx}`,
    template: "",
    details: detailsOf(member?.model ?? "ensemble"),
    model_info: { "general.architecture": member?.model ?? "ensemble" },
    capabilities: ["completion"],
    modified_at: SINCE,
  };
}
