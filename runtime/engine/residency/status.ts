import { monotonicMs } from "../../support/clock.ts";
import type { ModelFacts } from "../library.ts";

/** Where a model stands. `ready` means loaded and seen to produce a token. */
export type ModelState =
  | { state: "absent" }
  /** `queued`: it waits for memory that others still have, or for its turn. */
  | { state: "loading"; progress: number; sinceMs: number; queued?: true }
  | { state: "ready"; loadMs: number }
  /** `retryMs`: time until it is tried again. Absent: not before something changes. */
  | { state: "failed"; reason: string; retryMs?: number };

/** One model of this engine as others see it. */
export interface ModelStatus {
  name: string;
  /** Facts of what is loaded, or would be. Absent before they have been read. */
  facts: ModelFacts | undefined;
  status: ModelState;
  /** Bytes in memory; 0 unless ready. */
  memoryBytes: number;
  /** Generations running now. */
  inFlight: number;
  /** Requests that wait until it is loaded. */
  waiting: number;
  /** Whether it was loaded and gave a token in this process: absent, it then is only resting. */
  proven: boolean;
  /** Whether the engine's readiness waits for it. */
  required: boolean;
  /** When it is let go unless it is asked, ms since 1970. Absent: never, or it is not in memory. */
  expiresAtMs?: number;
  /** A newer version that is being loaded while this one serves. Absent: none. */
  swap?: { progress: number };
  /** Loads so far that succeeded. */
  loads: number;
}

/** Seconds until a load is likely over, by its progress so far; 1 to 60. */
export function retryAfter(status: ModelState, nowMs = monotonicMs()): number {
  if (status.state === "failed") return Math.min(60, Math.max(1, Math.ceil((status.retryMs ?? 60_000) / 1000)));
  if (status.state !== "loading" || status.progress <= 0) return 2;
  const spentMs = nowMs - status.sinceMs;
  return Math.min(60, Math.max(1, Math.ceil(((spentMs / status.progress) * (1 - status.progress)) / 1000)));
}

/** Whether an engine answers for what it promised, and its models. */
export interface Readiness {
  ready: boolean;
  state: "ready" | "loading" | "failed" | "draining";
  /** Seconds until asking again is worth it; absent when ready. */
  retryAfterSeconds?: number;
  models: readonly ModelStatus[];
}

/**
 * Ready is said when every model that is required is in memory and has given a token, or has done so and was let go since nobody asked it: it then comes
 * back for the next one who does. A model that failed, is lost or has not yet been seen to speak is not ready, whoever asks.
 */
export function readinessOf(models: readonly ModelStatus[], draining: boolean, nowMs?: number): Readiness {
  const required = models.filter((model) => model.required);
  const resting = (model: ModelStatus): boolean => model.status.state === "absent" && model.proven;
  const missing = required.filter((model) => model.status.state !== "ready" && !resting(model));
  if (missing.length === 0 && !draining) return { ready: true, state: "ready", models };
  return {
    ready: false,
    state: draining ? "draining" : missing.some(({ status }) => status.state === "failed") ? "failed" : "loading",
    retryAfterSeconds: Math.max(1, ...missing.map(({ status }) => retryAfter(status, nowMs))),
    models,
  };
}
