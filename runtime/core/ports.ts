import type { Member } from "../contracts/ensemble-config.ts";
import type { Traffic } from "./traffic.ts";

/** One message to a model. */
export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

/** One call of a member's model. */
export interface ModelCall {
  member: Member;
  messages: readonly ChatMessage[];
  /** JSON schema that the answer must satisfy. Absent: free text. */
  format?: Record<string, unknown>;
  /** Longest answer, tokens. */
  maxTokens: number;
  /** Sampling temperature. Absent: the model's own. */
  temperature?: number;
  /** Calls of a member with the same one share the beginnings of their prompts: one conversation. Absent: shares nothing with any other. */
  affinity?: string;
}

/** A part of an answer as it arrives. The last one has `done`. */
export interface Piece {
  text: string;
  done?: {
    /** `stop`: finished; `length`: cut at maxTokens; anything else as the server said it. */
    reason: string;
    promptTokens?: number;
    answerTokens?: number;
  };
}

/** Everything of the outside world that the pipeline needs, so that a test can give it a world of its own. */
export interface Ports {
  /** Streams one answer of a pod. Closing the iterator or aborting the signal closes the connection. @param pod absent: the member's own address @throws Fault */
  call(call: ModelCall, signal: AbortSignal, pod?: string): AsyncIterable<Piece>;
  /** Base addresses of a member's pods, not empty. Absent: every member has just the address of its own. @throws Fault */
  pods?(member: Member): readonly string[] | Promise<readonly string[]>;
  /** Milliseconds on a clock that only goes forward. */
  now(): number;
  /** From 0 (inclusive) to 1 (exclusive). */
  random(): number;
  /** Calls `fire` once after so many ms; the answer cancels it. */
  timer(ms: number, fire: () => void): () => void;
  /** What earlier calls taught of the members. Absent: nothing, so nobody is left alone and no call is made twice. */
  traffic?: Traffic;
}
