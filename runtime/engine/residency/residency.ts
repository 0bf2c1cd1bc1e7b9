import { Fault } from "../../core/fault.ts";
import { monotonicMs } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";
import type { Backend, LoadedModel } from "../backend.ts";
import type { ModelFacts } from "../library.ts";
import { type ModelState, type ModelStatus, retryAfter } from "./status.ts";

/** How a model is asked for. */
export interface LeaseOptions {
  /** How long it stays in memory after the last token of this request, ms; `Infinity` is for ever. Absent: as the engine is set. */
  keepAliveMs?: number;
  /** Longest wait for a load, ms; 0 waits for none. Absent: as the engine is set. */
  waitMs?: number;
  /** Ends the wait. */
  signal?: AbortSignal;
}

/** A model that is held in memory for one request. */
export interface Lease {
  readonly model: LoadedModel;
  /** A token was written: the time of being idle begins anew. */
  touch: () => void;
  /** Ends the request; the second time nothing. */
  release: () => void;
}

interface Entry {
  name: string;
  facts: ModelFacts | undefined;
  status: ModelState;
  loaded?: LoadedModel;
  loading?: Promise<LoadedModel>;
  inFlight: number;
}

/** Longest wait of a warming token, ms; a model that has not produced one by then is not ready. */
const WARM_MS = 120_000;

/** Longest wait that can be asked for, ms: a day. */
const LONGEST_WAIT_MS = 86_400_000;

/** The models of one engine and which of them are in memory. However many ask for a model, it is loaded once. */
export class Residency {
  readonly #backend: Backend;
  readonly #log: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #stop = new AbortController();

  constructor(backend: Backend, log: Logger) {
    this.#backend = backend;
    this.#log = log;
  }

  /** Adds a model by name, without loading it. */
  async add(name: string): Promise<void> {
    const known = this.#entries.get(name);
    const facts = await this.#backend.library.facts(name);
    if (known !== undefined) known.facts = facts;
    else this.#entries.set(name, { name, facts, status: { state: "absent" }, inFlight: 0 });
  }

