import { Fault } from "../core/fault.ts";
import type { Logger } from "../support/log.ts";
import { memoryLimit } from "../support/memory-limit.ts";
import { digestOfSecret, isSecretOf } from "../support/secret.ts";
import type { Backend, GeneratePiece, GenerateRequest } from "./backend.ts";
import type { Library } from "./library.ts";
import { EngineLifecycle } from "./lifecycle.ts";
import { EngineMetrics } from "./metrics.ts";
import { SYSTEM_CLOCK } from "./residency/clock.ts";
import { Preloader, type Usage } from "./residency/preloader.ts";
import { type LeaseOptions, Residency } from "./residency/residency.ts";
import type { ResidencyRules } from "./residency/rules.ts";
import { type Readiness, readinessOf } from "./residency/status.ts";

/** What an engine is made of. */
export interface EngineOptions {
  backend: Backend;
  /** Models that it serves; they are loaded at start. */
  models: readonly string[];
  /** Models that are loaded when they are asked for. */
  onDemand?: readonly string[];
  /** Token of whoever may change the engine. Absent: nobody may. */
  adminToken?: string;
  log: Logger;
  /** Whether the library's other models are served, too, once somebody asks for them: those that were pulled or made before a restart. @default false */
  stored?: boolean;
  /** Whether models are loaded ahead of the hours in which they are usually asked. @default false */
  predictivePreload?: boolean;
  /** What is known of those hours, and how it is kept. Absent: nothing is known at start, and it is forgotten at the end. */
  usage?: Usage;
  /** How models are kept in memory. Absent: as usual. */
  rules?: Partial<ResidencyRules>;
  /** Memory that this process may have, bytes. @default what its control group and its machine say */
  limitBytes?: number;
}

/** One model server without its ports. */
export class Engine {
  readonly backend: Backend;
  readonly residency: Residency;
  readonly metrics: EngineMetrics;
  readonly lifecycle: EngineLifecycle;
  readonly preloader: Preloader;
  readonly #log: Logger;
  #adminToken: Buffer | undefined;
  #models: readonly string[];
  #onDemand: readonly string[];
  readonly #stored: boolean;
  #draining = false;

  constructor(options: EngineOptions) {
    this.backend = options.backend;
    this.#log = options.log;
    this.lifecycle = new EngineLifecycle(options.log);
    this.residency = new Residency(options.backend, options.log, {
      limitBytes: options.limitBytes ?? memoryLimit(),
      ...(options.rules === undefined ? {} : { rules: options.rules }),
      activity: (activity, model) => this.lifecycle.begin(activity, model),
      changed: () => this.#settle(),
      used: (model, ready) => this.preloader.used(model, ready),
    });
    const preload = (model: string, untilMs: number): boolean => this.residency.preload(model, untilMs);
    this.preloader = new Preloader(SYSTEM_CLOCK, preload, options.usage);
    this.preloader.turn(options.predictivePreload === true);
    this.metrics = new EngineMetrics(this.residency, this.preloader);
    this.#models = options.models;
    this.#onDemand = options.onDemand ?? [];
    this.#stored = options.stored ?? false;
    this.#setAdminToken(options.adminToken);
  }

  /** Which models are there, and the verbs that change it. */
  get library(): Library {
    return this.backend.library;
  }

  /** Registers the models; what has to be read and loaded goes on after it returns, and is seen in their states. */
  start(): void {
    this.lifecycle.apply("Engine Started");
    this.#register();
    if (this.#stored) void this.#adopt();
    this.#settle();
  }

  /** Makes the library's other models known. */
  async #adopt(): Promise<void> {
    try {
      for (const { name } of await this.library.list()) {
        if (this.residency.resolve(name) === undefined) this.residency.register(name);
      }
    } catch (error) {
      this.#log.error({ err: error }, "the store's models cannot be listed, only those that are named are served");
    }
  }

