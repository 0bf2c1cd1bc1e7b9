import type { Registry } from "prom-client";
import type { EnsembleConfig, Member } from "../contracts/ensemble-config.ts";
import type { AskAnswer, Stage } from "../contracts/native.ts";
import type { ConversationKey, Turn } from "../core/conversations.ts";
import { estimateTokens } from "../core/budget.ts";
import { Fault, toFault } from "../core/fault.ts";
import type { Outcome, Question, Watch } from "../core/pipeline.ts";
import { assertPlan, planOf, type Plan } from "../core/plan.ts";
import type { Ports } from "../core/ports.ts";
import { type Passage, Traffic } from "../core/traffic.ts";
import type { Memory } from "../memory/memory.ts";
import { processMemory } from "../memory/open.ts";
import { monotonicMs, timer } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { AnswerCache, CacheUse, Panelled } from "./answers/answer-cache.ts";
import { EnsembleMetrics } from "./metrics.ts";
import type { TokensUsed } from "./gate.ts";
import { Health } from "./health.ts";
import { type Answered, answerOnce } from "./remembering.ts";
import { RoutedPanel } from "./routing/routed-panel.ts";
import type { Verdicts } from "./routing/verdict-log.ts";
import { tracedMemory } from "./tracing/open.ts";
import type { Tracing } from "./tracing/port.ts";
import type { Upstream } from "./upstream.ts";

/** One question as the APIs hand it on. */
export interface AskInput {
  question: string;
  user?: string;
  /** Absent: a new conversation. */
  conversation?: string;
  /** History that the client carries itself; then nothing is remembered here. */
  turns?: readonly Turn[];
  /** The same key with the same question is answered once; the same answer comes again. */
  idempotencyKey?: string;
  system?: string;
  bothOrders?: boolean;
  mode?: "select" | "synthesize";
  draft?: boolean;
  /** The client's trace to go on with. Source: W3C Trace Context. */
  traceparent?: string;
  /** Whether a kept answer will do. @default "use" */
  cache?: CacheUse;
  /** Told at the end, however it ended, what the answer cost. */
  spent?: ((used: TokensUsed) => void) | undefined;
}

/** What an ensemble is made of, time and chance included, so that tests can give their own. */
export interface EnsembleParts {
  config: EnsembleConfig;
  upstream: Pick<Upstream, "alive" | "call" | "close" | "get" | "pods">;
  /** Where conversations are kept. @default - this process */
  memory?: Memory;
  random?: () => number;
  /** Who does what. @default the plan of the configuration */
  plan?: Plan;
  /** Makes the answer cache, which counts in the ensemble's registry. Absent: answers are not kept. */
  answers?: (registry: Registry) => AnswerCache | undefined;
  /** Traces questions. Absent: nothing is traced. */
  tracing?: Tracing | undefined;
  /** Where verdicts are kept for routing. Absent: in memory alone. */
  verdicts?: Verdicts;
  /** One line a question: how long, who won, how each stage went. Never words of users or models. */
  log?: Pick<Logger, "info" | "warn">;
}

/** A question whose answer may be known before all of its stages are. */
interface Running {
  /** The answer was known first. */
  early?: boolean;
  whole?: Promise<Panelled>;
}

/** The ensemble without its ports: questions in, answers out. */
export class Ensemble {
  readonly config: EnsembleConfig;
  readonly metrics: EnsembleMetrics;
  readonly health: Health;
  readonly memory: Memory;
  /** Undefined when answers are not kept. */
  readonly answers: AnswerCache | undefined;
  readonly #log: EnsembleParts["log"];
  /** What all calls of the members taught; the pass-through's, too. */
  readonly traffic: Traffic;
  readonly #panel: RoutedPanel;
  readonly #tracing: Tracing | undefined;
  /** The memory as questions use it. */
  readonly #recalled: Memory;
  readonly #ports: Ports;
  readonly #upstream: EnsembleParts["upstream"];
  #inFlight = 0;
  #draining = false;

