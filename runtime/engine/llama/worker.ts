// The child process that holds one model: llama.cpp lives and dies here, apart from the server.
import {
  getLlama,
  LlamaGrammarEvaluationState,
  LlamaLogLevel,
  type Llama,
  type LlamaContextSequence,
  type LlamaEmbeddingContext,
  type LlamaModel,
  type Token,
} from "node-llama-cpp";
import type { GenerateRequest } from "../backend.ts";
import { ChatPrompt } from "./prompt.ts";
import { TextPieces } from "./pieces.ts";
import type { WorkerReply, WorkerRequest } from "./protocol.ts";
import { schemaFlaw } from "./schema.ts";
import { Slots } from "./slots.ts";

/** A request that cannot be served as it is; its words are for the caller. */
class Refused extends Error {
  override readonly name = "Refused";
}

/** One model in this process. */
class Held {
  readonly #llama: Llama;
  readonly #model: LlamaModel;
  readonly #slots: Slots<LlamaContextSequence>;
  readonly #prompt: ChatPrompt;
  readonly #threads: number | undefined;
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

  async generate(id: number, request: GenerateRequest, signal: AbortSignal): Promise<void> {
    const began = performance.now();
    const tokens = this.#tokensOf(request);
    const { sequence, release } = await this.#slots.take(tokens, signal);
    try {
      const room = Math.min(sequence.contextSize, request.numCtx ?? sequence.contextSize) - tokens.length;
      if (room < 1) {
        throw new Refused(
          `the prompt has ${tokens.length} tokens, want at most ${Math.min(sequence.contextSize, request.numCtx ?? sequence.contextSize) - 1} of this window; shorten it or serve the model with a larger --context`,
        );
      }
      // The last token is always read again: an answer needs what comes after it.
      await sequence.adaptStateToTokens(tokens.slice(0, -1), false);
      const rest = tokens.slice(sequence.nextTokenIndex);
      const pieces = new TextPieces(
        (some, before) => this.#model.detokenize(some as Token[], false, before as Token[]),
        request.stop,
      );
      const most = Math.min(request.maxTokens ?? room, room);
      const grammar = await this.#grammarOf(request.format);
      let answerTokens = 0;
      let whole = "";
      let first: number | undefined;
      let reason: "stop" | "length" = "stop";
      const written = sequence.evaluate(rest, {
        temperature: request.temperature ?? 0,
        ...(request.seed === undefined ? {} : { seed: request.seed }),
        ...(grammar === undefined ? {} : { grammarEvaluationState: grammar }),
      });
      for await (const token of written) {
        first ??= performance.now();
        answerTokens++;
        const text = pieces.push(token);
        if (text !== "") send({ kind: "piece", id, piece: { text } });
        whole += grammar === undefined ? "" : text;
        // A grammar lets a model go on with blank space after the last bracket.
        if (signal.aborted || pieces.stopped || (text !== "" && isWholeJson(whole))) break;
        if (answerTokens >= most) {
          reason = "length";
          break;
        }
      }
      signal.throwIfAborted();
      const text = pieces.end();
      const promptMs = (first ?? performance.now()) - began;
      send({
        kind: "piece",
        id,
        piece: {
          text,
          done: {
            reason,
            promptTokens: tokens.length,
            answerTokens,
            promptMs,
            answerMs: performance.now() - began - promptMs,
          },
        },
      });
    } finally {
      release();
    }
  }

  async embed(texts: readonly string[]): Promise<number[][]> {
    this.#embedding ??= this.#model.createEmbeddingContext({
      ...(this.#threads === undefined ? {} : { threads: this.#threads }),
    });
    const context = await this.#embedding;
    const vectors: number[][] = [];
    for (const text of texts) vectors.push([...(await context.getEmbeddingFor(text)).vector]);
    return vectors;
  }

  #tokensOf({ messages }: GenerateRequest): Token[] {
    const { tokens, tokenizer } = this.#model;
    const parts = this.#prompt.render(messages).flatMap(({ text, marks }) => tokenizer(text, marks));
    const { bos } = tokens;
    return tokens.shouldPrependBosToken && bos !== null && parts[0] !== bos ? [bos, ...parts] : parts;
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

const running = new Map<number, AbortController>();
let held: Held | undefined;

function send(reply: WorkerReply): void {
  process.send?.(reply);
}

async function load({ path, threads, contextTokens, slots }: Extract<WorkerRequest, { kind: "load" }>): Promise<void> {
  const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: threads ?? 0 });
  const model = await llama.loadModel({
    modelPath: path,
    useMmap: true,
    onLoadProgress: (ratio) => send({ kind: "progress", ratio }),
  });
  const size = Math.min(contextTokens, model.trainContextSize);
  const context = await model.createContext({
    contextSize: size,
    sequences: slots,
    ...(threads === undefined ? {} : { threads }),
  });
  const sequences = Array.from({ length: slots }, () => context.getSequence());
  held = new Held(llama, model, sequences, threads);
  send({ kind: "loaded", memoryBytes: model.size + context.memoryUsage.ram, contextTokens: context.contextSize });
}

async function serve(request: Exclude<WorkerRequest, { kind: "load" | "cancel" }>): Promise<void> {
  const stop = new AbortController();
  running.set(request.id, stop);
  try {
    if (held === undefined) throw new Error("no model is loaded");
    if (request.kind === "embed") send({ kind: "vectors", id: request.id, vectors: await held.embed(request.texts) });
    else await held.generate(request.id, request.request, stop.signal);
  } catch (error) {
    send({ kind: "failed", id: request.id, message: messageOf(error), refused: error instanceof Refused });
  } finally {
    running.delete(request.id);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

process.on("message", (request: WorkerRequest) => {
  if (request.kind === "load") {
    load(request).catch((error: unknown) => send({ kind: "failed", message: messageOf(error), refused: false }));
  } else if (request.kind === "cancel") running.get(request.id)?.abort(new Error("cancelled"));
  else void serve(request);
});
// The server is gone: nobody is left to answer.
process.on("disconnect", () => process.exit(0));
