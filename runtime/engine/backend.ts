import type { Library } from "./library.ts";

/** One message to a model. */
export interface EngineMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

/** One generation. */
export interface GenerateRequest {
  messages: readonly EngineMessage[];
  /** JSON schema, or `json` for any JSON. Absent: free text. */
  format?: "json" | Record<string, unknown>;
  /** Longest answer, tokens. Absent: until the model stops. */
  maxTokens?: number;
  /** Context window, tokens. Absent: the backend's default. */
  numCtx?: number;
  numThread?: number;
  temperature?: number;
  seed?: number;
  /** Texts at which the answer ends; they are not part of it. */
  stop?: readonly string[];
}

/** A part of an answer. The last one has `done`. */
export interface GeneratePiece {
  text: string;
  done?: {
    /** `stop`: the model ended; `length`: cut at maxTokens. */
    reason: "stop" | "length";
    promptTokens: number;
    answerTokens: number;
    /** Time on the prompt and on the answer, ms. */
    promptMs: number;
    answerMs: number;
  };
}

/** A model in memory. */
export interface LoadedModel {
  /** Memory that it takes, bytes. */
  readonly memoryBytes: number;
  /** Settles with the reason when the model is lost without having been unloaded. Absent where that cannot be. */
  readonly gone?: Promise<string>;
  /** Streams an answer. Aborting the signal stops the work at the next token. */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GeneratePiece>;
  /** One vector a text, in order. Absent where the model cannot. */
  embed?(texts: readonly string[], signal: AbortSignal): Promise<number[][]>;
  unload(): Promise<void>;
}

/** Where inference happens. One per engine process; it loads any of its models. */
export interface Backend {
  /** Name in `--backend`, logs and health. */
  readonly name: string;
  /** The models that it can load. */
  readonly library: Library;
  /** Loads a model. @param progress called with 0 to 1. */
  load(model: string, progress: (ratio: number) => void, signal: AbortSignal): Promise<LoadedModel>;
}
