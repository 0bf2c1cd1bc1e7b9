import type { Member } from "../contracts/ensemble-config.ts";
import type { Stage } from "../contracts/native.ts";
import type { Attempted } from "./attempted.ts";

/** What a stage of an answer is made from. */
export interface StageParts {
  kind: Stage["stage"];
  member: Member;
  /** When the question began, on the clock of the ports. */
  beganMs: number;
  done: Attempted;
  /** Parts of the prompt were left out to fit the context window. */
  shortened: boolean;
}

/** Turns what a call came to into a stage of the answer. */
export function stageOf({ kind, member, beganMs, done, shortened }: StageParts): Stage {
  // A server that was given more than it can hold reports a full window: Ollama leaves out the front in silence (ollama#3839).
  const full = (done.promptTokens ?? 0) + (done.answerTokens ?? 0) >= member.numCtx;
  return {
    stage: kind,
    member: member.name,
    model: member.model,
    role: member.role,
    status: done.status,
    text: done.text,
    ms: roundMs(done.endedMs - done.startedMs),
    startedMs: roundMs(done.startedMs - beganMs),
    attempts: done.attempts,
    ...(done.hedged ? { hedged: true } : {}),
    ...(done.firstTokenMs === undefined ? {} : { firstTokenMs: roundMs(done.firstTokenMs - done.startedMs) }),
    ...(done.promptTokens === undefined ? {} : { promptTokens: done.promptTokens }),
    ...(done.answerTokens === undefined ? {} : { answerTokens: done.answerTokens }),
    ...(shortened || full ? { truncated: true } : {}),
    ...(done.fault === undefined ? {} : { reason: done.fault.message, code: done.fault.code }),
  };
}

/** Says who gave no answer and why, and what to do. @param got answers that there were */
export function noAnswerMessage(stages: readonly Stage[], got: number, quorum: number): string {
  const candidates = stages.filter(({ stage }) => stage === "candidate");
  const said = candidates.map((one) => `${one.member} (${one.model}): ${one.reason ?? one.status}`).join("; ");
  const head =
    got === 0
      ? `none of the ${candidates.length} candidate models gave an answer`
      : `${got} of the ${candidates.length} candidate models gave an answer, want ${quorum}`;
  return `${head}: ${said}. See that these model servers run and are loaded, then ask again`;
}

/** Milliseconds to two places, never negative. */
export function roundMs(ms: number): number {
  return Math.max(0, Math.round(ms * 100) / 100);
}
