import { AskAnswer, AskEvent, NativeError, type Stage } from "../contracts/native.ts";
import type { FaultCode } from "../contracts/errors.ts";
import { linesOf } from "../support/lines.ts";

/** Where an orchestrator is and how it is reached. */
export interface Reach {
  /** Its base address, such as `http://127.0.0.1:8080`. */
  url: string;
  /** @default the global fetch */
  fetch?: typeof globalThis.fetch;
  /** Unix socket that the horn is reached through; the address then only names the service. */
  socketPath?: string;
  /** Key of this client, where the service wants one. */
  key?: string;
}

/** One question from a client. */
export interface AskOptions extends Reach {
  question: string;
  user?: string;
  /** Conversation to go on with. Absent: a new one. */
  conversation?: string;
  bothOrders?: boolean;
  mode?: "select" | "synthesize";
  /** Has `askEvents` give the words of the first model that speaks at once. */
  draft?: boolean;
  signal?: AbortSignal;
}

/** An error object of the service, or no service at all; the message is fit for people. */
export class AskError extends Error {
  override readonly name = "AskError";
  /** Absent when nothing that speaks this API answered. */
  readonly code: FaultCode | undefined;
  /** What each member did, where the pipeline had begun. */
  readonly stages: readonly Stage[];

  constructor(message: string, code?: FaultCode, stages: readonly Stage[] = [], cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.stages = stages;
  }
}

/** Asks one question. @returns the reply with every stage. @throws AskError */
export async function ask(options: AskOptions): Promise<AskAnswer> {
  const response = await post(options, false);
  const answer = AskAnswer.safeParse(await response.json().catch(() => undefined));
  if (!answer.success)
    throw new AskError(`${options.url} answered with something else than a reply; is it an orchestrator?`);
  return answer.data;
}

/** Asks one question and gives what happens as it happens; the last event is `answer` or `error`. @throws AskError when it could not be asked */
export async function* askEvents(options: AskOptions): AsyncIterable<AskEvent> {
  const response = await post(options, true);
  if (response.body === null) throw new AskError(`${options.url} answered without a body`);
  try {
    for await (const line of linesOf(response.body as AsyncIterable<Uint8Array>)) {
      if (!line.startsWith("data:")) continue;
      const event = AskEvent.safeParse(JSON.parse(line.slice(5)));
      if (event.success) yield event.data;
    }
  } catch (cause) {
    if (options.signal?.aborted === true) throw new AskError("stopped", "cancelled", [], cause);
    throw new AskError(`the connection to ${options.url} broke; ask again`, undefined, [], cause);
  }
}

async function post(options: AskOptions, stream: boolean): Promise<Response> {
  const { url, fetch = globalThis.fetch, question, user, conversation, bothOrders, mode, draft, signal, key } = options;
  let response: Response;
  try {
    response = await fetch(`${url.replace(/\/+$/, "")}/ask`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      },
      body: JSON.stringify({ question, user, conversation, bothOrders, mode, draft, stream }),
      signal,
    });
  } catch (cause) {
    if (signal?.aborted === true) throw new AskError("stopped", "cancelled", [], cause);
    throw new AskError(
      `no orchestrator answers at ${url}; start one with \`gorkheavy serve --config ensemble.yaml\`, or give another --url`,
      undefined,
      [],
      cause,
    );
  }
  if (response.ok) return response;
  throw await refusal(response, url);
}

/** What a response with an error status says. */
export async function refusal(response: Response, url: string): Promise<AskError> {
  const body: unknown = await response.json().catch(() => undefined);
  return refusalOf(body, `${url} answered ${response.status}; is it an orchestrator?`);
}

/** What the error object of the native API says. @param otherwise the message where it is none */
export function refusalOf(body: unknown, otherwise: string): AskError {
  const parsed = NativeError.safeParse(body);
  if (!parsed.success) return new AskError(otherwise);
  const { message, code, stages } = parsed.data.error;
  return new AskError(message, code, stages);
}

/** One line about an event for people who watch; nothing for those that the reply shows. */
export function describe(event: AskEvent): string {
  switch (event.event) {
    case "routing":
      return `  asks ${event.routing.asked.join(", ")}: ${event.routing.why}\n`;
    case "stage-start":
      return `  ${event.member} (${event.model}) is thinking\n`;
    case "stage-end":
      return `  ${event.stage.member}: ${event.stage.status} after ${Math.round(event.stage.ms)} ms${event.stage.reason === undefined ? "" : `, ${event.stage.reason}`}\n`;
    case "decision":
      return `  ${event.decision.winner} (${event.decision.model}) won: ${event.decision.why}\n`;
    case "draft":
    case "text":
    case "answer":
    case "error":
      return "";
  }
}
