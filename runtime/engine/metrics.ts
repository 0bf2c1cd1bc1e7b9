import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { monotonicMs } from "../support/clock.ts";
import type { GeneratePiece } from "./backend.ts";
import type { Preloader } from "./residency/preloader.ts";
import type { Residency } from "./residency/residency.ts";

/** How one generation is watched. `end` counts once, the first time it is called. */
export interface Observation {
  piece(piece: GeneratePiece): void;
  end(outcome: "ok" | "stopped"): void;
}

const SECONDS = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** What Ollama does not count (ollama#3144): time to the first token, tokens, loads, what runs now. */
export class EngineMetrics {
  readonly registry = new Registry();
  readonly #generations: Counter<"model" | "outcome">;
  readonly #tokens: Counter<"model" | "kind">;
  readonly #firstToken: Histogram<"model">;
  readonly #duration: Histogram<"model">;

  constructor(residency: Residency, preloader: Preloader) {
    const registers = [this.registry];
    this.#generations = new Counter({
      name: "gorkheavy_engine_generations_total",
      help: "Generations by outcome",
      labelNames: ["model", "outcome"],
      registers,
    });
    this.#tokens = new Counter({
      name: "gorkheavy_engine_tokens_total",
      help: "Tokens read (prompt) and written (answer)",
      labelNames: ["model", "kind"],
      registers,
    });
    this.#firstToken = new Histogram({
      name: "gorkheavy_engine_first_token_seconds",
      help: "From request to first token",
      labelNames: ["model"],
      buckets: SECONDS,
      registers,
    });
    this.#duration = new Histogram({
      name: "gorkheavy_engine_generation_seconds",
      help: "From request to last token",
      labelNames: ["model"],
      buckets: SECONDS,
      registers,
    });
    new Gauge({
      name: "gorkheavy_engine_model_ready",
      help: "1 when the model is loaded and has produced a token",
      labelNames: ["model"],
      registers,
      collect() {
        this.reset();
        for (const model of residency.list()) this.set({ model: model.name }, model.status.state === "ready" ? 1 : 0);
      },
    });
    new Gauge({
      name: "gorkheavy_engine_memory_bytes",
      help: "Memory that models take",
      labelNames: ["model"],
      registers,
      collect() {
        this.reset();
        for (const { name, memoryBytes } of residency.list()) this.set({ model: name }, memoryBytes);
      },
    });
    new Counter({
      name: "gorkheavy_engine_loads_total",
      help: "Loads that succeeded",
      labelNames: ["model"],
      registers,
      collect() {
        this.reset();
        for (const { name, loads } of residency.list()) this.inc({ model: name }, loads);
      },
    });
    new Counter({
      name: "gorkheavy_engine_preloads_total",
      help: "Models loaded ahead of their usual hour, by whether they were asked in it",
      labelNames: ["outcome"],
      registers,
      collect() {
        this.reset();
        this.inc({ outcome: "hit" }, preloader.hits);
        this.inc({ outcome: "miss" }, preloader.misses);
      },
    });
    new Gauge({
      name: "gorkheavy_engine_preload_hit_ratio",
      help: "Share of those loads that were of use, 0 to 1; NaN before the first has shown it",
      registers,
      collect() {
        this.set(preloader.hitRatio ?? Number.NaN);
      },
    });
    new Gauge({
      name: "gorkheavy_engine_in_flight",
      help: "Generations running now",
      labelNames: ["model"],
      registers,
      collect() {
        this.reset();
        for (const model of residency.list()) this.set({ model: model.name }, model.inFlight);
      },
    });
  }

  /** Begins to watch one generation. */
  begin(model: string): Observation {
    const began = monotonicMs();
    let first = true;
    let ended = false;
    return {
      piece: (piece) => {
        if (first && piece.text !== "") {
          first = false;
          this.#firstToken.observe({ model }, (monotonicMs() - began) / 1000);
        }
        if (piece.done === undefined) return;
        this.#tokens.inc({ model, kind: "prompt" }, piece.done.promptTokens);
        this.#tokens.inc({ model, kind: "answer" }, piece.done.answerTokens);
      },
      end: (outcome) => {
        if (ended) return;
        ended = true;
        this.#generations.inc({ model, outcome });
        this.#duration.observe({ model }, (monotonicMs() - began) / 1000);
      },
    };
  }
}
