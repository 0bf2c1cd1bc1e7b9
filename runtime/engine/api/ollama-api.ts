import { Hono } from "hono";
import type { Context } from "hono";
import { z } from "zod";
import {
  OllamaChatRequest,
  type OllamaChatChunk,
  OllamaEmbedRequest,
  type OllamaGenerateChunk,
  OllamaGenerateRequest,
  type OllamaOptions,
  type OllamaPs,
  OllamaPullRequest,
  type OllamaPullProgress,
  OllamaShowRequest,
  type OllamaTags,
} from "../../contracts/ollama.ts";
import { Fault } from "../../core/fault.ts";
import { monotonicMs } from "../../support/clock.ts";
import { clientSignal, errorResponse, ndjson, OLLAMA_DIALECT, readJson, streamResponse } from "../../support/http.ts";
import type { EngineMessage, GenerateRequest } from "../backend.ts";
import type { Engine } from "../engine.ts";
import type { ModelStatus } from "../residency/status.ts";

/** Version of the Ollama API that this one follows; clients compare it. Source: ollama/ollama release 0.17.1. */
const OLLAMA_API_VERSION = "0.17.1";

const MOST_BODY_BYTES = 16 * 1024 * 1024;
const NANOSECONDS = 1_000_000;
const FAILURE = (fault: Fault): unknown => OLLAMA_DIALECT.body(fault);

/** The Ollama API over an engine's models. */
export function ollamaApi(engine: Engine): Hono {
  const app = new Hono();
  app.onError((error) => errorResponse(error, OLLAMA_DIALECT));
  app.notFound((c) => errorResponse(new Fault("not_found", `no ${c.req.method} ${c.req.path} here`), OLLAMA_DIALECT));

  app.get("/", (c) => c.text("Ollama is running"));
  app.get("/api/version", (c) => c.json({ version: OLLAMA_API_VERSION }));
  app.get("/api/tags", (c) => c.json(tagsOf(engine.residency.list())));
  app.get("/api/ps", (c) => c.json(psOf(engine.residency.list())));
  app.post("/api/show", async (c) => {
    const request = await readJson(c, OllamaShowRequest, MOST_BODY_BYTES);
    return c.json(showOf(engine.residency.status(request.model ?? request.name ?? "")));
  });
  app.post("/api/generate", async (c) => {
    const request = await readJson(c, OllamaGenerateRequest, MOST_BODY_BYTES);
    if ((request.prompt ?? "") === "") return loadOnly(c, engine, request, (base) => ({ ...base, response: "" }));
    const chunks = generateChunks(engine, request, clientSignal(c));
    if (request.stream !== false) return streamResponse(chunks, ndjson<OllamaGenerateChunk>(FAILURE));
    let response = "";
    for await (const chunk of chunks) {
      response += chunk.response;
      if (chunk.done) return c.json({ ...chunk, response });
    }
    throw new Fault("model_failed", "the model ended without a last word");
  });
  app.post("/api/chat", async (c) => {
    const request = await readJson(c, OllamaChatRequest, MOST_BODY_BYTES);
    if ((request.messages ?? []).length === 0) {
      return loadOnly(c, engine, request, (base) => ({ ...base, message: { role: "assistant", content: "" } }));
    }
    const chunks = chatChunks(engine, request, clientSignal(c));
    if (request.stream !== false) return streamResponse(chunks, ndjson<OllamaChatChunk>(FAILURE));
    let content = "";
    for await (const chunk of chunks) {
      content += chunk.message.content;
      if (chunk.done) return c.json({ ...chunk, message: { role: "assistant", content } });
    }
    throw new Fault("model_failed", "the model ended without a last word");
  });
  app.post("/api/pull", async (c) => {
    const request = await readJson(c, OllamaPullRequest, MOST_BODY_BYTES);
    const name = request.model ?? request.name ?? "";
    if (engine.residency.resolve(name) === undefined) engine.requireAdmin(c.req.header("authorization"));
    const steps = pullSteps(engine, name, clientSignal(c));
    if (request.stream !== false) return streamResponse(steps, ndjson<OllamaPullProgress>(FAILURE));
    for await (const step of steps) void step;
    return c.json({ status: "success" });
  });
  const embed = async (c: Context): Promise<Response> => {
    const request = await readJson(c, OllamaEmbedRequest, MOST_BODY_BYTES);
    const texts = typeof request.input === "string" ? [request.input] : request.input;
    const { model, release } = engine.residency.acquire(request.model);
    try {
      if (model.embed === undefined)
        throw new Fault("not_supported", `the ${engine.backend.name} backend makes no embeddings`);
      return c.json({ model: request.model, embeddings: await model.embed(texts, clientSignal(c)) });
    } finally {
      release();
    }
  };
  app.post("/api/embed", embed);
  for (const path of ["/api/create", "/api/copy", "/api/push", "/api/blobs/:digest"])
    app.post(path, (c) => refuseWrite(c, engine));
  app.delete("/api/delete", (c) => refuseWrite(c, engine));
  return app;
}

