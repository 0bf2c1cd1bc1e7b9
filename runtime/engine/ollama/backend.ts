import { z } from "zod";
import { OllamaPs } from "../../contracts/ollama.ts";
import { Fault } from "../../core/fault.ts";
import type { Backend, GeneratePiece, GenerateRequest, LoadedModel } from "../backend.ts";
import { UpstreamServer, type UpstreamServerOptions } from "../upstream/server.ts";
import { VIGIL, Vigil, type VigilOptions } from "../upstream/vigil.ts";
import { untilReached } from "../upstream/reach.ts";
import { bareDigest, drifted, OllamaLibrary, type OllamaTag, tagged } from "./library.ts";
import { callOf, type OllamaRunner, piecesOf } from "./wire.ts";

/** How models of an Ollama server are loaded. */
export interface OllamaOptions extends UpstreamServerOptions {
  /** Window of every model, tokens. @default 4096 */
  contextTokens?: number;
  /** Threads of the inference there; absent: the server's choice, which counts its host's cores (ollama#17916). */
  threads?: number;
  /** Digests that models must have, by name: those that `/api/tags` tells, 64 hex digits. A model without a pin may be any. */
  pins?: ReadonlyMap<string, string>;
  /** How long the server keeps a model of which it hears nothing, ms; the model is held again in time for as long as it is loaded here. @default 300000, the server's own */
  leaseMs?: number;
  /** Longest wait for a server that does not answer at a load, ms. @default 60000 */
  reachMs?: number;
  vigil?: VigilOptions;
}

const LEASE_MS = 300_000;
const Embedded = z.looseObject({
  embeddings: z.array(z.array(z.number())),
  prompt_eval_count: z.int().min(0).default(0),
});
const Loaded = z.looseObject({ done: z.boolean() });

/** Inference by an Ollama server elsewhere. When it lets go of a model is decided here, with its keep-alive renewed until the unload. */
export function ollamaBackend(options: OllamaOptions): Backend {
  const server = new UpstreamServer(options);
  const library = new OllamaLibrary(server);
  return {
    name: "ollama",
    library,
    load: async (model, progress, signal) => {
      const patient = <T>(work: () => Promise<T>): Promise<T> => untilReached(work, signal, options.reachMs);
      const look = async (): Promise<OllamaTag> => {
        const tag = await patient(() => library.tag(model, signal));
        if (tag === undefined)
          throw new Fault("unknown_model", `model '${model}' is not on ${server.at}; pull it first`);
        const digest = bareDigest(tag.digest);
        const pin = options.pins?.get(model);
        // An engine of ours knows the digest of a local file only when it has loaded it.
        if (pin !== undefined && digest !== undefined && bareDigest(pin) !== digest) throw drifted(model, pin, digest);
        return tag;
      };
      await look();
      const remote = new RemoteModel(server, library, model, options);
      await patient(() => remote.warm(signal));
      const tag = await look();
      if (options.pins?.has(model) === true && tag.digest === undefined)
        throw drifted(model, options.pins.get(model) ?? "", undefined);
      progress(1);
      return remote.loaded(tag, signal);
    },
  };
}

/** One model on an Ollama server. */
class RemoteModel {
  readonly #server: UpstreamServer;
  readonly #library: OllamaLibrary;
  readonly #model: string;
  readonly #runner: OllamaRunner;
  readonly #leaseMs: number;
  readonly #vigil: VigilOptions;
  #heldMs = 0;

  constructor(server: UpstreamServer, library: OllamaLibrary, model: string, options: OllamaOptions) {
    const { contextTokens = 4096, threads, leaseMs = LEASE_MS, vigil = VIGIL } = options;
    this.#server = server;
    this.#library = library;
    this.#model = model;
    this.#runner = { num_ctx: contextTokens, ...(threads === undefined ? {} : { num_thread: threads }) };
    this.#leaseMs = leaseMs;
    this.#vigil = vigil;
  }

