import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { FAULT_CODES } from "../contracts/errors.ts";
import type { Stage } from "../contracts/native.ts";
import type { Fault } from "../core/fault.ts";
import type { Outcome } from "../core/pipeline.ts";
import { type MemoryState, TURN_OUTCOMES, type TurnOutcome } from "../memory/memory.ts";

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 180];
/** From a large model on one slow core to a tiny one on a fast machine. */
const TOKENS_PER_SECOND = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/** What the service counts; no prompt, answer, user or conversation is ever a label. */
export class EnsembleMetrics {
  readonly registry = new Registry();
  readonly #questions: Counter<"outcome">;
  readonly #duration: Histogram;
  readonly #stage: Histogram<"stage" | "member">;
  readonly #firstToken: Histogram<"stage" | "member">;
  readonly #rate: Histogram<"stage" | "member">;
  readonly #stages: Counter<"stage" | "member" | "status">;
  readonly #retries: Counter<"member">;
  readonly #hedges: Counter<"member">;
  readonly #tokens: Counter<"member" | "kind">;
  readonly #truncated: Counter<"member">;
  readonly #decisions: Counter<"by">;
  readonly #wins: Counter<"member">;
  readonly #orders: Counter<"outcome">;
  readonly #persuaders: Counter<"member">;
  readonly #turns: Counter<"outcome">;

