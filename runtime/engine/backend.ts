import type { Library, ModelFacts } from "./library.ts";

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
  /** 0 always takes the likeliest token. Absent: as the backend has it. */
  temperature?: number;
  /** How many of the likeliest tokens are chosen from; 0 is all of them. */
  topK?: number;
  /** Chooses from the likeliest tokens that together have this probability, above 0 to 1. */
  topP?: number;
  /** Chooses from tokens at least so likely as this share of the likeliest one's probability, 0 to 1. */
  minP?: number;
  /** Divides the weight of tokens that were written lately; 1 does nothing. */
  repeatPenalty?: number;
  /** Tokens back that the three penalties look at; -1 is the whole window. */
  repeatLastTokens?: number;
  /** Taken from the weight of tokens that were written lately, once; -2 to 2. */
  presencePenalty?: number;
  /** Taken from it as often as they were written; -2 to 2. */
  frequencyPenalty?: number;
  seed?: number;
  /** The words of the messages are the prompt as it is, with the marks of the model's own; no template is laid around them. */
  raw?: boolean;
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

/** Vectors of some texts. */
export interface Embeddings {
  /** In the order of the texts, of the length that the model gives them. */
  vectors: number[][];
  /** Tokens of all texts together. */
  promptTokens: number;
}

/** A model in memory. */
export interface LoadedModel {
  /** SHA-256 of the weights that are loaded, 64 hex digits. Absent where the backend cannot tell: the library's word then holds. */
  readonly digest?: string;
  /** Memory that it takes, bytes. */
  readonly memoryBytes: number;
  /** Settles with the reason when the model is lost without having been unloaded. Absent where that cannot be. */
  readonly gone?: Promise<string>;
  /** Streams an answer. Aborting the signal stops the work at the next token. */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GeneratePiece>;
  /**
   * One vector a text. Absent where the model cannot.
   * @param truncate cuts texts that are longer than the window; without it they are refused with invalid_request
   */
  embed?(texts: readonly string[], signal: AbortSignal, truncate?: boolean): Promise<Embeddings>;
  unload(): Promise<void>;
}

/** Where inference happens. One per engine process; it loads any of its models. */
export interface Backend {
  /** Name in `--backend`, logs and health. */
  readonly name: string;
  /** The models that it can load. */
  readonly library: Library;
  /** Memory of this machine that a load will take, bytes, as far as its facts tell. Absent where weights are held elsewhere, or are not real. */
  needsBytes?(facts: ModelFacts): number;
  /** Loads a model. @param progress called with 0 to 1. */
  load(model: string, progress: (ratio: number) => void, signal: AbortSignal): Promise<LoadedModel>;
}
