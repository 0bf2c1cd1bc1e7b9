import { Hono } from "hono";
import { sleep } from "../support/clock.ts";
import { listen, type Listening } from "../support/listen.ts";
import { Engine, type EngineOptions } from "./engine.ts";
import { healthApi, mainApi } from "./api/health-api.ts";
import { ollamaApi } from "./api/ollama-api.ts";

/** Where an engine listens. */
export interface EngineAddress {
  host: string;
  /** Main API; 0 takes a free port. */
  port: number;
  /** Ollama API; 0 takes a free port. */
  ollamaPort: number;
}

/** An engine that listens. */
export interface RunningEngine {
  engine: Engine;
  main: Listening;
  ollama: Listening;
  /** Says not ready and goes on for `lameDuckMs`, then takes no more, lets generations end for `graceMs` at most, and frees everything. */
  stop(graceMs: number, lameDuckMs?: number): Promise<void>;
}

/** Starts an engine on its two ports. The ports answer before the models are loaded, and say so. @throws Error when a port cannot be listened on */
export async function startEngine(options: EngineOptions, address: EngineAddress): Promise<RunningEngine> {
  const engine = new Engine(options);
  await engine.start();
  const ollamaApp = new Hono().route("/", healthApi(engine)).route("/", ollamaApi(engine));
  ollamaApp.notFound(
    () =>
      new Response(JSON.stringify({ error: "not found" }), {
        status: 404,
        headers: { "content-type": "application/json" },
      }),
  );
  const main = await listen(mainApi(engine), address.host, address.port);
  const ollama = await listen(ollamaApp, address.host, address.ollamaPort).catch(async (error: unknown) => {
    await main.drain(0);
    throw error;
  });
  return {
    engine,
    main,
    ollama,
    stop: async (graceMs, lameDuckMs = 0) => {
      engine.drain();
      if (lameDuckMs > 0) await sleep(lameDuckMs);
      await Promise.all([main.drain(graceMs), ollama.drain(graceMs)]);
      await engine.close();
    },
  };
}
