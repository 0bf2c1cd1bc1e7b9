import type { StageStatus } from "../contracts/native.ts";
import type { Fault } from "./fault.ts";

/** How one call of a member went, retries and hedges included. It never throws: a failure is a status. */
export interface Attempted {
  status: Extract<StageStatus, "ok" | "cut" | "failed" | "timeout" | "cancelled">;
  /** The answer without hidden thoughts; may be part of one unless `ok`. */
  text: string;
  startedMs: number;
  endedMs: number;
  /** When the first word came, on the clock of the ports. Absent without a word. */
  firstTokenMs?: number;
  /** From the start of the very call that answered to its first word, ms. Absent unless `ok`. */
  legFirstTokenMs?: number;
  promptTokens?: number;
  answerTokens?: number;
  /** Calls made. */
  attempts: number;
  /** A second call was made beside a slow one. */
  hedged: boolean;
  fault?: Fault;
}