  /** The name under which a model is known here: as given, or with `:latest`. Undefined when there is none. */
  resolve(name: string): string | undefined {
    return [name, `${name}:latest`].find((one) => this.#entries.has(one));
  }

  /** All models, in the order in which they were added. */
  list(): ModelStatus[] {
    return [...this.#entries.values()].map((entry) => ({
      name: entry.name,
      facts: entry.facts,
      status: entry.status,
      memoryBytes: entry.loaded?.memoryBytes ?? 0,
      inFlight: entry.inFlight,
    }));
  }

  /** One model. @throws Fault unknown_model */
  status(name: string): ModelStatus {
    const entry = this.#entry(name);
    const found = this.list().find((one) => one.name === entry.name);
    if (found === undefined) throw unknown(name);
    return found;
  }

  /** Loads a model unless it is in memory; callers at the same time share one load. @throws Fault unknown_model, model_failed */
  load(name: string): Promise<LoadedModel> {
    const entry = this.#entry(name);
    if (entry.loaded !== undefined) return Promise.resolve(entry.loaded);
    entry.loading ??= this.#load(entry).finally(() => {
      entry.loading = undefined;
    });
    return entry.loading;
  }

  /**
   * Takes a ready model for one generation; call `release` when it is over.
   * A model that is absent starts to load. @throws Fault model_loading with Retry-After until it is ready; unknown_model
   */
  acquire(name: string, { keepAliveMs }: LeaseOptions = {}): Lease {
    const entry = this.#entry(name);
    if (entry.status.state === "absent") this.load(name).catch(() => undefined);
    const { loaded, status } = entry;
    if (loaded === undefined || status.state !== "ready") throw notReady(entry.name, entry.status);
    entry.inFlight++;
    let released = false;
    return {
      model: loaded,
      touch: () => undefined,
      release: () => {
        if (released) return;
        released = true;
        entry.inFlight--;
        if (keepAliveMs !== undefined) this.keep(entry.name, keepAliveMs);
      },
    };
  }

  /**
   * Takes a model for one generation, and waits for its load as long as told.
   * @throws Fault model_loading with Retry-After when the wait is over, model_failed, unknown_model, cancelled
   */
  async lease(name: string, options: LeaseOptions = {}): Promise<Lease> {
    const { waitMs = 0, signal } = options;
    const { status } = this.#entry(name);
    if (status.state !== "ready" && status.state !== "failed" && waitMs > 0) {
      const over = AbortSignal.any([
        AbortSignal.timeout(Math.min(waitMs, LONGEST_WAIT_MS)),
        ...(signal ? [signal] : []),
      ]);
      await Promise.race([
        this.load(name).catch(() => undefined),
        new Promise((resolve) => over.addEventListener("abort", resolve, { once: true })),
      ]);
      if (signal?.aborted === true) throw new Fault("cancelled", "the client went away");
    }
    return this.acquire(name, options);
  }

  /** How long a model stays in memory from now on when nobody asks it, ms; 0 lets it go as soon as nobody does. @throws Fault unknown_model */
  keep(name: string, keepAliveMs: number): void {
    if (keepAliveMs === 0) void this.unload(name);
  }

  /** Takes a model out of memory. Does nothing while a generation runs, or when it is not in memory; says whether it did. */
  async unload(name: string): Promise<boolean> {
    const entry = this.#entry(name);
    const { loaded } = entry;
    if (loaded === undefined || entry.inFlight > 0) return false;
    entry.loaded = undefined;
    entry.status = { state: "absent" };
    await loaded.unload();
    return true;
  }

  /** Takes a name away, and its model out of memory. Does nothing for a name that is not known. */
  remove(name: string): void {
    const entry = this.#entries.get(this.resolve(name) ?? name);
    if (entry === undefined) return;
    this.#entries.delete(entry.name);
    void entry.loaded?.unload();
  }

  /** Stops loads and frees all memory. */
  async close(): Promise<void> {
    this.#stop.abort(new Fault("draining", "the engine is stopping"));
    await Promise.allSettled([...this.#entries.values()].map(async (entry) => entry.loaded?.unload()));
  }

  /** A model died under its requests: they have failed, the next ones find it loading again. */
  #lost(entry: Entry, loaded: LoadedModel, reason: string): void {
    if (entry.loaded !== loaded) return;
    this.#log.error({ model: entry.name, reason }, "model lost, loading it again");
    entry.loaded = undefined;
    entry.status = { state: "absent" };
    this.load(entry.name).catch(() => undefined);
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(this.resolve(name) ?? name);
    if (entry === undefined) throw unknown(name);
    return entry;
  }

  async #load(entry: Entry): Promise<LoadedModel> {
    const sinceMs = monotonicMs();
    entry.status = { state: "loading", progress: 0, sinceMs };
    try {
      const progress = (ratio: number): void => {
        entry.status = { state: "loading", progress: ratio, sinceMs };
      };
      const loaded = await this.#backend.load(entry.name, progress, this.#stop.signal);
      await warm(loaded, this.#stop.signal);
      // What had to be read whole is known now: the digest that is loaded.
      entry.facts = (await this.#backend.library.facts(entry.name)) ?? entry.facts;
      const loadMs = monotonicMs() - sinceMs;
      entry.loaded = loaded;
      entry.status = { state: "ready", loadMs };
      void loaded.gone?.then((reason) => this.#lost(entry, loaded, reason));
      this.#log.info({ model: entry.name, loadMs: Math.round(loadMs) }, "model ready");
      return loaded;
    } catch (error) {
      const reason = error instanceof Error ? error.message : "the backend gave no reason";
      entry.status = { state: "failed", reason };
      this.#log.error({ model: entry.name, err: error }, "model failed to load");
      throw new Fault("model_failed", `${entry.name} failed to load: ${reason}`, { cause: error });
    }
  }
}

/** Ready is not said before the model has produced one token. */
async function warm(loaded: LoadedModel, stop: AbortSignal): Promise<void> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(WARM_MS)]);
  for await (const piece of loaded.generate({ messages: [{ role: "user", content: "Hello" }], maxTokens: 1 }, signal)) {
    if (piece.text !== "") return;
  }
  throw new Error("it produced no token");
}

function unknown(name: string): Fault {
  return new Fault("unknown_model", `model '${name}' not found, try pulling it first`);
}

/** The fault of a model that cannot answer yet; its state, progress and a time to come back. */
function notReady(name: string, status: ModelState): Fault {
  if (status.state === "failed") return new Fault("model_failed", `${name} failed to load: ${status.reason}`);
  const progress = status.state === "loading" ? `${Math.floor(status.progress * 100)} %` : "0 %";
  return new Fault("model_loading", `${name} is loading (${progress}); try again soon`, {
    retryAfterSeconds: retryAfter(status),
  });
}
