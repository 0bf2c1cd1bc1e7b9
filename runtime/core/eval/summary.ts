import type { EvalResult } from "../../contracts/eval.ts";
import { shareOf, type Share } from "../wilson.ts";
import { WHOLE } from "./variants.ts";

/** What one way of asking came to. */
export interface VariantSummary {
  variant: string;
  questions: number;
  right: number;
  /** Share right, with its 95 % interval. */
  quality: Share;
  /** Questions without any answer. */
  unanswered: number;
  /** Middle time from question to answer, ms. */
  p50Ms: number;
  /** Mean time of all calls together, ms a question. */
  modelMs: number;
  /** Mean calls a question. */
  calls: number;
  /** Questions won, by member, most first. */
  won: [string, number][];
  /** Questions and right ones, by class. */
  classes: Record<string, { questions: number; right: number }>;
}

/** Two ways of asking, question by question. */
export interface Comparison {
  variant: string;
  other: string;
  /** Questions that both were asked. */
  questions: number;
  /** Questions that the first alone got right, and the other alone. */
  better: number;
  worse: number;
  /** How likely so uneven a split is if both are equally good: the two-sided sign test. 1 where they never differ. */
  chance: number;
}

/** How good the judge is, as far as the checks can tell. */
export interface JudgeSummary {
  /** Questions that it judged with right and wrong answers before it. */
  decidable: number;
  /** Those of them that it chose a right answer for. */
  right: number;
  /** Share right of them, with its 95 % interval. */
  agreement: Share;
  /** Share that blind choice would have got. */
  blind: number;
  /** Verdicts that named an answer, those that named the one read first, and how many of those blind choice would have made. */
  verdicts: number;
  first: number;
  firstByChance: number;
  /** Questions judged in both orders, and those of them whose two verdicts named different answers. 0 where nobody asked for both. */
  pairs: number;
  flips: number;
}

/** What each way of asking came to, in the order in which they were asked. */
export function summarize(results: readonly EvalResult[]): VariantSummary[] {
  return [...grouped(results, ({ variant }) => variant)].map(([variant, rows]) => {
    const right = rows.filter((row) => row.right).length;
    const won = [
      ...grouped(
        rows.filter(({ winner }) => winner !== undefined),
        ({ winner }) => winner ?? "",
      ),
    ];
    return {
      variant,
      questions: rows.length,
      right,
      quality: shareOf(right, rows.length),
      unanswered: rows.filter(({ fault }) => fault !== undefined).length,
      p50Ms: middleOf(rows.map(({ ms }) => ms)),
      modelMs: meanOf(rows.map(({ modelMs }) => modelMs)),
      calls: meanOf(rows.map(({ calls }) => calls)),
      won: won.map(([member, wins]): [string, number] => [member, wins.length]).sort((a, b) => b[1] - a[1]),
      classes: Object.fromEntries(
        [...grouped(rows, (row) => row.class)].map(([name, some]) => [
          name,
          { questions: some.length, right: some.filter((row) => row.right).length },
        ]),
      ),
    };
  });
}

/** The whole ensemble against the best single model; undefined where either was not asked. */
export function againstBest(results: readonly EvalResult[]): Comparison | undefined {
  const best = summarize(results)
    .filter(({ variant }) => variant.startsWith("alone:"))
    .toSorted((a, b) => b.quality.share - a.quality.share)[0];
  if (best === undefined || !results.some(({ variant }) => variant === WHOLE)) return undefined;
  return compare(results, WHOLE, best.variant);
}

/** Two ways of asking, question by question. */
export function compare(results: readonly EvalResult[], variant: string, other: string): Comparison {
  const rows = new Map(results.filter((row) => row.variant === other).map((row) => [row.id, row.right]));
  const pairs = results.flatMap((row) => {
    const second = rows.get(row.id);
    return row.variant === variant && second !== undefined ? [[row.right, second] as const] : [];
  });
  const better = pairs.filter(([first, second]) => first && !second).length;
  const worse = pairs.filter(([first, second]) => !first && second).length;
  return { variant, other, questions: pairs.length, better, worse, chance: signTest(better, worse) };
}

/** How good the judge of the whole ensemble is; undefined where nobody judged. */
export function judgeOf(results: readonly EvalResult[]): JudgeSummary | undefined {
  const judged = results.filter(
    ({ variant, verdicts }) => (variant === WHOLE || variant === "both-orders") && verdicts.length > 0,
  );
  if (judged.length === 0) return undefined;
  const decidable = judged.flatMap((row) => {
    const answers = row.candidates.filter(({ status }) => status === "ok");
    const good = answers.filter(({ right }) => right).length;
    if (row.variant !== WHOLE || row.by !== "judge" || good === 0 || good === answers.length) return [];
    return [{ right: row.right, blind: good / answers.length }];
  });
  const verdicts = judged.flatMap((row) => row.verdicts);
  const pairs = judged.filter((row) => row.variant === "both-orders" && row.verdicts.length === 2);
  const right = decidable.filter((one) => one.right).length;
  return {
    decidable: decidable.length,
    right,
    agreement: shareOf(right, decidable.length),
    blind: meanOf(decidable.map(({ blind }) => blind)),
    verdicts: verdicts.length,
    first: verdicts.filter(({ place }) => place === 0).length,
    firstByChance: verdicts.reduce((sum, { of }) => sum + 1 / of, 0),
    pairs: pairs.length,
    flips: pairs.filter(({ verdicts: [one, two] }) => one?.member !== two?.member).length,
  };
}

/** Two-sided sign test: the chance of a split at least so uneven among as many that are even. */
function signTest(better: number, worse: number): number {
  const count = better + worse;
  let logOfChoose = 0;
  let tail = 0;
  for (let k = 0; k <= Math.min(better, worse); k++) {
    tail += Math.exp(logOfChoose - count * Math.LN2);
    logOfChoose += Math.log(count - k) - Math.log(k + 1);
  }
  return count === 0 ? 1 : Math.min(1, 2 * tail);
}

function grouped<T>(values: readonly T[], key: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    const group = groups.get(key(value));
    if (group === undefined) groups.set(key(value), [value]);
    else group.push(value);
  }
  return groups;
}

function meanOf(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function middleOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}