/** A verb that changes the store: not without the admin token, and not yet with it. */
function refuseWrite(c: Context, engine: Engine): Response {
  engine.requireAdmin(c.req.header("authorization"));
  throw new Fault("not_supported", `${c.req.path}: the ${engine.backend.name} backend has no store to change`);
}

/** What an empty prompt does in Ollama: load the model, or with `keep_alive: 0` unload it. */
async function loadOnly(
  c: Context,
  engine: Engine,
  request: { model: string; keep_alive?: unknown },
  shape: (base: { model: string; created_at: string; done: true; done_reason: string }) => unknown,
): Promise<Response> {
  const unload = request.keep_alive === 0 || request.keep_alive === "0";
  if (unload) {
    // Only for whoever may change the engine: a passer-by must not be able to empty the memory that "ready" speaks of.
    engine.requireAdmin(c.req.header("authorization"));
    await engine.residency.unload(request.model);
  } else await engine.residency.load(request.model);
  const base = {
    model: request.model,
    created_at: new Date().toISOString(),
    done: true as const,
    done_reason: unload ? "unload" : "load",
  };
  return c.json(z.looseObject({}).parse(shape(base)));
}

async function* generateChunks(
  engine: Engine,
  request: OllamaGenerateRequest,
  signal: AbortSignal,
): AsyncIterable<OllamaGenerateChunk> {
  const system = request.system ?? "";
  const messages: EngineMessage[] = [
    ...(system === "" ? [] : [{ role: "system" as const, content: system }]),
    { role: "user", content: request.prompt ?? "" },
  ];
  for await (const { text, totals } of run(engine, request, messages, signal)) {
    yield { ...head(request.model), response: text, ...totals };
  }
}

async function* chatChunks(
  engine: Engine,
  request: OllamaChatRequest,
  signal: AbortSignal,
): AsyncIterable<OllamaChatChunk> {
  const messages = (request.messages ?? []).map(
    ({ role, content }): EngineMessage => ({ role: role === "tool" ? "user" : role, content }),
  );
  for await (const { text, totals } of run(engine, request, messages, signal)) {
    yield { ...head(request.model), message: { role: "assistant", content: text }, ...totals };
  }
}

function head(model: string): { model: string; created_at: string } {
  return { model, created_at: new Date().toISOString() };
}

type Totals =
  | { done: false }
  | (Pick<OllamaGenerateChunk, "done_reason" | "total_duration" | "eval_count" | "prompt_eval_count"> & { done: true });

