import {
  LlamaGrammarEvaluationState,
  type Llama,
  type LlamaContextSequence,
  type LlamaEmbeddingContext,
  type LlamaModel,
  type Token,
} from "node-llama-cpp";
import type { Embeddings, GeneratePiece, GenerateRequest } from "../backend.ts";
import { likeliest } from "../likeliest.ts";
import { type Fork, forkOf, labelProbabilities } from "./choices.ts";
import { MOST_TOP_LOGPROBS, TokenLogprobs } from "./logprobs.ts";
import { ChatPrompt } from "./prompt.ts";
import { TextPieces } from "./pieces.ts";
import { samplingOf } from "./sampling.ts";
import { schemaFlaw } from "./schema.ts";
import { Slots } from "./slots.ts";

/** A request that cannot be served as it is; its words are for the caller. */
export class Refused extends Error {
  override readonly name = "Refused";
}

/** One model in this process. */
export class Held {
  readonly #llama: Llama;
  readonly #model: LlamaModel;
  readonly #slots: Slots<LlamaContextSequence>;
  readonly #prompt: ChatPrompt;
  readonly #threads: number | undefined;
  /** Longest text that becomes a vector, tokens: as long as an answer's window. */
  readonly #embeddingTokens: number;
  #embedding: Promise<LlamaEmbeddingContext> | undefined;

