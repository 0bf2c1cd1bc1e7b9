import type { EvalResult } from "../../contracts/eval.ts";
import {
  againstBest,
  type Comparison,
  judgeOf,
  type JudgeSummary,
  summarize,
  type VariantSummary,
} from "../../core/eval/summary.ts";
import type { Share } from "../../core/wilson.ts";

/** All figures of an evaluation. */
export interface EvalReport {
  variants: VariantSummary[];
  /** The whole ensemble against the best single model. Absent where either was not asked. */
  againstBest?: Comparison;
  /** Absent where nobody judged. */
  judge?: JudgeSummary;
}

/** All figures of an evaluation. */
export function reportOf(results: readonly EvalResult[]): EvalReport {
  return { variants: summarize(results), againstBest: againstBest(results), judge: judgeOf(results) };
}

/** An evaluation as tables and sentences. */
export function renderReport({ variants, againstBest: best, judge }: EvalReport): string {
  return [
    table(
      [
        "asked",
        "right",
        "share right (95 %)",
        "no answer",
        "wall p50 s",
        "model s a question",
        "calls a question",
        "who won",
      ],
      variants.map((one) => [
        one.variant,
        `${one.right} of ${one.questions}`,
        interval(one.quality),
        String(one.unanswered),
        seconds(one.p50Ms),
        seconds(one.modelMs),
        one.calls.toFixed(1),
        one.won.map(([member, wins]) => `${member} ${wins}`).join(", "),
      ]),
    ),
    classTable(variants),
    best === undefined ? "" : sentenceOf(best),
    judge === undefined ? "" : judgeTable(judge),
  ]
    .filter((part) => part !== "")
    .join("\n");
}

function classTable(variants: readonly VariantSummary[]): string {
  const classes = [...new Set(variants.flatMap((one) => Object.keys(one.classes)))];
  return table(
    ["right by class", ...classes],
    variants.map((one) => [
      one.variant,
      ...classes.map((name) => {
        const found = one.classes[name];
        return found === undefined ? "-" : `${found.right}/${found.questions}`;
      }),
    ]),
  );
}

function sentenceOf({ variant, other, questions, better, worse, chance }: Comparison): string {
  const more = better - worse;
  const head =
    more === 0 ? "as many questions right as" : `${Math.abs(more)} questions ${more > 0 ? "more" : "fewer"} right than`;
  return `The ${variant} got ${head} the best single model (${other}), of ${questions}: right where that was wrong ${better} times, the other way round ${worse} times; so uneven a split comes by chance with ${(100 * chance).toFixed(0)} %.\n`;
}

function judgeTable(judge: JudgeSummary): string {
  return table(
    ["judge", "figure"],
    [
      [
        "chose a right answer where right and wrong ones stood before it",
        `${judge.right} of ${judge.decidable}: ${interval(judge.agreement)}; blind choice ${percent(judge.blind)}`,
      ],
      [
        "named the answer that it read first",
        `${judge.first} of ${judge.verdicts}; blind choice ${judge.firstByChance.toFixed(1)}`,
      ],
      [
        "changed its mind with the order (flips)",
        judge.pairs === 0
          ? "not measured; --both-orders does"
          : `${judge.flips} of ${judge.pairs}: ${percent(judge.flips / judge.pairs)}`,
      ],
    ],
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |\n`;
  return line(head) + line(head.map(() => "---")) + rows.map(line).join("");
}

function interval({ share, least, most }: Share): string {
  return `${percent(share)} (${percent(least)} to ${percent(most)})`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}
