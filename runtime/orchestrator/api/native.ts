import { Hono } from "hono";
import type { Context } from "hono";
import { AskRequest, type AskEvent } from "../../contracts/native.ts";
import { clientSignal, errorResponse, type Framing, readJson, streamResponse } from "../../support/http.ts";
import { Pipe } from "../../support/pipe.ts";
import { askEvents } from "../asking.ts";
import type { AskInput, Ensemble } from "../ensemble.ts";
import { askFor, callerOf, identityOf } from "./asked.ts";
import { errorOf, NATIVE_DIALECT } from "./native-error.ts";

const SSE: Framing<AskEvent> = {
  contentType: "text/event-stream",
  frame: (event) => `event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`,
  failure: (fault) => `event: error\ndata: ${JSON.stringify({ event: "error", error: errorOf(fault) })}\n\n`,
};

/** The native API: one question, every stage of its answer. */
export function nativeApi(ensemble: Ensemble): Hono {
  const app = new Hono();
  app.onError((error) => errorResponse(error, NATIVE_DIALECT));
  const ask = async (c: Context): Promise<Response> => {
    const request = await readJson(c, AskRequest, ensemble.config.limits.bodyBytes);
    const { stream, ...asked } = request;
    callerOf(c).checkModel([ensemble.config.name]);
    const { idempotencyKey = asked.idempotencyKey, user, cache, traceparent, spent } = identityOf(c, asked.user);
    const input = {
      ...asked,
      user,
      cache,
      traceparent,
      spent,
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    };
    if (!stream) return c.json(await askFor(ensemble, input, c, "scores"));
    return streamResponse(eventsOf(ensemble, input, clientSignal(c)), SSE);
  };
  app.post("/ask", ask);
  app.post("/v1/ask", ask);
  return app;
}

/** The events of a question, as they come. It ends when they are no longer read. */
async function* eventsOf(ensemble: Ensemble, input: AskInput, client: AbortSignal): AsyncIterable<AskEvent> {
  const stop = new AbortController();
  const cancel = (): void => stop.abort();
  client.addEventListener("abort", cancel, { once: true });
  const pipe = new Pipe<AskEvent>();
  void askEvents(ensemble, input, stop.signal, (event) => pipe.push(event)).finally(() => pipe.end());
  try {
    yield* pipe;
  } finally {
    client.removeEventListener("abort", cancel);
    stop.abort();
  }
}
