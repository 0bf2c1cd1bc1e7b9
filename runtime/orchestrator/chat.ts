import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { AskAnswer, AskEvent, NativeError, type Stage } from "../contracts/native.ts";
import type { FaultCode } from "../contracts/errors.ts";
import { linesOf } from "../support/lines.ts";

/** Where an orchestrator is and how it is reached. */
export interface Reach {
  /** Its base address, such as `http://127.0.0.1:8080`. */
  url: string;
  /** @default the global fetch */
  fetch?: typeof globalThis.fetch;
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
  const { url, fetch = globalThis.fetch, question, user, conversation, bothOrders, mode, draft, signal } = options;
  let response: Response;
  try {
    response = await fetch(`${url.replace(/\/+$/, "")}/ask`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ question, user, conversation, bothOrders, mode, draft, stream }),
      signal,
    });
  } catch (cause) {
    if (signal?.aborted === true) throw new AskError("stopped", "cancelled", [], cause);
    throw new AskError(
      `no orchestrator answers at ${url}; see that it runs (serve), or give another --url`,
      undefined,
      [],
      cause,
    );
  }
  if (response.ok) return response;
  const error = NativeError.safeParse(await response.json().catch(() => undefined));
  if (!error.success) throw new AskError(`${url} answered ${response.status}; is it an orchestrator?`);
  throw new AskError(error.data.error.message, error.data.error.code, error.data.error.stages);
}

/** A chat on a terminal or on any pair of streams. */
export interface ChatOptions extends Reach {
  input: NodeJS.ReadableStream;
  output: NodeJS.WritableStream;
  /** Shows each stage and who won. @default false */
  verbose?: boolean;
  user?: string;
  /** @default a new one */
  conversation?: string;
}

/** What the chat says when it waits for a question. */
const PROMPT = "YOU: ";

/**
 * Asks at `YOU:` and prints `Reply:` until `exit`, Ctrl-D or the end of the input. Ctrl-C stops the running question, or the chat when none runs.
 * An error is printed and the chat goes on.
 */
export async function chatLoop(options: ChatOptions): Promise<void> {
  const { output, conversation = randomUUID() } = options;
  const terminal = "isTTY" in options.input && options.input.isTTY === true;
  const lines = createInterface({ input: options.input, output, terminal, prompt: PROMPT });
  let running: AbortController | undefined;
  // A pipe's lines may all be read, and the interface closed, while the first question is still in work: only a terminal is prompted through it.
  const prompt = (): void => {
    if (!terminal) output.write(PROMPT);
    else if (!closed) lines.prompt();
  };
  let closed = false;
  lines.on("close", () => {
    closed = true;
  });
  lines.on("SIGINT", () => {
    if (running !== undefined) running.abort();
    else lines.close();
  });
  prompt();
  for await (const line of lines) {
    const question = line.trim();
    if (question.toLowerCase() === "exit") break;
    if (question !== "") {
      running = new AbortController();
      await printReply(
        { ...options, question, conversation, signal: running.signal },
        output,
        options.verbose === true,
      );
      running = undefined;
    }
    prompt();
  }
  lines.close();
  output.write("\n");
}

async function printReply(options: AskOptions, output: NodeJS.WritableStream, verbose: boolean): Promise<void> {
  let begun = false;
  try {
    for await (const event of askEvents(options)) {
      if (event.event === "error") throw new AskError(event.error.message, event.error.code, event.error.stages);
      if (verbose) output.write(describe(event));
      if (event.event === "text") output.write(begun ? event.text : `Reply: ${event.text}`);
      begun ||= event.event === "text";
      if (event.event === "answer") output.write("\n");
    }
  } catch (error) {
    output.write(`${begun ? "\n" : ""}Error: ${error instanceof Error ? error.message : "failed"}\n`);
  }
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