  constructor(
    llama: Llama,
    model: LlamaModel,
    sequences: readonly LlamaContextSequence[],
    threads: number | undefined,
  ) {
    this.#llama = llama;
    this.#model = model;
    this.#threads = threads;
    this.#embeddingTokens = sequences[0]?.contextSize ?? model.trainContextSize;
    const { metadata } = model.fileInfo;
    const template = metadata.tokenizer.chat_template;
    this.#prompt = new ChatPrompt(template, {
      bos: model.tokens.bosString ?? "",
      eos: model.tokens.eosString ?? "",
    });
    this.#slots = new Slots(
      sequences,
      (sequence, tokens) => sequence.compareContextTokens([...tokens] as Token[]).firstDifferentIndex,
    );
  }

  /** The answer's parts. @throws Refused for what it cannot be asked, the signal's reason */
  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GeneratePiece> {
    const began = performance.now();
    const fork = this.#forkOf(request);
    const tokens = [...this.#tokensOf(request), ...((fork?.common ?? []) as Token[])];
    const { sequence, release } = await this.#slots.take(tokens, signal);
    try {
      const window = Math.min(sequence.contextSize, request.numCtx ?? sequence.contextSize);
      const room = window - tokens.length;
      if (room < 1) {
        throw new Refused(
          `the prompt has ${tokens.length} tokens, want at most ${window - 1} of this window; shorten it or serve the model with a larger --context`,
        );
      }
      const last = await read(sequence, tokens, signal);
      if (fork !== undefined) yield await this.#choose(request, fork, sequence, last, tokens.length, began);
      else yield* this.#write(request, sequence, last, { room, promptTokens: tokens.length, began }, signal);
    } finally {
      release();
    }
  }

  /** Reads a label off the probabilities of the next token. */
  async #choose(
    { choices = [] }: GenerateRequest,
    fork: Fork,
    sequence: LlamaContextSequence,
    last: Token,
    promptTokens: number,
    began: number,
  ): Promise<GeneratePiece> {
    // At temperature 0 the selected token is the one with the largest logit, which the weights are counted from.
    const filter = { tokens: fork.firsts.flat() as Token[], includeSelected: true };
    const [output] = await sequence.controlledEvaluate([
      [last, { generateNext: { logits: { filter }, totalLogitWeight: true } }],
    ]);
    const { logits, totalLogitWeight } = output?.next ?? {};
    if (logits === undefined || totalLogitWeight === undefined) throw new Error("llama.cpp gave no logits");
    const labels = labelProbabilities(choices, fork, logits, Math.max(...logits.values()), totalLogitWeight);
    const promptMs = performance.now() - began;
    return {
      text: likeliest(labels),
      done: { reason: "stop", promptTokens, answerTokens: 1, promptMs, answerMs: 0, choices: labels },
    };
  }

  /** Writes until the model stops, a stop text, the last bracket or the length. */
  async *#write(
    request: GenerateRequest,
    sequence: LlamaContextSequence,
    last: Token,
    { room, promptTokens, began }: { room: number; promptTokens: number; began: number },
    signal: AbortSignal,
  ): AsyncIterable<GeneratePiece> {
    const textOf = (some: readonly number[], before: readonly number[] = []): string =>
      this.#model.detokenize(some as Token[], false, before as Token[]);
    const pieces = new TextPieces(textOf, request.stop);
    const { topLogprobs } = request;
    const logprobs = topLogprobs === undefined ? undefined : new TokenLogprobs(topLogprobs, (token) => textOf([token]));
    const told = (): Pick<GeneratePiece, "logprobs"> => (logprobs === undefined ? {} : { logprobs: logprobs.take() });
    const most = Math.min(request.maxTokens ?? room, room);
    const grammar = await this.#grammarOf(request.format);
    let answerTokens = 0;
    let whole = "";
    let first: number | undefined;
    let reason: "stop" | "length" = "stop";
    const written: AsyncIterable<{ token: Token; probabilities?: Map<Token, number> }> = sequence.evaluateWithMetadata(
      [last],
      { probabilities: logprobs !== undefined },
      {
        ...samplingOf(request, () => sequence.contextTokens),
        ...(grammar === undefined ? {} : { grammarEvaluationState: grammar }),
      },
    );
    for await (const { token, probabilities } of written) {
      first ??= performance.now();
      answerTokens++;
      logprobs?.push(token, probabilities ?? new Map<Token, number>());
      const text = pieces.push(token);
      if (text !== "") yield { text, ...told() };
      whole += grammar === undefined ? "" : text;
      // A grammar lets a model go on with blank space after the last bracket.
      if (signal.aborted || pieces.stopped || (text !== "" && isWholeJson(whole))) break;
      if (answerTokens >= most) {
        reason = "length";
        break;
      }
    }
    signal.throwIfAborted();
    const promptMs = (first ?? performance.now()) - began;
    const answerMs = performance.now() - began - promptMs;
    yield { text: pieces.end(), ...told(), done: { reason, promptTokens, answerTokens, promptMs, answerMs } };
  }

  /** @throws Refused for a text that is longer than the window, unless it may be cut */
  async embed(texts: readonly string[], truncate: boolean): Promise<Embeddings> {
    this.#embedding ??= this.#model.createEmbeddingContext({
      contextSize: this.#embeddingTokens,
      ...(this.#threads === undefined ? {} : { threads: this.#threads }),
    });
    const context = await this.#embedding;
    // One goes for the end that the library adds, and one stays free, as it wants.
    const most = this.#embeddingTokens - 2;
    const vectors: number[][] = [];
    let promptTokens = 0;
    for (const [at, text] of texts.entries()) {
      const tokens = this.#model.tokenize(text);
      if (tokens.length > most && !truncate)
        throw new Refused(`input ${at}: ${tokens.length} tokens, want at most ${most} of this model's window`);
      const cut = tokens.slice(0, most);
      promptTokens += cut.length;
      vectors.push([...(await context.getEmbeddingFor(cut)).vector]);
    }
    return { vectors, promptTokens };
  }

  #tokensOf({ messages, raw }: GenerateRequest): Token[] {
    const { tokens, tokenizer } = this.#model;
    const prompt =
      raw === true ? messages.map(({ content }) => ({ text: content, marks: true })) : this.#prompt.render(messages);
    const parts = prompt.flatMap(({ text, marks }) => tokenizer(text, marks));
    const { bos } = tokens;
    return tokens.shouldPrependBosToken && bos !== null && parts[0] !== bos ? [bos, ...parts] : parts;
  }

  #forkOf({ choices, format, topLogprobs }: GenerateRequest): Fork | undefined {
    if (topLogprobs !== undefined && !(topLogprobs >= 0 && topLogprobs <= MOST_TOP_LOGPROBS))
      throw new Refused(`topLogprobs: got ${topLogprobs}, want 0 to ${MOST_TOP_LOGPROBS}`);
    if (choices === undefined) return undefined;
    if (format !== undefined) throw new Refused("choices: want them without a format; the answer is one of the labels");
    const fork = forkOf(choices, (text) => this.#model.tokenizer(text, false));
    if (typeof fork === "string") throw new Refused(fork);
    return fork;
  }

  async #grammarOf(format: GenerateRequest["format"]): Promise<LlamaGrammarEvaluationState | undefined> {
    if (format === undefined) return undefined;
    const flaw = format === "json" ? undefined : schemaFlaw(format);
    if (flaw !== undefined) throw new Refused(flaw);
    try {
      const grammar =
        format === "json"
          ? await this.#llama.getGrammarFor("json")
          : await this.#llama.createGrammarForJsonSchema(format as Parameters<Llama["createGrammarForJsonSchema"]>[0]);
      return new LlamaGrammarEvaluationState({ model: this.#model, grammar });
    } catch (cause) {
      throw new Refused(
        `format: not a JSON schema that can be kept to: ${cause instanceof Error ? cause.message : "unreadable"}`,
        { cause },
      );
    }
  }
}

/** Tokens of a prompt that are read without a look at whether somebody still waits for the answer. */
const STRETCH_TOKENS = 256;

/**
 * Reads a prompt as far as its last token, which is always read again: an answer needs what comes after it. What the window holds already is kept.
 * @returns the last token. @throws the signal's reason
 */
async function read(sequence: LlamaContextSequence, tokens: readonly Token[], signal: AbortSignal): Promise<Token> {
  await sequence.adaptStateToTokens(tokens.slice(0, -1), false);
  while (sequence.nextTokenIndex < tokens.length - 1) {
    signal.throwIfAborted();
    const from = sequence.nextTokenIndex;
    await sequence.evaluateWithoutGeneratingNewTokens(
      tokens.slice(from, Math.min(from + STRETCH_TOKENS, tokens.length - 1)),
    );
  }
  signal.throwIfAborted();
  const last = tokens.at(-1);
  if (last === undefined) throw new Refused("the prompt has no tokens");
  return last;
}

/** Whether a text is one whole JSON object or list. */
function isWholeJson(text: string): boolean {
  if (!/[}\]]\s*$/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
