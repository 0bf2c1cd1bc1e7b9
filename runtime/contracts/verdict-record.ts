import { z } from "zod";
import { Decision, Stage } from "./native.ts";
import { Profile, Routing } from "./routing.ts";
import { RoutingConfigSchema } from "./routing-config.ts";

/** What decides a route beside the question and the verdicts. */
export const RouteSettings = RoutingConfigSchema.pick({
  awarenessThreshold: true,
  most: true,
  explorationRatio: true,
  riskLimit: true,
  likeVerdicts: true,
})
  .required()
  .extend({ quorum: z.int().min(1) });
/** What decides a route beside the question and the verdicts. */
export type RouteSettings = z.output<typeof RouteSettings>;

/** A candidate as the router sees it. */
export const PanelMember = z.strictObject({
  member: z.string(),
  model: z.string(),
  /** It is asked the rewriter's words. */
  rewritten: z.boolean(),
});
/** A candidate as the router sees it. */
export type PanelMember = z.output<typeof PanelMember>;

/** One line of a verdicts file: a question without its words, who was asked, who won, and all that its route was decided from. */
export const VerdictRecord = z.strictObject({
  /** Form of the line. */
  v: z.literal(1),
  /** Number of the verdict, one more than the one before it. */
  seq: z.int().min(1),
  /** When it was written, ISO 8601. Absent where nobody kept a clock. */
  at: z.iso.datetime().optional(),
  profile: Profile,
  /** Candidates in the order of the plan, whoever was asked. */
  panel: z.array(PanelMember).min(1),
  /** Candidates that were left alone after failures when the route was decided. */
  down: z.array(z.string()),
  /** The client asked for what only the whole panel can give. */
  wholeAskedFor: z.boolean(),
  settings: RouteSettings,
  /** First and last verdict that the route was decided from; absent where there was none. */
  learned: z.tuple([z.int().min(1), z.int().min(1)]).optional(),
  /** Chance that was drawn for the route, 0 to 1. Absent where none was needed. */
  draw: z.number().min(0).max(1).optional(),
  routing: Routing,
  decision: Decision.pick({ by: true, winner: true }),
  /** From question to reply, ms. */
  ms: z.number().nonnegative(),
  /** How each stage went, without its words. */
  stages: z.array(
    Stage.pick({ stage: true, member: true, status: true, startedMs: true, ms: true, attempts: true }).strict(),
  ),
  /** The question's own words; only where `routing.recordQuestions` asks for them. */
  question: z.string().optional(),
});
/** One line of a verdicts file. */
export type VerdictRecord = z.output<typeof VerdictRecord>;
