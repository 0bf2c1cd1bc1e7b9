import type { Hono } from "hono";
import type { Context } from "hono";
import {
  EngineCopyRequest,
  EngineCreateRequest,
  EnginePullRequest,
  type EngineStep,
} from "../../contracts/engine-api.ts";
import { clientSignal, type Framing, readJson, streamResponse } from "../../support/http.ts";
import type { Engine } from "../engine.ts";
import { apiOf } from "./base.ts";
import { MOST_BODY_BYTES } from "./bodies.ts";
import { given } from "./inference.ts";
import { errorOf, MAIN_DIALECT } from "./native.ts";
import { copy, create, pull, remove } from "./verbs.ts";

/** The verbs of the main API that change which models there are. Each asks for the admin token before it reads anything. */
export function adminApi(engine: Engine): Hono {
  const app = apiOf(engine, MAIN_DIALECT);
  const admin = (c: Context): void => engine.requireAdmin(c.req.header("authorization"));
  app.post("/admin/pull", async (c) => {
    admin(c);
    const { model, stream, digest, source, profile } = await readJson(c, EnginePullRequest, MOST_BODY_BYTES);
    return answer(c, pull(engine, model, { ...given({ digest, source, profile }), signal: clientSignal(c) }), stream);
  });
  app.post("/admin/create", async (c) => {
    admin(c);
    const { model, stream, path, files, from, ...settings } = await readJson(c, EngineCreateRequest, MOST_BODY_BYTES);
    const laid = given(settings);
    const source = given({ path, files, from, settings: Object.keys(laid).length === 0 ? undefined : laid });
    return answer(c, create(engine, model, source, clientSignal(c)), stream);
  });
  app.post("/admin/copy", async (c) => {
    admin(c);
    const { from, to } = await readJson(c, EngineCopyRequest, MOST_BODY_BYTES);
    await copy(engine, from, to);
    return c.json({ status: "success" });
  });
  app.delete("/admin/models/:name{.+}", async (c) => {
    admin(c);
    await remove(engine, c.req.param("name"));
    return c.json({ status: "success" });
  });
  return app;
}

const STEPS: Framing<EngineStep> = {
  contentType: "text/event-stream",
  frame: (step) => `event: step\ndata: ${JSON.stringify(step)}\n\n`,
  failure: (fault) => `event: error\ndata: ${JSON.stringify({ error: errorOf(fault) })}\n\n`,
};

async function answer(c: Context, steps: AsyncIterable<EngineStep>, stream: boolean): Promise<Response> {
  if (stream) return streamResponse(steps, STEPS);
  for await (const step of steps) void step;
  return c.json({ status: "success" });
}