  /**
   * Takes over what may change while it runs. Models that are no longer named are taken away, new ones come, and where a name has other weights now
   * they are swapped; what was pulled or made meanwhile stays.
   */
  async reconfigure(
    next: Pick<EngineOptions, "models" | "onDemand" | "adminToken" | "rules" | "predictivePreload">,
  ): Promise<void> {
    const named = [...next.models, ...(next.onDemand ?? [])];
    const before = [...this.#models, ...this.#onDemand];
    this.#setAdminToken(next.adminToken);
    this.#models = next.models;
    this.#onDemand = next.onDemand ?? [];
    this.residency.configure(next.rules ?? {});
    this.preloader.turn(next.predictivePreload === true);
    for (const name of before) if (!named.includes(name)) this.residency.remove(name);
    this.#register();
    await Promise.all(named.filter((name) => before.includes(name)).map((name) => this.residency.refresh(name)));
    this.#settle();
  }

  #register(): void {
    for (const model of this.#models) this.residency.register(model, true);
    for (const model of this.#onDemand) this.residency.register(model);
  }

  #setAdminToken(token: string | undefined): void {
    this.#adminToken = token === undefined ? undefined : digestOfSecret(token);
  }

  /** Whether it answers for what it promised. */
  readiness(): Readiness {
    return readinessOf(this.residency.list(), this.#draining);
  }

  /** Goes on to Serving once every model that it was started with has given a token. */
  #settle(): void {
    if (this.lifecycle.state !== "Model_Register" || !this.readiness().ready) return;
    for (const reason of ["Model Loaded", "Cognitive Layer Active", "Health Check Pass"] as const)
      this.lifecycle.apply(reason);
  }

  /** Where its APIs say what they did not foresee. */
  get log(): Logger {
    return this.#log;
  }

  /** Whether it is stopping; it then is not ready any more. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Says not ready from now on; what runs goes on. */
  drain(): void {
    if (!this.#draining) this.lifecycle.apply("Delete Request");
    this.#draining = true;
  }

  /**
   * Streams an answer, counted and timed.
   * @param lease how long the model stays, and how long a load is waited for
   * @throws Fault unknown_model, model_loading, model_failed, cancelled
   */
  async *generate(
    name: string,
    request: GenerateRequest,
    signal: AbortSignal,
    lease: LeaseOptions = {},
  ): AsyncIterable<GeneratePiece> {
    const { model, release, touch } = await this.residency.lease(name, { signal, ...lease });
    const walk = this.lifecycle.request();
    const stop = new AbortController();
    const cancel = (): void => stop.abort(new Fault("cancelled", "the client went away"));
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
    const observe = this.metrics.begin(this.residency.resolve(name) ?? name);
    try {
      for await (const piece of model.generate(request, stop.signal)) {
        observe.piece(piece);
        touch();
        if (piece.done === undefined) walk.process();
        else walk.respond();
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
      walk.end();
    }
  }

  #said(model: string, done: NonNullable<GeneratePiece["done"]>): void {
    const { reason, promptTokens, answerTokens, promptMs, answerMs } = done;
    const times = { promptMs: Math.round(promptMs), answerMs: Math.round(answerMs) };
    this.#log.info({ model, reason, promptTokens, answerTokens, ...times }, "generated");
  }

  /** @param header the `authorization` header. @throws Fault unauthorized without one, forbidden with another token or where there is none to show */
  requireAdmin(header: string | undefined): void {
    if (this.#adminToken === undefined)
      throw new Fault("forbidden", "nobody may change this engine: it was started without GORKHEAVY_ADMIN_TOKEN");
    if (header === undefined)
      throw new Fault("unauthorized", "this changes the engine: want authorization: Bearer <admin token>", {
        headers: { "www-authenticate": "Bearer" },
      });
    const [, token] = /^Bearer +(\S+)$/i.exec(header.trim()) ?? [];
    if (token === undefined || !isSecretOf(token, this.#adminToken))
      throw new Fault("forbidden", "the admin token is wrong; want authorization: Bearer <GORKHEAVY_ADMIN_TOKEN>");
  }

  /** Frees everything. */
  async close(): Promise<void> {
    this.drain();
    const kept = this.preloader.close();
    this.lifecycle.apply("Graceful Shutdown");
    await this.residency.close();
    await kept;
    this.lifecycle.apply("Resources Released");
  }
}
