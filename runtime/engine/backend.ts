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
  /**
   * Labels, 2 to 64, one of which is the answer: no text is written, the likeliest label is taken from the probabilities of the next token, all
   * of which are in `done.choices`. One evaluation, where the labels differ in their first token. Excludes `format`.
   */
  choices?: readonly string[];
  /** Tells the probability of each written token and of so many others that could have stood there, 0 to 20. Absent: none is told. */
  topLogprobs?: number;
}

/** How likely one token was where it was written, as a natural logarithm, at most 0. */
export interface TokenLogprob {
  /** Text of the token; a part of a character is U+FFFD. */
  token: string;
  logprob: number;
}

/** A written token and the likeliest ones in its place, most likely first. */
export interface WrittenLogprob extends TokenLogprob {
  top: readonly TokenLogprob[];
}

/** One of the labels asked for. The probabilities of all of them add up to at most 1; what is missing is what the model would rather have written. */
export interface LabelProbability {
  label: string;
  /** 0 to 1. */
  probability: number;
}

/** A part of an answer. The last one has `done`. */
export interface GeneratePiece {
  text: string;
  /** Tokens of this text in order, where `topLogprobs` was asked and the backend can tell. */
  logprobs?: readonly WrittenLogprob[];
  done?: {
    /** `stop`: the model ended; `length`: cut at maxTokens. */
    reason: "stop" | "length";
    promptTokens: number;
    answerTokens: number;
    /** Time on the prompt and on the answer, ms. */
    promptMs: number;
    answerMs: number;
    /** Where `choices` were asked: each label in the order asked. */
    choices?: readonly LabelProbability[];
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