  /** Has one token written: the model is in memory then, and works. @throws Fault */
  async warm(signal: AbortSignal): Promise<void> {
    const ask: GenerateRequest = { messages: [{ role: "user", content: "Hello" }], maxTokens: 1 };
    for await (const { done } of this.#generate(ask, signal)) {
      if ((done?.answerTokens ?? 0) > 0) return;
    }
    throw new Fault("model_failed", `${this.#server.at}: ${this.#model} produced no token`);
  }

  /** What the engine holds of it, watched from now on. */
  async loaded(tag: OllamaTag, signal: AbortSignal): Promise<LoadedModel> {
    const memoryBytes = (await this.#held(signal))?.size ?? tag.size ?? 0;
    const digest = bareDigest(tag.digest);
    const vigil = new Vigil(this.#vigil, (stop) => this.#look(digest, stop));
    return {
      memoryBytes,
      gone: vigil.gone,
      generate: (request, stop) => this.#watched(request, stop, vigil),
      embed: async (texts, stop, truncate = false) => {
        const body = { model: this.#model, input: texts, truncate, keep_alive: this.#lease(), options: this.#runner };
        const answer = await this.#server.ask("POST", "/api/embed", Embedded, stop, body);
        return { vectors: answer.embeddings, promptTokens: answer.prompt_eval_count };
      },
      unload: async () => {
        vigil.end();
        await this.#hold("0", AbortSignal.timeout(this.#vigil.lookMs)).catch(away);
      },
    };
  }

  async *#watched(request: GenerateRequest, signal: AbortSignal, vigil: Vigil): AsyncIterable<GeneratePiece> {
    try {
      yield* this.#generate(request, AbortSignal.any([signal, vigil.lost]));
    } catch (error) {
      throw vigil.judged(error, signal, this.#model);
    }
  }

  async *#generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GeneratePiece> {
    const { path, body } = callOf(this.#model, request, this.#runner, this.#lease());
    yield* piecesOf(this.#server, this.#server.lines(path, body, signal), request.choices);
  }

  /** Why the model is lost; undefined while it is not. @throws Fault when the server does not answer */
  async #look(loaded: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const now = await this.#library.tag(this.#model, signal);
    if (now === undefined) return `${this.#model} was taken away from ${this.#server.at}`;
    const digest = bareDigest(now.digest);
    if (loaded !== undefined && digest !== loaded)
      return `${this.#model} became another model on ${this.#server.at}: ${digest ?? "unknown"}, was ${loaded}`;
    if ((await this.#held(signal)) === undefined) return `${this.#server.at} let go of ${this.#model}`;
    if (performance.now() - this.#heldMs > this.#leaseMs / 2) await this.#hold(this.#lease(), signal);
    return undefined;
  }

  async #held(signal: AbortSignal): Promise<OllamaPs["models"][number] | undefined> {
    const { models } = await this.#server.ask("GET", "/api/ps", OllamaPs, signal);
    return models.find(({ name }) => tagged(name) === tagged(this.#model));
  }

  /** An empty prompt sets the keep-alive anew and asks for nothing. */
  async #hold(keepAlive: string, signal: AbortSignal): Promise<void> {
    const body = {
      model: this.#model,
      stream: false,
      keep_alive: keepAlive === "0" ? 0 : keepAlive,
      options: this.#runner,
    };
    await this.#server.ask("POST", "/api/generate", Loaded, signal, body);
  }

  /** The keep-alive of a call that is made now. */
  #lease(): string {
    this.#heldMs = performance.now();
    return `${Math.max(1, Math.ceil(this.#leaseMs / 1000))}s`;
  }
}

/** A server that is away, or a model that is not there any more, holds no memory for us; one that does not answer lets go of it by itself in time. */
function away(error: unknown): void {
  if (error instanceof Fault && ["model_unreachable", "unknown_model"].includes(error.code)) return;
  if (error instanceof Error && error.name === "TimeoutError") return;
  throw error;
}
