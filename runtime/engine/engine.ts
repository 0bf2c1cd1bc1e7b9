import { createHash, timingSafeEqual } from "node:crypto";
import { Fault } from "../core/fault.ts";
import type { Logger } from "../support/log.ts";
import type { Backend, GeneratePiece, GenerateRequest } from "./backend.ts";
import { EngineMetrics } from "./metrics.ts";
import { Residency } from "./residency.ts";

/** What an engine is made of. */
export interface EngineOptions {
  backend: Backend;
  /** Models that it serves; they are loaded at start. */
  models: readonly string[];
  /** Token of whoever may change the engine. Absent: nobody may. */
  adminToken?: string;
  log: Logger;
}

/** One model server without its ports. */
export class Engine {
  readonly backend: Backend;
  readonly residency: Residency;
  readonly metrics: EngineMetrics;
  readonly #log: Logger;
  readonly #adminToken: Buffer | undefined;
  readonly #models: readonly string[];
  #draining = false;

  constructor(options: EngineOptions) {
    this.backend = options.backend;
    this.#log = options.log;
    this.residency = new Residency(options.backend, options.log);
    this.metrics = new EngineMetrics(this.residency);
    this.#models = options.models;
    this.#adminToken = options.adminToken === undefined ? undefined : digest(options.adminToken);
  }

  /** Registers the models; the loads go on after it returns, and are seen in their states. */
  async start(): Promise<void> {
    for (const model of this.#models) await this.residency.add(model);
    for (const model of this.#models) this.residency.load(model).catch(() => undefined);
  }

  /** Whether it is stopping; it then is not ready any more. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Says not ready from now on; what runs goes on. */
  drain(): void {
    this.#draining = true;
  }

  /** Streams an answer of a ready model, counted and timed. @throws Fault unknown_model, model_loading, model_failed, cancelled */
  async *generate(name: string, request: GenerateRequest, signal: AbortSignal): AsyncIterable<GeneratePiece> {
    const { model, release } = this.residency.acquire(name);
    const stop = new AbortController();
    const cancel = (): void => stop.abort(new Fault("cancelled", "the client went away"));
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
    const observe = this.metrics.begin(this.residency.resolve(name) ?? name);
    try {
      for await (const piece of model.generate(request, stop.signal)) {
        observe.piece(piece);
        if (piece.done !== undefined) this.#said(name, piece.done);
        yield piece;
      }
      observe.end("ok");
    } catch (error) {
      if (signal.aborted) throw new Fault("cancelled", "the client went away", { cause: error });
      if (error instanceof Fault) throw error;
      throw new Fault("model_failed", `${name}: ${error instanceof Error ? error.message : "failed"}`, {
        cause: error,
      });
    } finally {
      observe.end("stopped");
      signal.removeEventListener("abort", cancel);
      // A consumer that stops reading lands here too, and the backend must stop with it.
      stop.abort(new Fault("cancelled", "the answer is no longer read"));
      release();
    }
  }

  #said(model: string, done: NonNullable<GeneratePiece["done"]>): void {
    const { reason, promptTokens, answerTokens, promptMs, answerMs } = done;
    const times = { promptMs: Math.round(promptMs), answerMs: Math.round(answerMs) };
    this.#log.info({ model, reason, promptTokens, answerTokens, ...times }, "generated");
  }

  /** @param header the `authorization` header. @throws Fault unauthorized without a token, forbidden with another */
  requireAdmin(header: string | undefined): void {
    if (header === undefined)
      throw new Fault("unauthorized", "this changes the engine: want authorization: Bearer <admin token>");
    const given = digest(header.replace(/^Bearer\s+/i, ""));
    if (this.#adminToken === undefined || !timingSafeEqual(given, this.#adminToken)) {
      throw new Fault("forbidden", "the admin token is wrong, or this engine has none (GORKHEAVY_ADMIN_TOKEN)");
    }
  }

  /** Frees everything. */
  close(): Promise<void> {
    this.#draining = true;
    return this.residency.close();
  }
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