  /** @param now what the gauges show when somebody looks. */
  constructor(
    now: () => {
      inFlight: number;
      memory: MemoryState & { recent: number };
      breakers: { member: string; pod: string; open: boolean }[];
    },
  ) {
    const registers = [this.registry];
    this.#questions = new Counter({
      name: "gorkheavy_questions_total",
      help: "Questions by outcome: answered, or the code of the fault",
      labelNames: ["outcome"],
      registers,
    });
    this.#duration = new Histogram({
      name: "gorkheavy_question_seconds",
      help: "From question to reply",
      buckets: SECONDS,
      registers,
    });
    this.#stage = new Histogram({
      name: "gorkheavy_stage_seconds",
      help: "Time of one stage",
      labelNames: ["stage", "member"],
      buckets: SECONDS,
      registers,
    });
    this.#firstToken = new Histogram({
      name: "gorkheavy_stage_first_token_seconds",
      help: "From a stage's start to its first word",
      labelNames: ["stage", "member"],
      buckets: SECONDS,
      registers,
    });
    this.#rate = new Histogram({
      name: "gorkheavy_stage_tokens_per_second",
      help: "Tokens a second that a member wrote after its first",
      labelNames: ["stage", "member"],
      buckets: TOKENS_PER_SECOND,
      registers,
    });
    this.#stages = new Counter({
      name: "gorkheavy_stages_total",
      help: "Stages by how they ended",
      labelNames: ["stage", "member", "status"],
      registers,
    });
    this.#retries = new Counter({
      name: "gorkheavy_retries_total",
      help: "Calls begun anew after a broken connection",
      labelNames: ["member"],
      registers,
    });
    this.#hedges = new Counter({
      name: "gorkheavy_hedges_total",
      help: "Second calls made beside slow ones",
      labelNames: ["member"],
      registers,
    });
    this.#tokens = new Counter({
      name: "gorkheavy_tokens_total",
      help: "Tokens that members read and wrote",
      labelNames: ["member", "kind"],
      registers,
    });
    this.#truncated = new Counter({
      name: "gorkheavy_truncated_total",
      help: "Prompts that did not fit the context window whole",
      labelNames: ["member"],
      registers,
    });
    this.#decisions = new Counter({
      name: "gorkheavy_decisions_total",
      help: "Winners by what they were found by",
      labelNames: ["by"],
      registers,
    });
    this.#orders = new Counter({
      name: "gorkheavy_judge_orders_total",
      help: "Questions judged in both orders, by whether the judge named the same answer: the flip rate is flipped over all",
      labelNames: ["outcome"],
      registers,
    });
    for (const outcome of ["same", "flipped"]) this.#orders.inc({ outcome }, 0);
    this.#persuaders = new Counter({
      name: "gorkheavy_judge_addressed_total",
      help: "Answers that spoke to the judge instead of to the user, such as by asking to be chosen; these questions are judged in both orders",
      labelNames: ["member"],
      registers,
    });
    this.#wins = new Counter({
      name: "gorkheavy_wins_total",
      help: "Questions won",
      labelNames: ["member"],
      registers,
    });
    for (const code of FAULT_CODES) this.#questions.inc({ outcome: code }, 0);
    this.#questions.inc({ outcome: "answered" }, 0);
    new Gauge({
      name: "gorkheavy_questions_in_flight",
      help: "Questions worked on now",
      registers,
      collect() {
        this.set(now().inFlight);
      },
    });
    new Gauge({
      name: "gorkheavy_breaker_open",
      help: "1 while a pod of a member (or its only address) is left alone after failures",
      labelNames: ["member", "pod"],
      registers,
      collect() {
        // Pods that are gone are no longer shown.
        this.reset();
        for (const { member, pod, open } of now().breakers) this.set({ member, pod }, open ? 1 : 0);
      },
    });
    new Gauge({
      name: "gorkheavy_conversations",
      help: "Conversations kept in the process",
      registers,
      collect() {
        this.set(now().memory.recent);
      },
    });
    new Gauge({
      name: "gorkheavy_store_up",
      help: "1 while the conversation store can be used, or nobody has needed it yet",
      labelNames: ["kind"],
      registers,
      collect() {
        const { kind, state } = now().memory;
        this.set({ kind }, state === "up" || state === "idle" ? 1 : 0);
      },
    });
    new Gauge({
      name: "gorkheavy_turns_waiting",
      help: "Turns that wait to be written to the conversation store",
      registers,
      collect() {
        this.set(now().memory.queued);
      },
    });
    this.#turns = new Counter({
      name: "gorkheavy_turns_total",
      help: "Turns by what became of them: stored; queued until the store is back; not kept for want of room or because the store refuses them; replayed under an idempotency key; superseded by another answer under it; deleted meanwhile",
      labelNames: ["outcome"],
      registers,
    });
    for (const outcome of TURN_OUTCOMES) this.#turns.inc({ outcome }, 0);
  }

  /** Counts a question that was answered. */
  answered(outcome: Outcome): void {
    this.#questions.inc({ outcome: "answered" });
    this.#duration.observe(outcome.ms / 1000);
    this.#decisions.inc({ by: outcome.decision.by });
    this.#wins.inc({ member: outcome.decision.winner });
    if (outcome.orders !== undefined) this.#orders.inc({ outcome: outcome.orders });
    for (const member of outcome.persuaders ?? []) this.#persuaders.inc({ member });
    this.#countStages(outcome.stages);
  }

  /** Counts what became of a turn. */
  turn(outcome: TurnOutcome): void {
    this.#turns.inc({ outcome });
  }

  /** Counts a question that was answered with a kept answer: no member did anything for it. */
  answeredAgain(): void {
    this.#questions.inc({ outcome: "answered" });
  }

  /** Counts a question that ended in a fault. */
  failed(fault: Fault): void {
    this.#questions.inc({ outcome: fault.code });
    this.#countStages(fault.stages ?? []);
  }

  #countStages(stages: readonly Stage[]): void {
    for (const {
      stage,
      member,
      status,
      ms,
      firstTokenMs,
      attempts,
      hedged,
      promptTokens,
      answerTokens,
      truncated,
    } of stages) {
      this.#stages.inc({ stage, member, status });
      if (attempts > 0) this.#stage.observe({ stage, member }, ms / 1000);
      if (firstTokenMs !== undefined) this.#firstToken.observe({ stage, member }, firstTokenMs / 1000);
      const writingMs = ms - (firstTokenMs ?? ms);
      // The first token is the prompt's work; one alone has no rate.
      if (answerTokens !== undefined && answerTokens > 1 && writingMs > 0)
        this.#rate.observe({ stage, member }, ((answerTokens - 1) * 1000) / writingMs);
      if (hedged === true) this.#hedges.inc({ member });
      if (attempts > (hedged === true ? 2 : 1)) this.#retries.inc({ member }, attempts - (hedged === true ? 2 : 1));
      if (promptTokens !== undefined) this.#tokens.inc({ member, kind: "prompt" }, promptTokens);
      if (answerTokens !== undefined) this.#tokens.inc({ member, kind: "answer" }, answerTokens);
      if (truncated === true) this.#truncated.inc({ member });
    }
  }
}
