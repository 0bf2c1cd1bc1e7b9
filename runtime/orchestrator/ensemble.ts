import { randomUUID } from "node:crypto";
import type { EnsembleConfig, Member } from "../contracts/ensemble-config.ts";
import type { AskAnswer, Stage } from "../contracts/native.ts";
import { Conversations, type ConversationKey, type Turn } from "../core/conversations.ts";
import { Fault, toFault } from "../core/fault.ts";
import { type Outcome, runPipeline, type Watch } from "../core/pipeline.ts";
import { planOf, type Plan } from "../core/plan.ts";
import type { ModelCall, Piece, Ports } from "../core/ports.ts";
import { Traffic } from "../core/traffic.ts";
import { monotonicMs, timer } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { EnsembleMetrics } from "./metrics.ts";
import { Health } from "./health.ts";
import type { Upstream } from "./upstream.ts";

/** User of a request that names none. */
export const ANONYMOUS = "anonymous";

/** One question as the APIs hand it on. */
export interface AskInput {
  question: string;
  user?: string;
  /** Absent: a new conversation. */
  conversation?: string;
  /** History that the client carries itself; then nothing is remembered here. */
  turns?: readonly Turn[];
  system?: string;
  bothOrders?: boolean;
  mode?: "select" | "synthesize";
  draft?: boolean;
}

/** What an ensemble is made of, time and chance included, so that tests can give their own. */
export interface EnsembleParts {
  config: EnsembleConfig;
  upstream: Pick<Upstream, "call" | "get" | "close">;
  random?: () => number;
  /** One line a question: how long, who won, how each stage went. Never words of users or models. */
  log?: Pick<Logger, "info" | "warn">;
}

/** The ensemble without its ports: questions in, answers out. */
export class Ensemble {
  readonly config: EnsembleConfig;
  readonly metrics: EnsembleMetrics;
  readonly health: Health;
  readonly conversations: Conversations;
  readonly #log: EnsembleParts["log"];
  /** What all calls of the members taught; the pass-through's, too. */
  readonly traffic: Traffic;
  readonly #plan: Plan;
  readonly #ports: Ports;
  readonly #upstream: EnsembleParts["upstream"];
  #inFlight = 0;
  #draining = false;

  constructor({ config, upstream, random = Math.random, log }: EnsembleParts) {
    this.#log = log;
    this.config = config;
    this.#upstream = upstream;
    this.#plan = planOf(config);
    this.conversations = new Conversations(config.memory);
    this.metrics = new EnsembleMetrics(() => ({
      inFlight: this.#inFlight,
      conversations: this.conversations.size,
      breakers: config.members.map(({ name }) => ({
        member: name,
        open: this.traffic.breakerState(name) !== "closed",
      })),
    }));
    this.traffic = new Traffic(config, monotonicMs);
    this.health = new Health(config, upstream, (member) => this.traffic.seenWell(member));
    this.#ports = {
      call: (call, signal) => upstream.call(call, signal),
      now: monotonicMs,
      random,
      timer,
      traffic: this.traffic,
    };
  }

  /** Questions worked on now. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether it is stopping. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Says not ready from now on. Whoever still asks is answered: a question that was sent here must not be lost. */
  drain(): void {
    this.#draining = true;
  }

  /** Members that can be asked by name. */
  members(): readonly Member[] {
    return this.config.members;
  }

  /** Whether a model name means the whole ensemble: its name, or that without the tag `latest`. */
  isEnsemble(model: string): boolean {
    return model === this.config.name || `${model}:latest` === this.config.name;
  }

  /** The member that a model name means: its name or its model. Undefined when there is none. */
  memberNamed(model: string): Member | undefined {
    const members = this.config.members;
    return (
      members.find(({ name }) => name === model) ??
      members.find((one) => one.model === model || one.model === `${model}:latest`)
    );
  }

  /** Asks the ensemble. @throws Fault no_answer, overloaded, cancelled */
  async ask(input: AskInput, signal: AbortSignal, watch?: Watch): Promise<AskAnswer> {
    const release = this.enter();
    const key: ConversationKey = { user: input.user ?? ANONYMOUS, conversation: input.conversation ?? randomUUID() };
    const turns = input.turns ?? this.conversations.recall(key);
    const question = {
      text: input.question,
      turns,
      system: input.system,
      bothOrders: input.bothOrders,
      mode: input.mode,
      draft: input.draft,
    };
    try {
      const outcome = await runPipeline(this.#plan, question, this.#ports, signal, watch);
      if (input.turns === undefined)
        this.conversations.remember(key, { question: input.question, answer: outcome.answer });
      this.metrics.answered(outcome);
      const answer = answerOf(input.question, key, outcome);
      const { by, winner } = answer.decision;
      this.#log?.info({ id: answer.id, ms: answer.ms, by, winner, stages: answer.stages.map(summaryOf) }, "answered");
      return answer;
    } catch (error) {
      const fault = toFault(error);
      this.metrics.failed(fault);
      this.#log?.warn({ code: fault.code, stages: fault.stages?.map(summaryOf) }, "not answered");
      throw error;
    } finally {
      release();
    }
  }

  /** Streams one member's own answer; its connection is retried while nothing was streamed. @throws Fault of the upstream, overloaded */
  async *askMember(call: ModelCall, signal: AbortSignal): AsyncIterable<Piece> {
    const release = this.enter();
    const stop = new AbortController();
    const cancel = (): void => stop.abort(signal.reason);
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
    const clear = timer(this.config.deadlines.totalMs, () => {
      stop.abort(
        new Fault("deadline_exceeded", `${call.member.name} did not finish within ${this.config.deadlines.totalMs} ms`),
      );
    });
    let streamed = false;
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          let done = false;
          for await (const piece of this.#upstream.call(call, stop.signal)) {
            done = piece.done !== undefined;
            streamed ||= piece.text !== "";
            yield piece;
          }
          if (!done) throw new Fault("model_unreachable", `${call.member.name}: the answer ended before it was done`);
          return;
        } catch (error) {
          if (stop.signal.aborted)
            throw stop.signal.reason instanceof Fault
              ? stop.signal.reason
              : new Fault("cancelled", "the client went away");
          if (streamed || attempt > 1 || toFault(error).code !== "model_unreachable") throw error;
        }
      }
    } finally {
      clear();
      signal.removeEventListener("abort", cancel);
      stop.abort();
      release();
    }
  }

  /** Counts a question in. @returns counts it out. @throws Fault overloaded */
  enter(): () => void {
    if (this.#inFlight >= this.config.limits.concurrent) {
      throw new Fault("overloaded", `${this.#inFlight} questions are in work, which is the limit (limits.concurrent)`, {
        retryAfterSeconds: 5,
      });
    }
    this.#inFlight++;
    return () => {
      this.#inFlight--;
    };
  }

  /** Breaks all connections to the members. */
  close(): Promise<void> {
    return this.#upstream.close();
  }
}

/** A stage in a few words, without any of its own. */
function summaryOf({ member, status, ms, code }: Stage): string {
  return `${member} ${status}${code === undefined ? "" : ` (${code})`} ${Math.round(ms)} ms`;
}

function answerOf(question: string, key: ConversationKey, outcome: Outcome): AskAnswer {
  const { answer, decision, stages, turnsShown, ms } = outcome;
  return { id: randomUUID(), question, reply: answer, decision, ...key, turnsShown, stages, ms };
}
