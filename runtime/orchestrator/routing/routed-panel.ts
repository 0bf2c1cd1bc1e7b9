import { Counter, type Registry } from "prom-client";
import type { EnsembleConfig } from "../../contracts/ensemble-config.ts";
import { type Routing, RoutingReason } from "../../contracts/routing.ts";
import { type Outcome, type Question, runPipeline, type Watch } from "../../core/pipeline.ts";
import type { Plan } from "../../core/plan.ts";
import type { Ports } from "../../core/ports.ts";
import { Router } from "../../core/routing/router.ts";
import type { Verdicts } from "./verdict-log.ts";

/** What a routed panel is made from. */
export interface RoutedPanelParts {
  config: EnsembleConfig;
  /** The plan of the whole panel. */
  plan: Plan;
  ports: Ports;
  /** Where metrics are counted. */
  registry: Registry;
  /** Where verdicts are kept. Absent: in memory alone. */
  verdicts?: Verdicts;
  /** Whether a member is left alone after failures. */
  isDown: (member: string) => boolean;
}

/** Runs questions through as much of the panel as each needs, and learns from who wins. */
export class RoutedPanel {
  readonly #parts: RoutedPanelParts;
  readonly #router: Router;
  readonly #candidates: readonly string[];
  readonly #routes: Counter<"reason">;
  readonly #heldBack: Counter<"member">;
  readonly #escalations: Counter;

  constructor(parts: RoutedPanelParts) {
    const { config, plan, ports, registry, verdicts } = parts;
    this.#parts = parts;
    this.#router = new Router({ plan, config, random: () => ports.random(), remembered: verdicts?.remembered });
    this.#candidates = plan.stages.filter(({ kind }) => kind === "candidate").map(({ id }) => id);
    const registers = [registry];
    this.#routes = new Counter({
      name: "gorkheavy_routes_total",
      help: "Questions by why they went to the whole panel, or (sure) to a part of it",
      labelNames: ["reason"],
      registers,
    });
    this.#heldBack = new Counter({
      name: "gorkheavy_held_back_total",
      help: "Questions that a candidate was held back from and not needed for",
      labelNames: ["member"],
      registers,
    });
    this.#escalations = new Counter({
      name: "gorkheavy_escalations_total",
      help: "Routed questions that the rest of the panel was asked too, since those asked failed or were late",
      registers,
    });
    const lost = (): number => verdicts?.lost ?? 0;
    new Counter({
      name: "gorkheavy_verdicts_lost_total",
      help: "Verdicts that could not be written to the verdicts file",
      registers,
      collect() {
        this.reset();
        this.inc(lost());
      },
    });
    for (const reason of RoutingReason.options) this.#routes.inc({ reason }, 0);
  }

  /** Asks those whom the question is routed to. @param decided as `runPipeline` @throws Fault as `runPipeline` */
  async run(
    question: Question,
    signal: AbortSignal,
    watch?: Watch,
    decided?: (outcome: Outcome & { routing: Routing }) => void,
  ): Promise<Outcome & { routing: Routing }> {
    const { config, ports, verdicts, isDown } = this.#parts;
    const whole = question.mode === "synthesize" || question.bothOrders === true;
    const down = this.#candidates.filter(isDown);
    const routed = this.#router.route({ text: question.text, turns: question.turns.length, whole }, down);
    const { routing } = routed;
    this.#routes.inc({ reason: routing.reason });
    if (routing.threshold < 1) watch?.({ event: "routing", routing });
    const outcome = await runPipeline(routed.plan, question, ports, signal, watch, (found) =>
      decided?.({ ...found, routing }),
    );
    this.#count(routing, outcome);
    const record = this.#router.learn(routed, outcome, {
      at: new Date().toISOString(),
      ...(config.routing.recordQuestions ? { question: question.text } : {}),
    });
    verdicts?.append(record);
    return { ...outcome, routing };
  }

  #count({ heldBack }: Routing, { stages }: Outcome): void {
    const skipped = stages.filter(({ stage, status }) => stage === "candidate" && status === "skipped");
    for (const { member } of skipped) this.#heldBack.inc({ member });
    if (heldBack.length > skipped.length) this.#escalations.inc();
  }
}
