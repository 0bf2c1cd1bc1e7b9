import type { AskAnswer } from "../../contracts/native.ts";
import type { Watch } from "../../core/pipeline.ts";
import type { ModelCall, Piece } from "../../core/ports.ts";

/** One trace a question: the question, its stages, their calls, and what the store and the cache took. */
export interface Tracing {
  /** Traces a question. @param traceparent of the client's request @param text only written where prompts are asked for */
  question(
    traceparent: string | undefined,
    text: string,
    watch: Watch | undefined,
    work: (watch: Watch) => Promise<AskAnswer>,
  ): Promise<AskAnswer>;
  /** Traces a call of a member. @param work is given the headers for its server */
  call(call: ModelCall, work: (headers: Record<string, string>) => AsyncIterable<Piece>): AsyncIterable<Piece>;
  /** Traces another part of a question. */
  step<T>(name: string, work: () => Promise<T>): Promise<T>;
  /** Sends what is left. Never fails, and takes some seconds at most. */
  close(): Promise<void>;
}
