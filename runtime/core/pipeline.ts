import type { AskEvent, Decision, Stage } from "../contracts/native.ts";
import { attempt } from "./attempt.ts";
import type { Attempted } from "./attempted.ts";
import type { Turn } from "./conversations.ts";
import { decide, type Judged } from "./decision.ts";
import { Fault } from "./fault.ts";
import { dealBallot, MOST_JUDGED } from "./judging.ts";
import { JudgeFeed } from "./overlap.ts";
import { noAnswerMessage, roundMs, stageOf } from "./stage.ts";
import type { Plan, PlanStage } from "./plan.ts";
import type { ModelCall, Ports } from "./ports.ts";
import { candidatePrompt, type Prompt, REWRITE_TOKENS, rewriterPrompt, usableRewrite } from "./prompts.ts";
import { sift, unfitness } from "./sift.ts";
import { withoutThoughts } from "./words.ts";

/** One question to the ensemble. */
export interface Question {
  text: string;
  /** The conversation so far, oldest turn first, already bounded. */
  turns: readonly Turn[];
  /** Instruction of the client's own in place of the usual one, for candidates only. */
  system?: string;
  /** Ask the judge twice, in opposite orders. */
  bothOrders?: boolean;
  /** One model's own words, or one answer that the judge's model writes from all. @default "select" */
  mode?: "select" | "synthesize";
  /** Tell the words of the first candidate that speaks as they come. */
  draft?: boolean;
  /** Questions with the same one are put to the same pods, which have read what came before. @default - the first words of the conversation */
  affinity?: string;
}

/** When a question that nobody answered may be asked again, s: about what a pod takes to come back. */
const NO_ANSWER_RETRY_SECONDS = 5;

/** What the ensemble found. */
export interface Outcome {
  answer: string;
  decision: Decision;
  /** In the order of the plan. */
  stages: Stage[];
  /** Turns of the conversation that candidates were shown, the fewest of them. */
  turnsShown: number;
  /** Whether the judge named the same answer in both orders; absent where it was not asked twice, or a verdict could not be used. */
  orders?: "same" | "flipped";
  /** Stages whose answers spoke to the judge instead of to the user; absent where none did, or nobody was asked to choose. */
  persuaders?: readonly string[];
  /** From the question to the answer; scores that come later are not waited for. */
  ms: number;
}

/** What happens while the pipeline runs, for clients that watch. */
export type Watch = (
  event: Extract<AskEvent, { event: "routing" | "stage-start" | "stage-end" | "draft" | "decision" }>,
) => void;

/**
 * Runs a plan for one question: every stage starts when what it needs has ended, failures are stages and not exceptions.
 * @param decided told of the outcome as soon as the answer is known, before the judge has written its scores: the answer is final, the stages
 * are not. Not called where nothing is left to wait for.
 * @throws Fault `no_answer` (fewer answers than the quorum), `cancelled` (the signal), each with all stages.
 */
export async function runPipeline(
  plan: Plan,
  question: Question,
  ports: Ports,
  signal: AbortSignal,
  watch: Watch = () => undefined,
  decided: (outcome: Outcome) => void = () => undefined,
): Promise<Outcome> {
  const began = ports.now();
  const run = new Run(plan, question, ports, signal, watch, began);
  const ended = new Map<string, Promise<void>>();
  const start = (stage: PlanStage): Promise<void> => {
    const known = ended.get(stage.id);
    if (known !== undefined) return known;
    const needs = plan.stages.filter(({ id }) => stage.needs.includes(id)).map(start);
    const begun =
      stage.reserve !== undefined
        ? run.reserve(stage, stage.reserve, needs)
        : needs.length === 0
          ? run.stage(stage)
          : Promise.all(needs).then(() => run.stage(stage));
    ended.set(stage.id, begun);
    return begun;
  };
  try {
    run.start();
    await Promise.all(plan.stages.filter(({ kind }) => kind !== "judge").map(start));
    return await run.conclude(decided);
  } finally {
    run.close();
  }
}