async function* run(
  engine: Engine,
  request: { model: string; format?: unknown; options?: OllamaOptions | null },
  messages: readonly EngineMessage[],
  signal: AbortSignal,
): AsyncIterable<{ text: string; totals: Totals }> {
  const began = monotonicMs();
  for await (const { text, done } of engine.generate(request.model, generation(messages, request), signal)) {
    if (done === undefined) {
      yield { text, totals: { done: false } };
      continue;
    }
    yield {
      text,
      totals: {
        done: true,
        done_reason: done.reason,
        total_duration: nanoseconds(monotonicMs() - began),
        ...{
          load_duration: 0,
          prompt_eval_duration: nanoseconds(done.promptMs),
          eval_duration: nanoseconds(done.answerMs),
        },
        prompt_eval_count: done.promptTokens,
        eval_count: done.answerTokens,
      },
    };
  }
}

function nanoseconds(ms: number): number {
  return Math.max(0, Math.round(ms * NANOSECONDS));
}

const Schema = z.record(z.string(), z.unknown());

function generation(
  messages: readonly EngineMessage[],
  request: { format?: unknown; options?: OllamaOptions | null },
): GenerateRequest {
  const { options } = request;
  const stop = options?.stop;
  const most = options?.num_predict;
  const schema = Schema.safeParse(request.format);
  return {
    messages,
    ...(request.format === "json" ? { format: "json" as const } : {}),
    ...(schema.success ? { format: schema.data } : {}),
    ...(most === undefined || most < 0 ? {} : { maxTokens: most }),
    ...(options?.num_ctx === undefined ? {} : { numCtx: options.num_ctx }),
    ...(options?.num_thread === undefined ? {} : { numThread: options.num_thread }),
    ...(options?.temperature === undefined ? {} : { temperature: options.temperature }),
    ...(options?.seed === undefined ? {} : { seed: options.seed }),
    ...(stop === undefined ? {} : { stop: typeof stop === "string" ? [stop] : stop }),
  };
}

async function* pullSteps(engine: Engine, name: string, signal: AbortSignal): AsyncIterable<OllamaPullProgress> {
  for await (const step of engine.backend.library.pull(name, { signal })) {
    yield {
      status: step.status,
      ...(step.digest === undefined ? {} : { digest: step.digest }),
      ...(step.totalBytes === undefined ? {} : { total: step.totalBytes }),
      ...(step.completedBytes === undefined ? {} : { completed: step.completedBytes }),
    };
  }
  await engine.residency.add(engine.residency.resolve(name) ?? name);
  yield { status: "success" };
}

const details = (model: ModelStatus): NonNullable<OllamaTags["models"][number]["details"]> => ({
  parent_model: "",
  format: model.facts?.format ?? "",
  family: model.facts?.family ?? "",
  families: [model.facts?.family ?? ""],
  parameter_size: model.facts?.parameterSize ?? "",
  quantization_level: model.facts?.quantization ?? "",
});

/** Time of this process' start: when its models came to be there. */
const SINCE = new Date().toISOString();

function tagsOf(models: readonly ModelStatus[]): OllamaTags {
  return {
    models: models.flatMap((model) =>
      model.facts === undefined
        ? []
        : [
            {
              name: model.name,
              model: model.name,
              modified_at: SINCE,
              size: model.facts.sizeBytes,
              digest: model.facts.digest ?? "",
              details: details(model),
            },
          ],
    ),
  };
}

function psOf(models: readonly ModelStatus[]): OllamaPs {
  return {
    models: models
      .filter(({ status }) => status.state === "ready")
      .map((model) => ({
        name: model.name,
        model: model.name,
        size: model.memoryBytes,
        size_vram: 0,
        digest: model.facts?.digest ?? "",
        details: details(model),
        // The year 2318 is what Ollama says of a model that is kept for ever.
        expires_at: "2318-01-01T00:00:00Z",
        context_length: model.facts?.contextTokens ?? 0,
      })),
  };
}

function showOf(model: ModelStatus): unknown {
  return {
    modelfile: `FROM ${model.name}`,
    parameters: "",
    template: "",
    details: details(model),
    model_info: {
      "general.architecture": model.facts?.family ?? "",
      "general.file_type": model.facts?.quantization ?? "",
    },
    capabilities: ["completion"],
    modified_at: SINCE,
  };
}
