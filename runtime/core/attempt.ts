import type { StageStatus } from "../contracts/native.ts";
import { Fault } from "./fault.ts";
import type { ModelCall, Piece, Ports } from "./ports.ts";
import { withoutThoughts } from "./words.ts";

/** How one call of a member went, retries included. It never throws: a failure is a status. */
export interface Attempted {
  status: Extract<StageStatus, "ok" | "cut" | "failed" | "timeout" | "cancelled">;
  /** The answer without hidden thoughts; may be part of one unless `ok`. */
  text: string;
  startedMs: number;
  endedMs: number;
  /** When the first word came, on the clock of the ports. Absent without a word. */
  firstTokenMs?: number;
  promptTokens?: number;
  answerTokens?: number;
  attempts: number;
  fault?: Fault;
}

/** Bounds of one call. */
export interface Bounds {
  /** When it must have ended, on the clock of the ports. */
  deadlineMs: number;
  /** Longest text kept, UTF-16 units; the call is cancelled there. */
  mostChars: number;
  /** Aborts when the question is cancelled. */
  signal: AbortSignal;
}

/** Times that a call is begun anew after its connection broke. The broken text is thrown away: nobody has seen it. */
const RETRIES = 1;

/** Wait before a call is begun anew, ms: long enough for a Service to take a dead pod out of its list, short against any answer. */
const RETRY_AFTER_MS = 50;

/** Calls a member and gathers its whole answer, within its bounds. */
export async function attempt(call: ModelCall, bounds: Bounds, ports: Ports): Promise<Attempted> {
  const startedMs = ports.now();
  // Nobody waits for it any more: it must not even be begun.
  if (bounds.signal.aborted) return { status: "cancelled", text: "", startedMs, endedMs: startedMs, attempts: 0 };
  const stop = new AbortController();
  const gathered: Gathered = { text: "" };
  let attempts = 0;
  let timedOut = false;
  const expire = (): void => {
    timedOut = true;
    stop.abort(
      new Fault("deadline_exceeded", `${call.member.name} did not finish in time`, { member: call.member.name }),
    );
  };
  const cancel = (): void => stop.abort(bounds.signal.reason);
  bounds.signal.addEventListener("abort", cancel, { once: true });
  const clear = ports.timer(Math.max(0, bounds.deadlineMs - startedMs), expire);
  const ended = (status: Attempted["status"], fault?: Fault): Attempted => ({
    status,
    text: withoutThoughts(gathered.text),
    startedMs,
    endedMs: ports.now(),
    firstTokenMs: gathered.firstTokenMs,
    promptTokens: gathered.promptTokens,
    answerTokens: gathered.answerTokens,
    attempts,
    fault,
  });
  try {
    for (;;) {
      attempts++;
      try {
        await gather(call, gathered, bounds, ports, stop.signal);
        return ended(gathered.cut === true ? "cut" : "ok");
      } catch (error) {
        if (stop.signal.aborted) throw error;
        const fault = error instanceof Fault ? error : undefined;
        if (fault?.code !== "model_unreachable" || attempts > RETRIES) throw error;
        gathered.text = "";
        gathered.firstTokenMs = undefined;
        await wait(RETRY_AFTER_MS, ports, stop.signal);
      }
    }
  } catch (error) {
    if (timedOut) {
      const fault = new Fault(
        "deadline_exceeded",
        `no whole answer within ${Math.round(bounds.deadlineMs - startedMs)} ms`,
        {
          member: call.member.name,
        },
      );
      return ended(withoutThoughts(gathered.text) === "" ? "timeout" : "cut", fault);
    }
    if (bounds.signal.aborted) return ended("cancelled");
    return ended("failed", asMemberFault(error, call.member.name));
  } finally {
    clear();
    bounds.signal.removeEventListener("abort", cancel);
    stop.abort();
  }
}

/** What has come so far. */
interface Gathered {
  text: string;
  firstTokenMs?: number;
  promptTokens?: number;
  answerTokens?: number;
  cut?: boolean;
}

async function gather(
  call: ModelCall,
  into: Gathered,
  bounds: Bounds,
  ports: Ports,
  signal: AbortSignal,
): Promise<void> {
  const pieces = ports.call(call, signal)[Symbol.asyncIterator]();
  let finished = false;
  try {
    for (;;) {
      const next = await unlessAborted(pieces.next(), signal);
      if (next.done === true) break;
      const piece: Piece = next.value;
      if (piece.text !== "") {
        into.firstTokenMs ??= ports.now();
        into.text += piece.text;
      }
      if (piece.done !== undefined) {
        finished = true;
        into.promptTokens = piece.done.promptTokens;
        into.answerTokens = piece.done.answerTokens;
        break;
      }
      if (into.text.length > bounds.mostChars) {
        into.text = into.text.slice(0, bounds.mostChars);
        into.cut = true;
        return;
      }
    }
    if (!finished)
      throw new Fault("model_unreachable", "the answer ended before it was done", { member: call.member.name });
  } finally {
    // Not awaited: a transport that hangs in its own clean-up must not hold the answer.
    Promise.resolve(pieces.return?.()).catch(() => undefined);
  }
}

/** The promise, or the signal's reason as soon as it aborts, whichever is first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => undefined);
    throw reasonOf(signal);
  }
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(reasonOf(signal));
    signal.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Fault("cancelled", "the client went away");
}

function wait(ms: number, ports: Ports, signal: AbortSignal): Promise<void> {
  let clear = (): void => undefined;
  const waited = new Promise<void>((resolve) => {
    clear = ports.timer(ms, resolve);
  });
  return unlessAborted(waited, signal).finally(clear);
}

function asMemberFault(error: unknown, member: string): Fault {
  if (error instanceof Fault) return error;
  return new Fault("model_failed", "the call failed in the service itself; its log says why", { cause: error, member });
}