/** State of one question. */
class Run {
  readonly #plan: Plan;
  readonly #question: Question;
  readonly #ports: Ports;
  readonly #signal: AbortSignal;
  readonly #watch: Watch;
  readonly #began: number;
  readonly #stages = new Map<string, Stage>();
  #feed: JudgeFeed | undefined;
  /** Aborts when the last candidates are no longer waited for. */
  readonly #hurry = new AbortController();
  #answered = 0;
  /** Answers that could be given to the user, those of one word among them. */
  #usable = 0;
  #calm: () => void = () => undefined;
  /** Who writes the draft, and what of it was told. */
  #draft: { by: string; told: string } | undefined;
  /** Usable rewrites, by stage. */
  readonly #rewritten = new Map<string, string>();
  #turnsShown: number;
  readonly #affinity: string;

  constructor(plan: Plan, question: Question, ports: Ports, signal: AbortSignal, watch: Watch, began: number) {
    this.#plan = plan;
    this.#question = question;
    this.#ports = ports;
    this.#signal = signal;
    this.#watch = watch;
    this.#began = began;
    this.#turnsShown = question.turns.length;
    this.#affinity = question.affinity ?? question.turns[0]?.question ?? question.text;
    const judge = plan.stages.find(({ kind }) => kind === "judge")?.member;
    const candidates = plan.stages
      .filter(({ kind, reserve }) => kind === "candidate" && reserve === undefined)
      .map(({ id }) => id);
    const feeds =
      judge !== undefined && plan.judging.overlap && candidates.length > 1 && candidates.length <= MOST_JUDGED;
    this.#feed = feeds ? new JudgeFeed({ judge, candidates, question, ports, affinity: this.#affinity }) : undefined;
  }

  /** Begins what waits for no stage. */
  start(): void {
    this.#feed?.start();
  }

  /** Ends what nobody waits for any more. */
  close(): void {
    this.#feed?.close();
    this.#calm();
  }

  /** Starts a stage that is held back, or skips it where the others gave answers enough. */
  async reserve(stage: PlanStage, { afterMs, why }: { afterMs: number; why: string }, needs: Promise<void>[]) {
    let clear = (): void => undefined;
    const late = new Promise<void>((resolve) => {
      clear = this.#ports.timer(afterMs, resolve);
    });
    await Promise.race([Promise.all(needs), late]);
    clear();
    if (this.#usable >= this.#plan.quorum) {
      this.skip(stage, why);
      return;
    }
    // What was dealt and fed knows nothing of those who come now.
    this.#feed?.close();
    this.#feed = undefined;
    await this.stage(stage);
  }

