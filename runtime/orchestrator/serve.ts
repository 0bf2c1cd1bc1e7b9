import type { Registry } from "prom-client";
import type { EnsembleConfig } from "../contracts/ensemble-config.ts";
import { memoryOf } from "../memory/open.ts";
import { sleep } from "../support/clock.ts";
import { listen, type Listening } from "../support/listen.ts";
import type { Logger } from "../support/log.ts";
import { openAccess } from "./access/access.ts";
import { hornGuard } from "./access/horn-guard.ts";
import { openAnswers } from "./answers/open.ts";
import { createApp } from "./app.ts";
import { Ensemble } from "./ensemble.ts";
import { createFront } from "./front.ts";
import { oneToken } from "./horn/guard.ts";
import { Horn } from "./horn/horn.ts";
import { PassThrough } from "./passthrough/pass-through.ts";
import { SharedRedis, showRedis } from "./redis.ts";
import { openVerdicts } from "./routing/verdict-log.ts";
import { openTracing } from "./tracing/open.ts";
import { Upstream } from "./upstream.ts";

/** An orchestrator that listens. */
export interface RunningOrchestrator {
  ensemble: Ensemble;
  listening: Listening;
  /** Says not ready and goes on for `lameDuckMs`, then takes no more, lets questions end for `graceMs` at most, and breaks all connections. */
  stop(graceMs: number, lameDuckMs?: number): Promise<void>;
}

/** Longest wait for stores and connections to close once nobody waits for an answer any more, ms. */
const CLOSE_MS = 3_000;

/** Starts the service. @throws Error when the port cannot be listened on */
export async function startOrchestrator(
  config: EnsembleConfig,
  log: Logger,
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<RunningOrchestrator> {
  const token = tokenOf(config, env);
  const redis = config.redis === undefined ? undefined : new SharedRedis(config.redis, env, log);
  const upstream = new Upstream({ ...config.deadlines, env });
  const memory = memoryOf({ config, env, log, count: (outcome) => ensemble.metrics.turn(outcome) });
  const verdicts = await openVerdicts(config.routing, log);
  const tracing = await openTracing(config, env);
  const answers = (registry: Registry): ReturnType<typeof openAnswers> => openAnswers(config, registry, redis);
  const ensemble = new Ensemble({ config, upstream, memory, verdicts, answers, tracing, log });
  if (redis !== undefined) showRedis(redis, ensemble.metrics.registry);
  const passThrough = new PassThrough(ensemble, env);
  const { gate, ...access } = await openAccess({ config, log, redis, metrics: ensemble.metrics.registry });
  const front = createFront({ ensemble, gate, passThrough, log });
  const listening = await listen(
    createApp(ensemble, log),
    config.listen.host,
    config.listen.port,
    front,
    config.limits,
  );
  const guard = token === undefined ? hornGuard(gate, config.name) : oneToken(token);
  const horn = new Horn(ensemble, config.horn, guard);
  horn.attach(listening.server);
  memory.wake();
  return {
    ensemble,
    listening,
    stop: async (graceMs, lameDuckMs = 0) => {
      ensemble.drain();
      if (lameDuckMs > 0) await sleep(lameDuckMs);
      const drained = listening.drain(graceMs);
      await horn.drain(graceMs);
      await drained;
      const closed = (async () => {
        access.close();
        await Promise.all([ensemble.close(), passThrough.close(), redis?.close(), tracing?.close()]);
        await verdicts?.close();
      })();
      // All that was asked is answered and kept; a store that hangs, or has not even opened yet, must not hold the process.
      await Promise.race([closed, sleep(CLOSE_MS)]);
    },
  };
}

/** The horn's token. @throws Error when the variable that should hold it is not set: an open door must not come from a typo */
function tokenOf(config: EnsembleConfig, env: Readonly<Record<string, string | undefined>>): string | undefined {
  const name = config.horn.tokenEnv;
  if (name === undefined) return undefined;
  const token = env[name];
  if (token === undefined || token === "")
    throw new Error(`horn.tokenEnv: the environment variable ${name} is not set; set it, or leave the field out`);
  return token;
}
