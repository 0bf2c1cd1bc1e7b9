import { Hono } from "hono";
import { Fault } from "../../core/fault.ts";
import { errorResponse, type Dialect } from "../../support/http.ts";
import type { Engine } from "../engine.ts";
import { retryAfter, type ModelStatus } from "../residency/status.ts";

/** Error object of the main API: the native one. */
export const MAIN_DIALECT: Dialect = {
  body: (fault) => ({ error: { code: fault.code, message: fault.message, retryable: fault.retryable } }),
};

/** Health, readiness, models and metrics; served on both ports, so that a pod with one port has its probes. */
export function healthApi(engine: Engine): Hono {
  const app = new Hono();
  app.onError((error) => errorResponse(error, MAIN_DIALECT));
  const alive = { status: "ok" };
  app.get("/health", (c) => c.json({ ...alive, backend: engine.backend.name }));
  app.get("/api/health", (c) => c.json({ ...alive, backend: engine.backend.name }));
  app.get("/models/health", () => readiness(engine));
  app.get("/metrics", async (c) =>
    c.text(await engine.metrics.registry.metrics(), 200, { "content-type": engine.metrics.registry.contentType }),
  );
  return app;
}

/** The main API, port 5000: health and models. */
export function mainApi(engine: Engine): Hono {
  const app = new Hono();
  app.onError((error) => errorResponse(error, MAIN_DIALECT));
  app.notFound((c) => errorResponse(new Fault("not_found", `no ${c.req.method} ${c.req.path} here`), MAIN_DIALECT));
  app.route("/", healthApi(engine));
  app.get("/models", (c) => c.json({ models: engine.residency.list().map(describe) }));
  return app;
}

/** 200 only when every model of this engine is loaded and has produced a token; 503 with Retry-After and the states until then. */
function readiness(engine: Engine): Response {
  const models = engine.residency.list();
  const ready = models.length > 0 && models.every(({ status }) => status.state === "ready") && !engine.draining;
  const waits = models.filter(({ status }) => status.state === "loading").map(({ status }) => retryAfter(status));
  const headers = new Headers({ "content-type": "application/json" });
  if (!ready) headers.set("retry-after", String(Math.max(1, ...waits)));
  const state = engine.draining
    ? "draining"
    : ready
      ? "ready"
      : models.some(({ status }) => status.state === "failed")
        ? "failed"
        : "loading";
  return new Response(JSON.stringify({ ready, state, models: models.map(describe) }), {
    status: ready ? 200 : 503,
    headers,
  });
}

function describe(model: ModelStatus): Record<string, unknown> {
  const { status } = model;
  return {
    name: model.name,
    state: status.state,
    digest: model.facts?.digest,
    ...(status.state === "loading" ? { progress: status.progress } : {}),
    ...(status.state === "failed" ? { reason: status.reason } : {}),
    ...(status.state === "ready"
      ? { loadMs: Math.round(status.loadMs), memoryBytes: model.memoryBytes, inFlight: model.inFlight }
      : {}),
  };
}
