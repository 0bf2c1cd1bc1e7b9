import type { EngineModel, EngineModelEvent } from "../../contracts/engine-api.ts";
import { Pipe } from "../../support/pipe.ts";
import type { Engine } from "../engine.ts";
import { describe } from "./describe.ts";

/** How often the states are looked at while somebody watches them, ms: a person sees a change at once. */
const LOOK_MS = 100;

type Watcher = (event: EngineModelEvent) => void;

/** Tells of models whose state has changed: one look at them serves all who watch, and nobody looks while nobody watches. */
export class ModelChanges {
  readonly #engine: Engine;
  readonly #watchers = new Set<Watcher>();
  #seen = new Map<string, string>();
  #looking: NodeJS.Timeout | undefined;
  readonly #closed = new AbortController();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Has all models told as they are now, and from then on those that change. @returns ends it */
  watch(watcher: Watcher): () => void {
    if (this.#watchers.size === 0) this.#seen = seenOf(this.#models());
    else this.#look();
    for (const model of this.#models()) watcher({ event: "model", model });
    this.#watchers.add(watcher);
    this.#looking ??= setInterval(() => this.#look(), LOOK_MS);
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size > 0) return;
      clearInterval(this.#looking);
      this.#looking = undefined;
    };
  }

  /** The same as a stream that ends with the signal. What a slow reader has not taken of one model is replaced by what is newer. */
  async *stream(signal: AbortSignal): AsyncIterable<EngineModelEvent> {
    const wake = new Pipe<true>();
    const waiting = new Map<string, EngineModelEvent>();
    const end = this.watch((event) => {
      const name = event.event === "gone" ? event.name : event.model.name;
      if (waiting.size === 0) wake.push(true);
      waiting.delete(name);
      waiting.set(name, event);
    });
    const stop = (): void => wake.end();
    const over = AbortSignal.any([signal, this.#closed.signal]);
    over.addEventListener("abort", stop, { once: true });
    if (over.aborted) stop();
    try {
      for await (const awake of wake) {
        for (let [first] = waiting; awake && first !== undefined; [first] = waiting) {
          waiting.delete(first[0]);
          yield first[1];
        }
      }
    } finally {
      over.removeEventListener("abort", stop);
      end();
    }
  }

  /** Ends all streams: the engine stops. */
  close(): void {
    this.#closed.abort();
  }

  #models(): EngineModel[] {
    return this.#engine.residency.list().map(describe);
  }

  #look(): void {
    const before = this.#seen;
    const models = this.#models();
    this.#seen = seenOf(models);
    for (const model of models) {
      if (before.get(model.name) !== this.#seen.get(model.name)) this.#tell({ event: "model", model });
    }
    for (const name of before.keys()) if (!this.#seen.has(name)) this.#tell({ event: "gone", name });
  }

  #tell(event: EngineModelEvent): void {
    for (const watcher of this.#watchers) watcher(event);
  }
}

/** What of each model is told when it changes; how many answers it writes is asked for, not told. */
function seenOf(models: readonly EngineModel[]): Map<string, string> {
  return new Map(
    models.map((model) => [model.name, JSON.stringify({ ...model, inFlight: undefined, expiresAtMs: undefined })]),
  );
}
