import { Hono } from "hono";
import { Fault, toFault } from "../core/fault.ts";
import { errorResponse } from "../support/http.ts";
import type { Logger } from "../support/log.ts";
import { rememberedHeaders } from "./api/asked.ts";
import { conversationsApi } from "./api/conversations.ts";
import { dialectOf } from "./api/dialect.ts";
import { nativeApi } from "./api/native.ts";
import { ollamaApi } from "./api/ollama.ts";
import { openAiApi } from "./api/openai.ts";
import { openApiDocument } from "./api/openapi.ts";
import { responsesApi } from "./api/responses.ts";
import type { Ensemble } from "./ensemble.ts";

/** Version of the native API; raised when a client could break. */
const API_VERSION = "1.0.0";

/** The service's HTTP face: three dialects, health and metrics. No port: give its `fetch` requests. */
export function createApp(ensemble: Ensemble, log: Logger): Hono {
  const app = new Hono();
  app.use(async (c, next) => {
    if (ensemble.draining) c.header("connection", "close");
    await next();
  });
  app.use(rememberedHeaders);
  app.get("/", (c) => c.text("gorkheavy is running"));
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", async (c) => {
    if (ensemble.draining) return c.json({ ready: false, reason: "draining" }, 503, { "retry-after": "1" });
    // The store is told of and not asked for: answers go on without it.
    const readiness = { ...(await ensemble.health.check()), store: ensemble.memory.state };
    return readiness.ready ? c.json(readiness) : c.json(readiness, 503, { "retry-after": "2" });
  });
  app.get("/openapi.json", (c) => c.json(openApiDocument(API_VERSION)));
  app.get("/metrics", async (c) => {
    const { registry } = ensemble.metrics;
    return c.text(await registry.metrics(), 200, { "content-type": registry.contentType });
  });
  app.route("/", nativeApi(ensemble));
  app.route("/", conversationsApi(ensemble));
  app.route("/", ollamaApi(ensemble));
  app.route("/", openAiApi(ensemble));
  app.route("/", responsesApi(ensemble));
  app.notFound((c) =>
    errorResponse(new Fault("not_found", `no ${c.req.method} ${c.req.path} here`), dialectOf(c.req.path)),
  );
  app.onError((error, c) => {
    const fault = toFault(error);
    if (fault.code === "internal") log.error({ err: fault.cause, path: c.req.path }, "request failed");
    return errorResponse(fault, dialectOf(c.req.path));
  });
  return app;
}
