import type { Member } from "../../contracts/ensemble-config.ts";
import { Fault } from "../../core/fault.ts";
import { ERROR_CHARS, errorWords } from "../../support/server-answer.ts";

/** Who said something: a member, at one of its addresses. */
export interface Speaker {
  member: Member;
  /** Base address that was called. */
  at: string;
}

/** The fault of an answer with an error status. */
export function refused(
  { member, at }: Speaker,
  status: number,
  text: string,
  retryAfter: string | string[] | undefined,
): Fault {
  const message = errorWords(text) ?? "";
  const seconds = Number(retryAfter);
  const loading = status === 503 && (Number.isFinite(seconds) || /loading/i.test(message));
  const detail = message === "" ? "" : `: ${message}`;
  return new Fault(loading ? "model_loading" : "model_failed", `${at} answered ${status}${detail}`, {
    member: member.name,
    upstreamStatus: status,
    ...(loading && Number.isFinite(seconds) ? { retryAfterSeconds: seconds } : {}),
  });
}

/** The fault of an error in the middle of an answer. */
export function said({ member, at }: Speaker, message: string): Fault {
  return new Fault("model_failed", `${at} broke off: ${message.slice(0, ERROR_CHARS)}`, { member: member.name });
}

/** The fault of an answer that is not of its API. */
export function bad({ member, at }: Speaker, what: string): Fault {
  return new Fault("model_bad_answer", `${at} sent ${what}`, { member: member.name });
}