  constructor({
    config,
    upstream,
    memory = processMemory(config),
    random = Math.random,
    plan = planOf(config),
    verdicts,
    answers,
    tracing,
    log,
  }: EnsembleParts) {
    assertPlan(plan);
    this.#log = log;
    this.config = config;
    this.#upstream = upstream;
    this.#tracing = tracing;
    this.memory = memory;
    this.#recalled = tracing === undefined ? memory : tracedMemory(memory, tracing);
    this.metrics = new EnsembleMetrics(() => ({
      inFlight: this.#inFlight,
      memory: { ...memory.state, recent: memory.recent },
      breakers: this.traffic.breakers().map(({ member, pod, state }) => ({ member, pod, open: state !== "closed" })),
    }));
    this.answers = answers?.(this.metrics.registry);
    this.traffic = new Traffic(config, monotonicMs, (member, pod) => upstream.alive(member, pod));
    this.health = new Health(config, upstream, (member, pod) => this.traffic.seenWell(member, pod));
    this.#ports = {
      call: (call, signal, pod) =>
        tracing === undefined
          ? upstream.call(call, signal, pod)
          : tracing.call(call, (headers) => upstream.call(call, signal, pod, headers)),
      pods: (member) => upstream.pods(member),
      now: monotonicMs,
      random,
      timer,
      traffic: this.traffic,
    };
    this.#panel = new RoutedPanel({
      config,
      plan,
      ports: this.#ports,
      registry: this.metrics.registry,
      verdicts,
      isDown: (member) => this.traffic.isDown(member),
    });
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

  /**
   * Asks the ensemble; the turn is stored before anybody is told. @param told told of the answer as soon as its words are known and stored,
   * where the judge has scores still to write and no key asks for the same bytes again; then this resolves with them. @throws Fault no_answer, overloaded, cancelled, idempotency_conflict, idempotency_in_progress
   */
  ask(input: AskInput, signal: AbortSignal, watch?: Watch, told?: (answer: AskAnswer) => void): Promise<AskAnswer> {
    if (this.#tracing === undefined) return this.#ask(input, signal, watch, told);
    const traced = (seen: Watch): Promise<AskAnswer> => this.#ask(input, signal, seen, told);
    return this.#tracing.question(input.traceparent, input.question, watch, traced);
  }

  async #ask(
    input: AskInput,
    signal: AbortSignal,
    watch?: Watch,
    told?: (answer: AskAnswer) => void,
  ): Promise<AskAnswer> {
    const release = this.enter();
    try {
      const running: Running = {};
      const found = await answerOnce(this.#recalled, input, signal, (turns, key) =>
        this.#answer(input, turns, key, signal, running, watch),
      );
      if (running.early === true) told?.(found);
      const { stages } = (await running.whole) ?? found;
      const answer = running.early === true ? { ...found, stages } : found;
      const { by, winner } = answer.decision;
      this.#log?.info({ id: answer.id, ms: answer.ms, by, winner, stages: answer.stages.map(summaryOf) }, "answered");
      return answer;
    } catch (error) {
      const fault = toFault(error);
      this.metrics.failed(fault);
      input.spent?.(usedBy(fault.stages ?? [], input));
      this.#log?.warn({ code: fault.code, stages: fault.stages?.map(summaryOf) }, "not answered");
      throw error;
    } finally {
      release();
    }
  }

  /** As `ask`, without waiting for scores: for whoever has no place to show them. @throws Fault as `ask` */
  reply(input: AskInput, signal: AbortSignal, watch?: Watch): Promise<AskAnswer> {
    return new Promise((resolve, reject) => {
      this.ask(input, signal, watch, resolve).then(resolve, reject);
    });
  }

  async #answer(
    input: AskInput,
    turns: readonly Turn[],
    key: ConversationKey,
    signal: AbortSignal,
    running: Running,
    watch?: Watch,
  ): Promise<Answered> {
    const { question, system, bothOrders, mode, draft } = input;
    // A client that carries its own history has no name for it; its first words stand for it then.
    const affinity = input.turns === undefined ? `${key.user}\n${key.conversation}` : undefined;
    const asked = { text: question, turns, system, bothOrders, mode, draft, affinity };
    const beganMs = monotonicMs();
    // An answer that is kept for others, or under a key for the same one again, is kept with its scores.
    const whole = (): Promise<Panelled> => this.#panel.run(asked, signal, watch);
    const { outcome, cachedAt } =
      this.answers === undefined
        ? {
            outcome: await (input.idempotencyKey === undefined ? this.#early(asked, signal, running, watch) : whole()),
          }
        : await this.answers.answer({ ...asked, user: key.user }, input.cache ?? "use", signal, whole, this.#tracing);
    const { answer, decision, routing, stages, turnsShown, ms } = outcome;
    const made = { question, reply: answer, decision, routing, ...key, turnsShown, stages, ms };
    if (cachedAt === undefined) {
      const count = (all: Outcome): void => {
        this.metrics.answered(all);
        input.spent?.(usedBy(all.stages, input, turns));
      };
      if (running.whole === undefined) count(outcome);
      else running.whole.then(count, () => undefined);
      return made;
    }
    this.metrics.answeredAgain();
    watch?.({ event: "decision", decision });
    const cached = { at: cachedAt, ageMs: Math.max(0, Date.now() - Date.parse(cachedAt)) };
    return { ...made, ms: Math.round((monotonicMs() - beganMs) * 100) / 100, cached };
  }

  /** Runs the panel; resolves as soon as the answer is known. What still comes is in `running`. */
  #early(question: Question, signal: AbortSignal, running: Running, watch?: Watch): Promise<Panelled> {
    return new Promise((resolve, reject) => {
      running.whole = this.#panel.run(question, signal, watch, (found) => {
        running.early = true;
        resolve(found);
      });
      running.whole.then(resolve, reject);
    });
  }

  /** The right to one call of a member, without waiting for a name server. @param affinity calls with the same one share their beginnings */
  passage(member: Member, affinity: string): Passage | Fault {
    const pods = this.#upstream.pods(member);
    return this.traffic.passage(member, { pods: pods instanceof Promise ? [member.url] : pods, affinity });
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

  /** Writes what waits to be stored, and breaks all connections. */
  async close(): Promise<void> {
    await this.memory.close();
    await this.#upstream.close();
  }
}

/** What a question's stages cost; where a server did not count, the words are, from above. */
function usedBy(
  stages: readonly Stage[],
  { question, system = "" }: AskInput,
  turns: readonly Turn[] = [],
): TokensUsed {
  const shown = [question, system, ...turns.flatMap((turn) => [turn.question, turn.answer])];
  const promptTokens = shown.reduce((tokens, text) => tokens + estimateTokens(text), 0);
  const used = { promptTokens: 0, answerTokens: 0 };
  for (const stage of stages) {
    if (stage.attempts === 0) continue;
    used.promptTokens += stage.promptTokens ?? promptTokens;
    used.answerTokens += stage.answerTokens ?? estimateTokens(stage.text);
  }
  return used;
}

/** A stage in a few words, without any of its own. */
function summaryOf({ member, status, ms, code }: Stage): string {
  return `${member} ${status}${code === undefined ? "" : ` (${code})`} ${Math.round(ms)} ms`;
}
