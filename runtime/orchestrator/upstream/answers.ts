import type { Readable } from "node:stream";
import type { Member } from "../../contracts/ensemble-config.ts";
import { OllamaError } from "../../contracts/ollama.ts";
import { OpenAiError } from "../../contracts/openai.ts";
import { Fault } from "../../core/fault.ts";
import { jsonOf } from "../../support/json.ts";

/** Longest part of a server's error text that goes into a message, characters. */
const ERROR_CHARS = 300;

/** Largest document of a server that is read: lists of models are some kilobytes, errors less. */
const DOCUMENT_BYTES = 1_048_576;

/** Who said something: a member, at one of its addresses. */
export interface Speaker {
  member: Member;
  /** Base address that was called. */
  at: string;
}

/** The text of a body, cut at the largest document there is: a server that fails may send without end. Nothing is left of the body after it. */
export async function textOf(body: Readable): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  // One that is left early ends in an error that nobody has to hear.
  body.on("error", () => undefined);
  for await (const part of body as AsyncIterable<Buffer>) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= DOCUMENT_BYTES) break;
  }
  return Buffer.concat(parts).toString("utf8", 0, DOCUMENT_BYTES);
}

/** The fault of an answer with an error status. */
export function refused(
  { member, at }: Speaker,
  status: number,
  text: string,
  retryAfter: string | string[] | undefined,
): Fault {
  const json = jsonOf(text);
  const ollama = OllamaError.safeParse(json);
  const openai = OpenAiError.safeParse(json);
  const message = ollama.success ? ollama.data.error : openai.success ? openai.data.error.message : "";
  const seconds = Number(retryAfter);
  const loading = status === 503 && (Number.isFinite(seconds) || /loading/i.test(message));
  const detail = message === "" ? "" : `: ${message.slice(0, ERROR_CHARS)}`;
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
