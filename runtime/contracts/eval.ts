import { z } from "zod";
import { Decision, StageStatus } from "./native.ts";
import { VerdictRecord } from "./verdict-record.ts";

const Texts = z.array(z.string().min(1)).min(1);

/** How an answer is checked; case, spacing and closing punctuation never matter. */
export const EvalCheck = z.discriminatedUnion("kind", [
  /** The whole answer is one of these. */
  z.strictObject({ kind: z.literal("exact"), values: Texts }),
  /** The answer has all of these words or phrases, at least one of `any`, and none of `none`. */
  z
    .strictObject({
      kind: z.literal("contains"),
      all: Texts.optional(),
      any: Texts.optional(),
      none: Texts.optional(),
    })
    .refine(({ all, any }) => all !== undefined || any !== undefined, { message: "want `all` or `any`" }),
  /** The last number of the answer (or any, where told so) is this one, or no further from it than the tolerance. */
  z.strictObject({
    kind: z.literal("number"),
    value: z.number(),
    tolerance: z.number().nonnegative().default(0),
    which: z.enum(["last", "any"]).default("last"),
  }),
  /** Every pattern is found somewhere in the answer. */
  z.strictObject({
    kind: z.literal("regex"),
    patterns: z
      .array(
        z.string().refine(
          (pattern) => {
            try {
              return new RegExp(pattern, "imu") instanceof RegExp;
            } catch {
              return false;
            }
          },
          { message: "want a regular expression that JavaScript takes with the flags imu" },
        ),
      )
      .min(1),
  }),
  /** The answer names this letter of the choices. */
  z.strictObject({ kind: z.literal("choice"), value: z.string().regex(/^[A-H]$/, "want a letter from A to H") }),
  /** The answer says that it is not known, or that what the question takes for granted is not so. */
  z.strictObject({ kind: z.literal("unknown") }),
]);
/** How an answer is checked. */
export type EvalCheck = z.output<typeof EvalCheck>;

/** One question of an evaluation. */
export const EvalQuestion = z.strictObject({
  /** Unique in the file. */
  id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, "want 1 to 64 of a-z, 0-9 and -"),
  /** Class under which it is counted. */
  class: z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, "want 1 to 32 of a-z, 0-9 and -"),
  question: z.string().trim().min(1).max(20_000),
  /** The conversation before it, oldest turn first. */
  turns: z.array(z.strictObject({ question: z.string().min(1), answer: z.string().min(1) })).default([]),
  check: EvalCheck,
});
/** One question of an evaluation. */
export type EvalQuestion = z.output<typeof EvalQuestion>;

/** What came of one question in one way of asking: a line of `results.jsonl`. */
export const EvalResult = z.strictObject({
  v: z.literal(1),
  /** Way of asking, such as `ensemble` or `alone:llama`. */
  variant: z.string(),
  id: z.string(),
  class: z.string(),
  /** Digest of the question and its check: another question under the same id is another one. */
  digest: z.string(),
  /** False for a wrong answer and for none. */
  right: z.boolean(),
  answer: z.string().optional(),
  /** Why there is no answer. */
  fault: z.string().optional(),
  by: Decision.shape.by.optional(),
  winner: z.string().optional(),
  /** Whether each candidate that answered was right. */
  candidates: z.array(z.strictObject({ member: z.string(), status: StageStatus, right: z.boolean() })),
  /** Verdicts that named an answer: its place among those that the judge read, from 0, and whose it was. */
  verdicts: z.array(z.strictObject({ place: z.int().min(0), of: z.int().min(1), member: z.string() })),
  /** Calls of models, those that only feed the judge among them. */
  calls: z.int().nonnegative(),
  /** Time of all calls together, ms. */
  modelMs: z.number().nonnegative(),
  /** From question to answer, ms. */
  ms: z.number().nonnegative(),
  /** What routing learns from it; with the whole ensemble alone. */
  verdict: VerdictRecord.optional(),
});
/** What came of one question in one way of asking. */
export type EvalResult = z.output<typeof EvalResult>;
