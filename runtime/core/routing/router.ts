import type { EnsembleConfig } from "../../contracts/ensemble-config.ts";
import type { Routing } from "../../contracts/routing.ts";
import type { PanelMember, RouteSettings, VerdictRecord } from "../../contracts/verdict-record.ts";
import type { Outcome } from "../pipeline.ts";
import type { Plan } from "../plan.ts";
import { type Lesson, lessonOf } from "./evidence.ts";
import { profileOf } from "./profile.ts";
import { type DecidedRoute, decideRoute, type RouteQuestion } from "./route.ts";
import { routedPlan } from "./routed-plan.ts";

/** What a router is made from. */
export interface RouterParts {
  /** The plan of the whole panel. */
  plan: Plan;
  config: Pick<EnsembleConfig, "routing" | "quorum" | "deadlines">;
  /** From 0 to 1. */
  random: () => number;
  /** Verdicts of earlier times, oldest first. */
  remembered?: readonly VerdictRecord[];
}

/** A question with its route. */
export interface Routed {
  routing: Routing;
  /** What is run for it. */
  plan: Plan;
  /** What its route was decided from, for the record. */
  readonly decided: RouteQuestion & Pick<DecidedRoute, "draw"> & { learned?: [number, number] };
}

/** Chooses whom a question is asked of, and learns from who won. Keeps no words of anybody. */
export class Router {
  readonly #plan: Plan;
  readonly #panel: readonly PanelMember[];
  readonly #settings: RouteSettings;
  readonly #window: number;
  readonly #escalateAfterMs: number;
  readonly #random: () => number;
  /** Whether each candidate has a name of its own under which its stages can be told apart. */
  readonly #tellable: boolean;
  #lessons: Lesson[] = [];
  #seq = 0;

  constructor({ plan, config, random, remembered = [] }: RouterParts) {
    const { routing, quorum, deadlines } = config;
    this.#plan = plan;
    this.#panel = panelOf(plan);
    this.#tellable = plan.stages.every(({ kind, id, member }) => kind !== "candidate" || id === member.name);
    this.#settings = settingsOf(routing, quorum);
    this.#window = routing.window;
    this.#escalateAfterMs = Math.round(deadlines.candidatesMs * routing.escalateAfterRatio);
    this.#random = random;
    for (const record of remembered) this.#learn(record);
  }

  /** Number of the last verdict; 0 before the first. */
  get seq(): number {
    return this.#seq;
  }

  /** Verdicts that are learned from now. */
  get lessons(): number {
    return this.#lessons.length;
  }

  /** Decides whom a question is asked of. @param down candidates that are left alone after failures */
  route(question: { text: string; turns: number; whole: boolean }, down: readonly string[]): Routed {
    const asked: RouteQuestion = {
      profile: profileOf(question.text, question.turns),
      panel: this.#panel,
      down: this.#panel.map(({ member }) => member).filter((member) => down.includes(member)),
      wholeAskedFor: question.whole || !this.#tellable,
    };
    const { routing, draw } = decideRoute(asked, this.#settings, this.#lessons, this.#random);
    const [first, last] = [this.#lessons[0], this.#lessons.at(-1)];
    return {
      routing,
      plan: routedPlan(this.#plan, routing, this.#escalateAfterMs),
      decided: {
        ...asked,
        ...(draw === undefined ? {} : { draw }),
        ...(first === undefined || last === undefined ? {} : { learned: [first.seq, last.seq] }),
      },
    };
  }

  /** Learns who won, and gives the line for the record. @param extra what is written beside it */
  learn(
    { decided, routing }: Routed,
    outcome: Pick<Outcome, "decision" | "stages" | "ms">,
    extra: Pick<VerdictRecord, "at" | "question"> = {},
  ): VerdictRecord {
    const { profile, panel, down, wholeAskedFor, learned, draw } = decided;
    const record: VerdictRecord = {
      v: 1,
      seq: this.#seq + 1,
      ...extra,
      profile,
      panel: [...panel],
      down: [...down],
      wholeAskedFor,
      settings: this.#settings,
      ...(learned === undefined ? {} : { learned }),
      ...(draw === undefined ? {} : { draw }),
      routing,
      decision: { by: outcome.decision.by, winner: outcome.decision.winner },
      ms: outcome.ms,
      stages: outcome.stages.map(({ stage, member, status, startedMs, ms, attempts }) => ({
        stage,
        member,
        status,
        startedMs,
        ms,
        attempts,
      })),
    };
    this.#learn(record);
    return record;
  }

  #learn(record: VerdictRecord): void {
    this.#seq = Math.max(this.#seq, record.seq);
    const lesson = lessonOf(record);
    if (lesson === undefined) return;
    this.#lessons.push(lesson);
    if (this.#lessons.length > this.#window) this.#lessons.shift();
  }
}

/** The candidates of a plan as the router sees them. */
export function panelOf(plan: Plan): PanelMember[] {
  return plan.stages
    .filter(({ kind }) => kind === "candidate")
    .map(({ id, member, words }) => ({ member: id, model: member.model, rewritten: words === "rewritten" }));
}

/** What decides a route, out of the configuration. */
export function settingsOf(routing: EnsembleConfig["routing"], quorum: number): RouteSettings {
  const { awarenessThreshold, most, explorationRatio, riskLimit, likeVerdicts } = routing;
  return { awarenessThreshold, most, explorationRatio, riskLimit, likeVerdicts, quorum };
}
