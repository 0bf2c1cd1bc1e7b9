import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { TokensUsed } from "../gate.ts";
import type { Relayed } from "./relay.ts";

const SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 180];

/** What the pass-through counts, by member. */
export class PassMetrics {
  readonly #total: Counter<"member" | "outcome">;
  readonly #seconds: Histogram<"member">;
  readonly #firstByte: Histogram<"member">;
  readonly #tokens: Counter<"member" | "kind">;

  /** @param inFlight what the gauge shows when somebody looks. */
  constructor(registry: Registry, inFlight: () => number) {
    const registers = [registry];
    this.#total = new Counter({
      name: "gorkheavy_passed_total",
      help: "Calls passed to one member, by how they ended",
      labelNames: ["member", "outcome"],
      registers,
    });
    this.#seconds = new Histogram({
      name: "gorkheavy_passed_seconds",
      help: "From a passed call's body to its answer's end",
      labelNames: ["member"],
      buckets: SECONDS,
      registers,
    });
    this.#firstByte = new Histogram({
      name: "gorkheavy_passed_first_byte_seconds",
      help: "From a passed call's body to its answer's first byte",
      labelNames: ["member"],
      buckets: SECONDS,
      registers,
    });
    this.#tokens = new Counter({
      name: "gorkheavy_passed_tokens_total",
      help: "Tokens of passed calls, by what the members' servers said",
      labelNames: ["member", "kind"],
      registers,
    });
    new Gauge({
      name: "gorkheavy_passed_in_flight",
      help: "Calls passed to one member now",
      registers,
      collect() {
        this.set(inFlight());
      },
    });
  }

  /** Counts a call that has ended. */
  ended(member: string, { outcome, firstByteMs }: Relayed, ms: number, used: TokensUsed): void {
    this.#total.inc({ member, outcome });
    this.#seconds.observe({ member }, ms / 1000);
    if (firstByteMs !== undefined) this.#firstByte.observe({ member }, firstByteMs / 1000);
    if (used.promptTokens > 0) this.#tokens.inc({ member, kind: "prompt" }, used.promptTokens);
    if (used.answerTokens > 0) this.#tokens.inc({ member, kind: "answer" }, used.answerTokens);
  }
}
