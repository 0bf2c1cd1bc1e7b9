import type { Decision, Scores, Stage } from "../contracts/native.ts";
import type { Attempted } from "./attempted.ts";
import {
  bestByScores,
  type Ballot,
  type Contender,
  judgePrompt,
  MOST_JUDGED,
  mostResembling,
  readVerdict,
  secondBallot,
  type Verdict,
  verdictSchema,
} from "./judging.ts";
import type { Turn } from "./conversations.ts";
import type { PlanStage } from "./plan.ts";
import type { ModelCall } from "./ports.ts";
import { mergePrompt, usableMerge } from "./synthesis.ts";
import { saysTheSame } from "./words.ts";

/** What the decision needs of the run that it belongs to. */
export interface Judging {
  question: { text: string; turns: readonly Turn[]; bothOrders?: boolean; mode?: "select" | "synthesize" };
  /** Which pods have read the judge's prompt so far. */
  affinity: string;
  random(): number;
  /** The ballot of those that are judged. */
  ballot(fit: readonly Contender[]): Ballot;
  /** Whether the judge gives scores beside its choice. */
  scores: boolean;
  call(stage: PlanStage, call: ModelCall, as?: Stage["stage"]): Promise<Attempted>;
  record(stage: PlanStage, done: Attempted, shortened: boolean, id?: string, as?: Stage["stage"]): Stage;
  skip(stage: PlanStage, reason: string): void;
}

/** Who won, and by what. */
export interface Judged {
  by: Decision["by"];
  winner: string;
  why: string;
  /** By member; empty where nobody judged. */
  scores: ReadonlyMap<string, Scores>;
  /** The answer where it is nobody's own words. Absent: the winner's. */
  text?: string;
}

/**
 * Finds the winner. No judge is asked where one answer is left or all say the same. The rule for a verdict that cannot be used
 * (none, unreadable, a tie, or two orders that disagree): the highest sum of scores if one stands alone, else the answer that
 * resembles the others most, else the first of the plan. @param fit not empty.
 */
export async function decide(
  fit: readonly Contender[],
  judge: PlanStage | undefined,
  judging: Judging,
): Promise<Judged> {
  const first = fit[0];
  const none = new Map<string, Scores>();
  const settled = (by: Decision["by"], winner: string, why: string): Judged => {
    if (judge !== undefined) judging.skip(judge, why);
    return { by, winner, why, scores: none };
  };
  if (first === undefined) throw new RangeError("decide wants at least one answer");
  if (fit.length === 1) return settled("only-candidate", first.member, "only one answer was left to choose");
  if (fit.every(({ text }) => saysTheSame(text, first.text))) {
    return settled("agreement", first.member, `all ${fit.length} answers say the same`);
  }
  if (judge === undefined) {
    return {
      by: "resemblance",
      winner: mostResembling(fit),
      why: "there is no judge; this answer resembles the others most",
      scores: none,
    };
  }
  const judgedFit = fit.slice(0, MOST_JUDGED);
  if (judging.question.mode === "synthesize") {
    const merged = await synthesize(judgedFit, judge, judging);
    if (merged !== undefined) return merged;
  }
  return judged(judgedFit, judge, judging);
}

/** One answer from all of them; undefined when it failed or cannot be given to the user, and the usual verdict has to do. */
async function synthesize(fit: readonly Contender[], judge: PlanStage, judging: Judging): Promise<Judged | undefined> {
  const { member } = judge;
  const ballot = judging.ballot(fit);
  const prompt = mergePrompt(member, judging.question.text, judging.question.turns, ballot);
  const done = await judging.call(
    judge,
    { member, messages: prompt.messages, maxTokens: member.maxTokens },
    "synthesis",
  );
  judging.record(judge, done, prompt.shortened, `${judge.id}#synthesis`, "synthesis");
  if (done.status !== "ok" || !usableMerge(done.text, ballot.nonce)) return undefined;
  judging.skip(judge, "its model wrote one answer from all of them");
  return {
    by: "synthesis",
    winner: judge.id,
    why: `written from ${fit.length} answers`,
    scores: new Map(),
    text: done.text,
  };
}

async function judged(fit: readonly Contender[], judge: PlanStage, judging: Judging): Promise<Judged> {
  const ballot = judging.ballot(fit);
  const ballots =
    judging.question.bothOrders === true ? [ballot, secondBallot(ballot, () => judging.random())] : [ballot];
  const verdicts = await Promise.all(ballots.map((one, index) => hear(one, judge, judging, index)));
  const scores = mean(verdicts);
  const names = verdicts.map((verdict) => verdict.winner);
  const winner = names[0];
  if (winner !== undefined && names.every((name) => name === winner)) {
    const why = names.length === 1 ? "the judge chose it" : "the judge chose it in both orders";
    return { by: "judge", winner, why, scores };
  }
  const kinds = new Set(verdicts.map(({ kind }) => kind));
  const reason = kinds.has("unparsable")
    ? "the judge gave no verdict that can be read"
    : kinds.has("tie")
      ? "the judge called it a tie"
      : "the judge changed its mind with the order";
  const best = bestByScores(fit, scores);
  if (best !== undefined) return { by: "scores", winner: best, why: `${reason}; it has the highest scores`, scores };
  return {
    by: "resemblance",
    winner: mostResembling(fit),
    why: `${reason}; it resembles the other answers most`,
    scores,
  };
}

/** Most tokens of a verdict: the label, and five scores for each answer where wanted, with room for blanks that a grammar allows. */
function verdictTokens(ballot: Ballot, scores: boolean): number {
  return scores ? 32 + 40 * ballot.entries.length : 32;
}

async function hear(ballot: Ballot, judge: PlanStage, judging: Judging, index: number): Promise<Verdict> {
  const { member } = judge;
  const prompt = judgePrompt(member, judging.question.text, judging.question.turns, ballot);
  const done = await judging.call(judge, {
    member,
    messages: prompt.messages,
    format: verdictSchema(ballot, judging.scores),
    maxTokens: verdictTokens(ballot, judging.scores),
    temperature: 0,
    // The other order shares no beginning with the first one and is read at the same time: better by another pod.
    ...(index === 0 ? {} : { affinity: `${judging.affinity}#${index + 1}` }),
  });
  judging.record(judge, done, prompt.shortened, index === 0 ? judge.id : `${judge.id}#${index + 1}`);
  return readVerdict(done.status === "ok" ? done.text : "", ballot);
}

/** Mean scores of each member over the verdicts that scored it. */
function mean(verdicts: readonly Verdict[]): Map<string, Scores> {
  const sums = new Map<string, { sum: Scores; count: number }>();
  for (const { scores } of verdicts) {
    for (const [member, row] of scores) {
      const before = sums.get(member);
      sums.set(
        member,
        before === undefined
          ? { sum: row, count: 1 }
          : { sum: combine(before.sum, row, (a, b) => a + b), count: before.count + 1 },
      );
    }
  }
  return new Map([...sums].map(([member, { sum, count }]) => [member, combine(sum, sum, (a) => a / count)]));
}

function combine(a: Scores, b: Scores, by: (a: number, b: number) => number): Scores {
  return {
    correctness: by(a.correctness, b.correctness),
    completeness: by(a.completeness, b.completeness),
    clarity: by(a.clarity, b.clarity),
    usefulness: by(a.usefulness, b.usefulness),
    context: by(a.context, b.context),
  };
}
