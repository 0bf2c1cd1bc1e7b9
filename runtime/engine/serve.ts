import { sleep } from "../support/clock.ts";
import { type ClientTimes, listen, type Listening } from "../support/listen.ts";
import { ModelChanges } from "./api/model-changes.ts";
import { mainPort, ollamaPort } from "./api/ports.ts";
import { type StreamLimits, StreamServer } from "./api/stream/stream-server.ts";
import { Engine, type EngineOptions } from "./engine.ts";

/** Where an engine listens. */
export interface EngineAddress {
  host: string;
  /** Main API; 0 takes a free port. */
  port: number;
  /** Ollama API; 0 takes a free port. */
  ollamaPort: number;
  /** Bounds of the main API's WebSocket. Absent: the usual ones; false: there is none. */
  stream?: Partial<StreamLimits> | false;
}

/** An engine that listens. */
export interface RunningEngine {
  engine: Engine;
  main: Listening;
  ollama: Listening;
  /** Says not ready and goes on for `lameDuckMs`, then takes no more, lets generations end for `graceMs` at most, and frees everything. */
  stop(graceMs: number, lameDuckMs?: number): Promise<void>;
}

/** An upload of weights may take its time, and only whoever has the admin token may send one; what anybody may send is bounded where it is read. */
const TIMES: ClientTimes = { headMs: 15_000, requestMs: 0 };

/** Starts an engine on its two ports. The ports answer before the models are loaded, and say so. @throws Error when a port cannot be listened on */
export async function startEngine(options: EngineOptions, address: EngineAddress): Promise<RunningEngine> {
  const engine = new Engine(options);
  const changes = new ModelChanges(engine);
  const { host } = address;
  const main = await listen(mainPort(engine, changes, address.stream !== false), host, address.port, undefined, TIMES);
  const ollama = await listen(ollamaPort(engine), host, address.ollamaPort, undefined, TIMES).catch(
    async (error: unknown) => {
      await main.drain(0);
      throw error instanceof Error
        ? new Error(error.message.replace("--port", "--ollama-port"), { cause: error })
        : error;
    },
  );
  // Only now: an engine whose port is taken has not begun to read and load.
  engine.start();
  const stream = address.stream === false ? undefined : new StreamServer(engine, changes, address.stream);
  stream?.attach(main.server);
  return {
    engine,
    main,
    ollama,
    stop: async (graceMs, lameDuckMs = 0) => {
      engine.drain();
      if (lameDuckMs > 0) await sleep(lameDuckMs);
      changes.close();
      await Promise.all([stream?.drain(graceMs), main.drain(graceMs), ollama.drain(graceMs)]);
      await engine.close();
    },
  };
}
