import type { Decision, Scores, Stage } from "../contracts/native.ts";
import type { Attempted } from "./attempted.ts";
import {
  bestByScores,
  type Ballot,
  type Contender,
  judgePrompt,
  MOST_JUDGED,
  mostResembling,
  readLabel,
  readVerdict,
  secondBallot,
  type Verdict,
  verdictSchema,
} from "./judging.ts";
import type { Turn } from "./conversations.ts";
import { addressesJudge } from "./persuasion.ts";
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
  /** @param wrote told of the whole text so far each time it has grown */
  call(stage: PlanStage, call: ModelCall, as?: Stage["stage"], wrote?: (text: string) => void): Promise<Attempted>;
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
  /** Whether the judge named the same answer in both orders; absent where it was not asked twice, or a verdict could not be used. */
  orders?: "same" | "flipped";
  /** Whose answers spoke to the judge instead of to the user; absent where none did, or nobody was asked to choose. */
  persuaders?: readonly string[];
  /** The whole verdict, where the judge still writes its scores. Absent: this is all. */
  scored?: Promise<ReadonlyMap<string, Scores>>;
}

/**
 * Finds the winner. No judge is asked where one answer is left or all say the same. The rule for a verdict that cannot be used
 * (none, unreadable, a tie, or two orders that disagree): the highest sum of scores if one stands alone, else the answer that
 * resembles the others most, else the first of the plan. The judge's label comes first in its verdict, and the winner is found as soon as it
 * can be read (in both orders: as soon as both can, and agree): what the judge writes after it are scores, for which nobody has to wait.
 * Where an answer speaks to the judge, the judge is asked in both orders, whether that was wanted or not: what points at a place or a label
 * then wins nothing. Such an answer is not merged either, as what a merger obeys would reach the user as the ensemble's own words.
 * @param fit not empty.
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
  const calm = judgedFit.filter(({ text }) => !addressesJudge(text));
  const persuaders = judgedFit.filter((one) => !calm.includes(one)).map(({ member }) => member);
  const seen = persuaders.length === 0 ? {} : { persuaders };
  if (judging.question.mode === "synthesize" && calm.length > 1) {
    const merged = await synthesize(calm, judge, judging);
    if (merged !== undefined) return { ...merged, ...seen };
  }
  const twice = judging.question.bothOrders === true || persuaders.length > 0;
  return { ...(await judged(judgedFit, judge, judging, twice)), ...seen };
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

async function judged(fit: readonly Contender[], judge: PlanStage, judging: Judging, twice: boolean): Promise<Judged> {
  const ballot = judging.ballot(fit);
  const ballots = twice ? [ballot, secondBallot(ballot, () => judging.random())] : [ballot];
  const heard = ballots.map((one, index) => hear(one, judge, judging, index));
  const whole = Promise.all(heard.map(({ verdict }) => verdict));
  const names = await Promise.all(heard.map(({ label }) => label));
  const winner = names[0];
  if (winner !== undefined && names.every((name) => name === winner)) {
    const why = names.length === 1 ? "the judge chose it" : "the judge chose it in both orders";
    const orders = names.length === 1 ? {} : { orders: "same" as const };
    return { by: "judge", winner, why, scores: new Map(), scored: whole.then(mean), ...orders };
  }
  const verdicts = await whole;
  const scores = mean(verdicts);
  const kinds = new Set(verdicts.map(({ kind }) => kind));
  const reason = kinds.has("unparsable")
    ? "the judge gave no verdict that can be read"
    : kinds.has("tie")
      ? "the judge called it a tie"
      : "the judge changed its mind with the order";
  const orders = names.length > 1 && names.every((name) => name !== undefined) ? { orders: "flipped" as const } : {};
  const best = bestByScores(fit, scores);
  if (best !== undefined)
    return { by: "scores", winner: best, why: `${reason}; it has the highest scores`, scores, ...orders };
  return {
    by: "resemblance",
    winner: mostResembling(fit),
    why: `${reason}; it resembles the other answers most`,
    scores,
    ...orders,
  };
}

/** Most tokens of a verdict: the label, and five scores for each answer where wanted, with room for blanks that a grammar allows. */
function verdictTokens(ballot: Ballot, scores: boolean): number {
  return scores ? 32 + 40 * ballot.entries.length : 32;
}

/** One verdict on its way. */
interface Heard {
  /** The member that it names, as soon as that can be read; undefined once the verdict is whole and names nobody. */
  label: Promise<string | undefined>;
  verdict: Promise<Verdict>;
}

function hear(ballot: Ballot, judge: PlanStage, judging: Judging, index: number): Heard {
  let named: (member: string | undefined) => void = () => undefined;
  const label = new Promise<string | undefined>((resolve) => {
    named = resolve;
  });
  const verdict = wholeVerdict(ballot, judge, judging, index, (text) => {
    const winner = readLabel(text, ballot);
    if (winner !== undefined) named(winner);
  });
  // One whose label could not be read first, such as one in a code fence, counts when it is whole. A first word stands.
  verdict.then(
    ({ winner }) => named(winner),
    () => named(undefined),
  );
  return { label, verdict };
}

async function wholeVerdict(
  ballot: Ballot,
  judge: PlanStage,
  judging: Judging,
  index: number,
  wrote: (text: string) => void,
): Promise<Verdict> {
  const { member } = judge;
  const prompt = judgePrompt(member, judging.question.text, judging.question.turns, ballot);
  const call: ModelCall = {
    member,
    messages: prompt.messages,
    format: verdictSchema(ballot, judging.scores),
    maxTokens: verdictTokens(ballot, judging.scores),
    temperature: 0,
    // The other order shares no beginning with the first one and is read at the same time: better by another pod.
    ...(index === 0 ? {} : { affinity: `${judging.affinity}#${index + 1}` }),
  };
  const done = await judging.call(judge, call, undefined, wrote);
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
