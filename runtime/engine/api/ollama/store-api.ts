import type { Hono } from "hono";
import type { Context } from "hono";
import { OllamaCopyRequest, OllamaCreateRequest, OllamaDeleteRequest } from "../../../contracts/ollama-store.ts";
import { type OllamaPullProgress, OllamaPullRequest } from "../../../contracts/ollama.ts";
import { Fault } from "../../../core/fault.ts";
import { clientSignal, ndjson, OLLAMA_DIALECT, readJson, streamResponse } from "../../../support/http.ts";
import type { Engine } from "../../engine.ts";
import type { CreateSource, PullStep } from "../../library.ts";
import { apiOf } from "../base.ts";
import { MOST_BODY_BYTES } from "../bodies.ts";
import { given } from "../inference.ts";
import { refuseUnserved } from "../refusals.ts";
import { copy, create, pull, remove } from "../verbs.ts";

/** The verbs of the Ollama API that change which models there are. Each asks for the admin token before it reads anything. */
export function storeApi(engine: Engine): Hono {
  const app = apiOf(engine, OLLAMA_DIALECT);
  const admin = (c: Context): void => engine.requireAdmin(c.req.header("authorization"));
  app.post("/api/pull", async (c) => {
    admin(c);
    const { model, name, stream } = await readJson(c, OllamaPullRequest, MOST_BODY_BYTES);
    return answer(c, pull(engine, model ?? name ?? "", { signal: clientSignal(c) }), stream !== false);
  });
  app.post("/api/create", async (c) => {
    admin(c);
    const request = await readJson(c, OllamaCreateRequest, MOST_BODY_BYTES);
    const steps = create(engine, request.model ?? request.name ?? "", sourceOf(request), clientSignal(c));
    return answer(c, steps, request.stream !== false);
  });
  app.post("/api/copy", async (c) => {
    admin(c);
    const { source, destination } = await readJson(c, OllamaCopyRequest, MOST_BODY_BYTES);
    await copy(engine, source, destination);
    return c.body(null, 200);
  });
  app.delete("/api/delete", async (c) => {
    admin(c);
    const { model, name } = await readJson(c, OllamaDeleteRequest, MOST_BODY_BYTES);
    await remove(engine, model ?? name ?? "");
    return c.body(null, 200);
  });
  app.post("/api/push", (c) => {
    admin(c);
    throw new Fault(
      "not_supported",
      "models are not pushed from here: copy the store, or push with the tools of your registry",
    );
  });
  app.post("/api/blobs/:digest", async (c) => {
    admin(c);
    const digest = digestOf(c.req.param("digest"));
    const { library } = engine;
    if (library.putBlob === undefined)
      throw new Fault(
        "not_supported",
        `the ${engine.backend.name} backend has no store; start the engine with --store DIR`,
      );
    if ((await library.hasBlob?.(digest)) === true) return c.body(null, 200);
    await library.putBlob(digest, bytesOf(c), clientSignal(c));
    return c.body(null, 201);
  });
  // Answers HEAD, which is all that Ollama has: GET gives no bytes away.
  app.get("/api/blobs/:digest", async (c) => {
    const there = await engine.library.hasBlob?.(digestOf(c.req.param("digest")));
    return c.body(null, there === true ? 200 : 404);
  });
  return app;
}

/** @throws Fault invalid_request for anything but `sha256:` and 64 hex digits; older clients write a dash */
function digestOf(given: string): string {
  const [, hex] = /^sha256[:-]([0-9a-fA-F]{64})$/.exec(given) ?? [];
  if (hex === undefined)
    throw new Fault("invalid_request", "digest: invalid digest format; want sha256: and 64 hex digits", {
      param: "digest",
    });
  return `sha256:${hex.toLowerCase()}`;
}

async function* bytesOf(c: Context): AsyncIterable<Uint8Array> {
  const { body } = c.req.raw;
  if (body !== null) yield* body as AsyncIterable<Uint8Array>;
}

/** What a model is made of. @throws Fault invalid_request for what is not served */
function sourceOf(request: OllamaCreateRequest): CreateSource {
  const { files, from, system, template, parameters } = request;
  refuseUnserved({ adapters: request.adapters, messages: request.messages }, "not served here; leave it out");
  refuseUnserved(
    { quantize: request.quantize, quantization: request.quantization },
    "not served here; create from a file that is quantized",
  );
  refuseUnserved(
    { modelfile: request.modelfile, path: request.path },
    "no longer read, as in Ollama since 0.5.5; send `from` or `files`",
  );
  const named = Object.keys(files ?? {}).length > 0;
  if (named === (from != null))
    throw new Fault("invalid_request", "want either files or from", { param: named ? "from" : "files" });
  const license = [request.license ?? []].flat().join("\n");
  const settings = given({ system, template, parameters, license: license === "" ? undefined : license });
  return given({
    files: named
      ? Object.fromEntries(Object.entries(files ?? {}).map(([name, one]) => [name, digestOf(one)]))
      : undefined,
    from,
    settings: Object.keys(settings).length === 0 ? undefined : settings,
  });
}

async function* progressOf(steps: AsyncIterable<PullStep>): AsyncIterable<OllamaPullProgress> {
  for await (const { status, digest, totalBytes, completedBytes } of steps)
    yield { status, ...given({ digest, total: totalBytes, completed: completedBytes }) };
}

async function answer(c: Context, steps: AsyncIterable<PullStep>, stream: boolean): Promise<Response> {
  if (stream)
    return streamResponse(
      progressOf(steps),
      ndjson<OllamaPullProgress>((fault) => OLLAMA_DIALECT.body(fault)),
    );
  for await (const step of steps) void step;
  return c.json({ status: "success" });
}