  /** Runs a stage that is no judge to its end. */
  async stage(stage: PlanStage): Promise<void> {
    const { member, kind } = stage;
    const prompt = this.prompt(stage);
    if (kind === "candidate") this.#turnsShown = Math.min(this.#turnsShown, prompt.turnsShown);
    const maxTokens = kind === "rewrite" ? Math.min(REWRITE_TOKENS, member.maxTokens) : member.maxTokens;
    const from = kind === "candidate" ? this.#began : this.#ports.now();
    const done = await this.call(stage, { member, messages: prompt.messages, maxTokens }, from + stage.deadlineMs);
    const recorded = this.record(stage, done, prompt.shortened);
    if (kind === "candidate") {
      this.#feed?.finished(stage.id, done.status === "ok" ? done.text : undefined);
      if (done.status === "ok") this.hurry(done.text);
    }
    if (kind !== "rewrite" || done.status !== "ok") return;
    const rewritten = usableRewrite(this.#question.text, done.text);
    if (rewritten !== undefined) {
      this.#rewritten.set(stage.id, rewritten);
      return;
    }
    this.#stages.set(stage.id, {
      ...recorded,
      status: "dropped",
      reason: "not usable as a question; the user's own words were used",
    });
  }

  /** What a stage is asked. */
  private prompt(stage: PlanStage): Prompt {
    const { text, turns, system } = this.#question;
    if (stage.prompt !== undefined) {
      const said = (id: string): string | undefined => {
        const made = this.#stages.get(id);
        return made?.status === "ok" ? made.text : undefined;
      };
      return stage.prompt({ question: text, turns, said });
    }
    const rewrite = stage.needs.findLast((id) => this.#rewritten.has(id));
    const words = stage.words === "rewritten" && rewrite !== undefined ? (this.#rewritten.get(rewrite) ?? text) : text;
    return stage.kind === "rewrite"
      ? rewriterPrompt(stage.member, words, turns)
      : candidatePrompt(stage.member, words, turns, system);
  }

  /** Makes one call, announced to whoever watches. */
  call(
    stage: PlanStage,
    call: ModelCall,
    deadlineMs: number,
    as: Stage["stage"] = stage.kind,
    wrote?: (text: string) => void,
  ): Promise<Attempted> {
    this.#watch({ event: "stage-start", stage: as, member: stage.member.name, model: stage.member.model });
    const bounds = {
      deadlineMs: Math.min(deadlineMs, this.#began + this.#plan.totalMs),
      mostChars: this.#plan.answerBytes,
      signal: this.#signal,
      ...(stage.kind === "candidate"
        ? { hurry: this.#hurry.signal, wrote: (text: string) => this.wrote(stage, text) }
        : { wrote }),
    };
    return attempt({ affinity: this.#affinity, ...call }, bounds, this.#ports, this.#ports.traffic);
  }

  /** Enough have answered: the others get as long again as these took, and no longer. */
  private hurry(text: string): void {
    const unfit = unfitness({ member: "", text, cut: false });
    if (unfit === undefined || unfit === "one word") this.#usable++;
    if (unfit !== undefined) return;
    const { patience, quorum } = this.#plan;
    if (++this.#answered !== Math.max(2, quorum)) return;
    const waitMs = Math.max(patience.leastMs, patience.ratio * (this.#ports.now() - this.#began));
    this.#calm = this.#ports.timer(waitMs, () => this.#hurry.abort());
  }

  /** A candidate has written so much. */
  private wrote(stage: PlanStage, text: string): void {
    this.#feed?.wrote(stage.id, text);
    if (this.#question.draft !== true) return;
    const words = withoutThoughts(text);
    if (words === "") return;
    this.#draft ??= { by: stage.id, told: "" };
    // A call that was begun anew says other words: what was told stands, and no more comes of it.
    if (this.#draft.by !== stage.id || !words.startsWith(this.#draft.told)) return;
    const more = words.slice(this.#draft.told.length);
    this.#draft.told = words;
    if (more !== "") this.#watch({ event: "draft", member: stage.member.name, model: stage.member.model, text: more });
  }

  /** Turns what happened into a stage of the answer. */
  record(stage: PlanStage, done: Attempted, shortened: boolean, id = stage.id, as: Stage["stage"] = stage.kind): Stage {
    const made = stageOf({ kind: as, member: stage.member, beganMs: this.#began, done, shortened });
    this.#stages.set(id, made);
    this.#watch({ event: "stage-end", stage: made });
    return made;
  }

  /** Judges what there is. */
  async conclude(decided: (outcome: Outcome) => void): Promise<Outcome> {
    if (this.#signal.aborted) throw this.fault("cancelled", "the question was cancelled");
    const answered = this.#plan.stages.flatMap((stage) => {
      const made = this.#stages.get(stage.id);
      if (stage.kind !== "candidate" || made === undefined) return [];
      if (made.status !== "ok" && made.status !== "cut") return [];
      return [{ member: stage.id, text: made.text, cut: made.status === "cut" }];
    });
    const { fit, dropped } = sift(answered);
    for (const { answer, why } of dropped) {
      const made = this.#stages.get(answer.member);
      if (made !== undefined)
        this.#stages.set(answer.member, { ...made, status: "dropped", reason: made.reason ?? `not judged: ${why}` });
    }
    if (fit.length < this.#plan.quorum) throw this.noAnswer(fit.length);
    const judged = await decide(
      fit,
      this.#plan.stages.find(({ kind }) => kind === "judge"),
      this.judging(),
    );
    if (this.#signal.aborted) throw this.fault("cancelled", "the question was cancelled");
    const found = this.outcome(judged, fit);
    if (judged.scored === undefined) return found;
    decided(found);
    // Whatever becomes of the scores, the answer is found.
    this.score(await judged.scored);
    return { ...found, stages: this.stages() };
  }

  private score(scores: Judged["scores"]): void {
    for (const [member, row] of scores) {
      const made = this.#stages.get(member);
      if (made !== undefined) this.#stages.set(member, { ...made, scores: row });
    }
  }

  private judging(): Parameters<typeof decide>[2] {
    return {
      question: this.#question,
      affinity: this.#affinity,
      random: () => this.#ports.random(),
      ballot: (fit) => this.#feed?.ballot(fit) ?? dealBallot(fit, () => this.#ports.random()),
      scores: this.#plan.judging.scores,
      call: (stage, call, as, wrote) => this.call(stage, call, this.#ports.now() + stage.deadlineMs, as, wrote),
      record: (stage, done, shortened, id, as) => this.record(stage, done, shortened, id, as),
      skip: (stage, reason) => this.skip(stage, reason),
    };
  }

  /** A stage that was not needed. */
  private skip(stage: PlanStage, reason: string): void {
    const { member, kind } = stage;
    const made: Stage = {
      stage: kind,
      member: member.name,
      model: member.model,
      role: member.role,
      status: "skipped",
      text: "",
      ms: 0,
      startedMs: roundMs(this.#ports.now() - this.#began),
      attempts: 0,
      reason,
    };
    this.#stages.set(stage.id, made);
    if (stage.reserve !== undefined) this.#watch({ event: "stage-end", stage: made });
  }

  private outcome(judged: Judged, fit: readonly { member: string; text: string }[]): Outcome {
    this.score(judged.scores);
    const winner = fit.find(({ member }) => member === judged.winner);
    const stage = this.#plan.stages.find(({ id }) => id === judged.winner);
    const answer = judged.text ?? winner?.text;
    if (answer === undefined || stage === undefined)
      throw new Fault("internal", "the verdict names nobody of the plan");
    const decision: Decision = { by: judged.by, winner: judged.winner, model: stage.member.model, why: judged.why };
    this.#watch({ event: "decision", decision });
    return {
      answer,
      decision,
      stages: this.stages(),
      turnsShown: this.#turnsShown,
      ...(judged.orders === undefined ? {} : { orders: judged.orders }),
      ...(judged.persuaders === undefined ? {} : { persuaders: judged.persuaders }),
      ms: roundMs(this.#ports.now() - this.#began),
    };
  }

  private stages(): Stage[] {
    return [...this.#stages.entries()].sort(([a], [b]) => this.rank(a) - this.rank(b)).map(([, stage]) => stage);
  }

  private rank(id: string): number {
    const index = this.#plan.stages.findIndex((stage) => stage.id === id);
    return index === -1 ? this.#plan.stages.length : index;
  }

  private noAnswer(got: number): Fault {
    const message = noAnswerMessage(this.stages(), got, this.#plan.quorum);
    return this.fault("no_answer", message, NO_ANSWER_RETRY_SECONDS);
  }

  private fault(code: "no_answer" | "cancelled", message: string, retryAfterSeconds?: number): Fault {
    return new Fault(code, message, { stages: this.stages(), retryAfterSeconds });
  }
}
