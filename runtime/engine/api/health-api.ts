import type { Hono } from "hono";
import type { EngineReadiness } from "../../contracts/engine-api.ts";
import type { Engine } from "../engine.ts";
import { apiOf } from "./base.ts";
import { describe } from "./describe.ts";
import { MAIN_DIALECT } from "./native.ts";

/** Health, readiness and metrics; served on both ports, so that a pod with one port has its probes. Source of the paths: inventory row A128. */
export function healthApi(engine: Engine): Hono {
  const app = apiOf(engine, MAIN_DIALECT);
  // Alive: the process answers, whatever its models do; a restart would not load them sooner.
  app.get("/health", () => state(engine, true));
  // Started: its models are registered and requests are taken; until then nothing listens that could say otherwise.
  app.get("/api/health", () => state(engine, engine.lifecycle.state !== "Engine_Init"));
  app.get("/models/health", () => readiness(engine));
  app.get("/dte/health", (c) => {
    const { state: at } = engine.lifecycle;
    return c.json({ status: "ok", active: false, state: at, reason: "no cognitive layer is configured" });
  });
  app.get("/metrics", async (c) =>
    c.text(await engine.metrics.registry.metrics(), 200, { "content-type": engine.metrics.registry.contentType }),
  );
  return app;
}

/** 200 while it goes well; 503 while it stops, so that nobody sends it more. */
function state(engine: Engine, well: boolean): Response {
  const { draining, backend, lifecycle } = engine;
  const status = draining ? "draining" : well ? "ok" : "starting";
  return json({ status, backend: backend.name, lifecycle: lifecycle.state }, status === "ok" ? undefined : 1);
}

/** 200 only when the engine's models are loaded and have produced a token; 503 with Retry-After and the states until then. */
function readiness(engine: Engine): Response {
  const { ready, state: standing, retryAfterSeconds, models } = engine.readiness();
  const answer: EngineReadiness = { ready, state: standing, models: models.map(describe) };
  return json(answer, retryAfterSeconds);
}

/** @param retryAfterSeconds makes it a 503 */
function json(body: object, retryAfterSeconds: number | undefined): Response {
  const headers = new Headers({ "content-type": "application/json" });
  if (retryAfterSeconds !== undefined) headers.set("retry-after", String(retryAfterSeconds));
  return new Response(JSON.stringify(body), { status: retryAfterSeconds === undefined ? 200 : 503, headers });
}
