import { Fault } from "./fault.ts";
import type { Attempted } from "./attempted.ts";
import { endOf, passageFor } from "./passage.ts";
import type { ModelCall, Ports } from "./ports.ts";
import type { PassageEnd, Traffic } from "./traffic.ts";
import { withoutThoughts } from "./words.ts";

/** Bounds of one call. */
export interface Bounds {
  /** When it must have ended, on the clock of the ports. */
  deadlineMs: number;
  /** Longest text kept, UTF-16 units; the call is cancelled there. */
  mostChars: number;
  /** Aborts when the question is cancelled. */
  signal: AbortSignal;
  /** Aborts when the call is no longer waited for, though its deadline has not come. Absent: never. */
  hurry?: AbortSignal;
  /** Told of the whole text so far each time it has grown. */
  wrote?: (text: string) => void;
}

/**
 * Times that a call is begun anew after its connection broke, or after an error before its first word where another pod can be asked. The
 * broken text is thrown away: nobody has seen it.
 */
const RETRIES = 1;
/** The same where a pod is left that was not tried. */
const RETRIES_ELSEWHERE = 2;

/** Wait before a call to the same address is begun anew, ms: long enough for a Service to take a dead pod out of its list, short against any answer. */
const RETRY_AFTER_MS = 50;

/** Calls a member and gathers its whole answer, within its bounds. @param traffic what is known of the member. Absent: no breaker and no hedging */
export async function attempt(call: ModelCall, bounds: Bounds, ports: Ports, traffic?: Traffic): Promise<Attempted> {
  const startedMs = ports.now();
  const nothing = { text: "", startedMs, endedMs: startedMs, attempts: 0, hedged: false };
  // Nobody waits for it any more: it must not even be begun.
  if (bounds.signal.aborted) return { ...nothing, status: "cancelled" };
  const done = await new Attempt(call, bounds, ports, traffic, startedMs).run();
  traffic?.ended(call.member, done);
  return done;
}

/** One call on its way: the first one and the one beside it. */
interface Leg {
  stop: AbortController;
  startedMs: number;
  text: string;
  firstTokenMs?: number;
  promptTokens?: number;
  answerTokens?: number;
  cut?: boolean;
}

class Attempt {
  readonly #call: ModelCall;
  readonly #bounds: Bounds;
  readonly #ports: Ports;
  readonly #traffic: Traffic | undefined;
  readonly #startedMs: number;
  readonly #stop = new AbortController();
  #legs: Leg[] = [];
  #attempts = 0;
  #hedged = false;
  #timedOut = false;
  /** Pods that have had a leg. */
  readonly #tried = new Set<string>();
  /** Whether there is a pod that has had none. */
  #others = false;
  /** What the last leg failed with. */
  #failed: Fault | undefined;

  constructor(call: ModelCall, bounds: Bounds, ports: Ports, traffic: Traffic | undefined, startedMs: number) {
    this.#call = call;
    this.#bounds = bounds;
    this.#ports = ports;
    this.#traffic = traffic;
    this.#startedMs = startedMs;
  }

