import { monotonicMs } from "../../support/clock.ts";
import type { ModelFacts } from "../library.ts";

/** Where a model stands. `ready` means loaded and seen to produce a token. */
export type ModelState =
  | { state: "absent" }
  | { state: "loading"; progress: number; sinceMs: number }
  | { state: "ready"; loadMs: number }
  | { state: "failed"; reason: string };

/** One model of this engine as others see it. */
export interface ModelStatus {
  name: string;
  facts: ModelFacts | undefined;
  status: ModelState;
  /** Bytes in memory; 0 unless ready. */
  memoryBytes: number;
  /** Generations running now. */
  inFlight: number;
}

/** Seconds until a load is likely over, by its progress so far; 1 to 60. */
export function retryAfter(status: ModelState): number {
  if (status.state !== "loading" || status.progress <= 0) return 2;
  const spentMs = monotonicMs() - status.sinceMs;
  return Math.min(60, Math.max(1, Math.ceil(((spentMs / status.progress) * (1 - status.progress)) / 1000)));
}
