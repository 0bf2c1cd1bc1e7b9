import type { EnsembleConfig } from "../contracts/ensemble-config.ts";
import { listen, type Listening } from "../support/listen.ts";
import type { Logger } from "../support/log.ts";
import { createApp } from "./app.ts";
import { Ensemble } from "./ensemble.ts";
import { Upstream } from "./upstream.ts";

/** An orchestrator that listens. */
export interface RunningOrchestrator {
  ensemble: Ensemble;
  listening: Listening;
  /** Says not ready, lets questions end for so many ms at most, then breaks all connections. */
  stop(graceMs: number): Promise<void>;
}

/** Starts the service. @throws Error when the port cannot be listened on */
export async function startOrchestrator(
  config: EnsembleConfig,
  log: Logger,
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<RunningOrchestrator> {
  const upstream = new Upstream({ connectMs: config.deadlines.connectMs, env });
  const ensemble = new Ensemble({ config, upstream });
  const listening = await listen(createApp(ensemble, log), config.listen.host, config.listen.port);
  return {
    ensemble,
    listening,
    stop: async (graceMs) => {
      ensemble.drain();
      await listening.drain(graceMs);
      await ensemble.close();
    },
  };
}