  async run(): Promise<Attempted> {
    const { member } = this.#call;
    const { signal, deadlineMs, hurry } = this.#bounds;
    const cancel = (): void => this.#stop.abort(signal.reason);
    signal.addEventListener("abort", cancel, { once: true });
    const expire = (): void => {
      this.#timedOut = true;
      this.#stop.abort(OVER);
    };
    const clear = this.#ports.timer(Math.max(0, deadlineMs - this.#startedMs), expire);
    hurry?.addEventListener("abort", expire, { once: true });
    if (hurry?.aborted === true) expire();
    try {
      const leg = await this.answered();
      return this.ended(leg.cut === true ? "cut" : "ok", leg);
    } catch (thrown) {
      const error = thrown instanceof Refused ? thrown.fault : thrown;
      const leg = this.#legs.toSorted((a, b) => b.text.length - a.text.length)[0];
      if (this.#timedOut) {
        const ms = Math.round(this.#ports.now() - this.#startedMs);
        const why = hurry?.aborted === true ? ", and the others had answered" : "";
        const fault = new Fault("deadline_exceeded", `no whole answer within ${ms} ms${why}`, { member: member.name });
        return this.ended(withoutThoughts(leg?.text ?? "") === "" ? "timeout" : "cut", leg, fault);
      }
      if (signal.aborted) return this.ended("cancelled", leg);
      return this.ended("failed", leg, asMemberFault(error, member.name));
    } finally {
      clear();
      signal.removeEventListener("abort", cancel);
      hurry?.removeEventListener("abort", expire);
      this.#stop.abort(OVER);
      for (const leg of this.#legs) leg.stop.abort(OVER);
    }
  }

  /** The leg that answered whole. A broken connection is tried once more. */
  private async answered(): Promise<Leg> {
    // A leg beside another is none of these.
    for (let retries = 0; ; retries++) {
      this.#legs = [];
      try {
        return await this.race();
      } catch (error) {
        if (error instanceof Refused) throw this.#failed ?? error;
        if (this.#stop.signal.aborted || !(error instanceof Fault)) throw error;
        this.#failed = error;
        if (this.#others) {
          const spoke = this.#legs.some(({ firstTokenMs }) => firstTokenMs !== undefined);
          if ((spoke && error.code !== "model_unreachable") || retries >= RETRIES_ELSEWHERE) throw error;
          continue;
        }
        if (error.code !== "model_unreachable" || retries >= RETRIES) throw error;
        await this.wait(RETRY_AFTER_MS);
      }
    }
  }

  /** One leg, and a second one beside it when the first has no word after the usual time. Whoever has the first word goes on alone. */
  private async race(): Promise<Leg> {
    const afterMs = this.#hedged ? undefined : this.#traffic?.hedgeAfterMs(this.#call.member);
    if (afterMs === undefined) return this.leg();
    return new Promise<Leg>((resolve, reject) => {
      let running = 0;
      const start = (): void => {
        running++;
        this.leg().then(resolve, (error: unknown) => {
          running--;
          if (running > 0) return;
          clear();
          reject(error instanceof Error ? error : new Error("failed"));
        });
      };
      const clear = this.#ports.timer(afterMs, () => {
        if (this.#stop.signal.aborted || this.#legs.some(({ firstTokenMs }) => firstTokenMs !== undefined)) return;
        this.#hedged = true;
        this.#traffic?.hedged(this.#call.member);
        start();
      });
      this.#stop.signal.addEventListener("abort", clear, { once: true });
      start();
    });
  }

  private async leg(): Promise<Leg> {
    const found = await this.passage();
    if (found instanceof Fault) throw new Refused(found);
    const { passage, more } = found;
    this.#attempts++;
    this.#tried.add(passage.pod);
    this.#others = more;
    const leg: Leg = { stop: new AbortController(), startedMs: this.#ports.now(), text: "" };
    this.#legs.push(leg);
    const forward = (): void => leg.stop.abort(this.#stop.signal.reason);
    if (this.#stop.signal.aborted) forward();
    this.#stop.signal.addEventListener("abort", forward, { once: true });
    try {
      await this.gather(leg, passage.pod);
      passage.ended(leg.cut === true ? "abandoned" : "ok");
      return leg;
    } catch (error) {
      passage.ended(this.endOf(leg, error));
      throw error;
    } finally {
      this.#stop.signal.removeEventListener("abort", forward);
      leg.stop.abort(OVER);
    }
  }

  /** A pod for the next leg, within the bounds of the call. */
  private async passage(): ReturnType<typeof passageFor> {
    const found = passageFor(this.#call, this.#ports, this.#tried);
    const until = new UntilAborted(this.#stop.signal);
    try {
      return await until.settled(found);
    } catch (error) {
      // What comes too late is given back.
      found.then(
        (late) => (late instanceof Fault ? undefined : late.passage.ended("abandoned")),
        () => undefined,
      );
      throw error;
    } finally {
      until.close();
    }
  }

  /** What the end of a leg says of its pod. */
  private endOf(leg: Leg, error: unknown): PassageEnd {
    if (!leg.stop.signal.aborted) return endOf(error);
    // It was stopped without a word: slower than the call beside it, or than its deadline. A question's end says nothing.
    const passed = this.#stop.signal.aborted ? this.#timedOut && this.#bounds.hurry?.aborted !== true : true;
    return passed && leg.firstTokenMs === undefined ? "failed" : "abandoned";
  }

  private async gather(leg: Leg, pod: string): Promise<void> {
    const { member } = this.#call;
    const { signal } = leg.stop;
    const pieces = this.#ports.call(this.#call, signal, pod)[Symbol.asyncIterator]();
    const until = new UntilAborted(signal);
    try {
      for (;;) {
        const next = await until.settled(pieces.next());
        if (next.done === true)
          throw new Fault("model_unreachable", "the answer ended before it was done", { member: member.name });
        const { text, done } = next.value;
        if (text !== "") {
          if (leg.firstTokenMs === undefined) this.first(leg);
          leg.text += text;
          this.#bounds.wrote?.(leg.text);
        }
        if (done !== undefined) {
          leg.promptTokens = done.promptTokens;
          leg.answerTokens = done.answerTokens;
          return;
        }
        if (leg.text.length > this.#bounds.mostChars) {
          leg.text = leg.text.slice(0, this.#bounds.mostChars);
          leg.cut = true;
          return;
        }
      }
    } finally {
      until.close();
      // Not awaited: a transport that hangs in its own clean-up must not hold the answer.
      Promise.resolve(pieces.return?.()).catch(() => undefined);
    }
  }

  private first(leg: Leg): void {
    leg.firstTokenMs = this.#ports.now();
    for (const other of this.#legs) if (other !== leg) other.stop.abort(OVER);
  }

  private wait(ms: number): Promise<void> {
    let clear = (): void => undefined;
    const waited = new Promise<void>((resolve) => {
      clear = this.#ports.timer(ms, resolve);
    });
    const until = new UntilAborted(this.#stop.signal);
    return until.settled(waited).finally(() => {
      until.close();
      clear();
    });
  }

  private ended(status: Attempted["status"], leg?: Leg, fault?: Fault): Attempted {
    const first = leg?.firstTokenMs;
    return {
      status,
      text: withoutThoughts(leg?.text ?? ""),
      startedMs: this.#startedMs,
      endedMs: this.#ports.now(),
      firstTokenMs: first,
      legFirstTokenMs: status === "ok" && leg !== undefined && first !== undefined ? first - leg.startedMs : undefined,
      promptTokens: leg?.promptTokens,
      answerTokens: leg?.answerTokens,
      attempts: this.#attempts,
      hedged: this.#hedged,
      fault,
    };
  }
}

/** No pod may be called now, so that another try now is of no use. */
class Refused extends Error {
  override readonly name = "Refused";
  readonly fault: Fault;

  constructor(fault: Fault) {
    super(fault.message);
    this.fault = fault;
  }
}

/** Why calls are stopped that nobody needs any more. One object for all of them: an abort without a reason makes one each time, stack included. */
const OVER = new Fault("cancelled", "the answer is no longer needed");

/** Waits for promises one after another, each only until the signal aborts; one listener for all of them. */
class UntilAborted {
  readonly #signal: AbortSignal;
  #reject: (reason: Error) => void = () => undefined;
  readonly #abort = (): void => this.#reject(reasonOf(this.#signal));

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", this.#abort, { once: true });
  }

  /** The promise's value, or the signal's reason as an error as soon as it aborts. */
  settled<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      promise.then(resolve, reject);
      if (this.#signal.aborted) reject(reasonOf(this.#signal));
    });
  }

  close(): void {
    this.#signal.removeEventListener("abort", this.#abort);
  }
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Fault("cancelled", "the client went away");
}

function asMemberFault(error: unknown, member: string): Fault {
  if (error instanceof Fault) return error;
  return new Fault("model_failed", "the call failed in the service itself; its log says why", { cause: error, member });
}
