import { z } from "zod";

/** The seven dimensions of a question's profile, in the order in which they are always given. */
export const DIMENSIONS = [
  "code",
  "reasoning",
  "recall",
  "creativity",
  "brevity",
  "contextDependence",
  "risk",
] as const;
/** Name of a dimension. */
export type Dimension = (typeof DIMENSIONS)[number];

const Degree = z.number().min(0).max(1);

/** What kind of question it is: seven degrees from 0 (not at all) to 1. */
export const Profile = z.strictObject({
  /** It is about program code. */
  code: Degree,
  /** It wants thinking in steps: calculating, comparing, proving. */
  reasoning: Degree,
  /** It wants facts that one knows or does not. */
  recall: Degree,
  /** It wants something made up. */
  creativity: Degree,
  /** It wants a short answer. */
  brevity: Degree,
  /** It cannot be understood without the conversation before it. */
  contextDependence: Degree,
  /** A wrong answer could do harm, or nothing can be said of the question because its language is not known here. */
  risk: Degree,
});
/** What kind of question it is. */
export type Profile = z.output<typeof Profile>;

/** Why a question went to whom it went. */
export const RoutingReason = z.enum([
  /** The models asked win such questions often enough. */
  "sure",
  /** They may win often enough, but this one was to learn from. */
  "explore",
  /** The threshold is 1. */
  "off",
  /** The client asked for what only the whole panel can give. */
  "asked-for",
  /** There is nobody to leave out. */
  "panel-small",
  /** The question may be one where a wrong answer does harm. */
  "risk",
  /** Too few like questions were judged so far. */
  "unlearned",
  /** Nobody wins such questions often enough. */
  "unsure",
  /** Those who usually win are left alone after failures. */
  "breaker",
]);
/** Why a question went to whom it went. */
export type RoutingReason = z.output<typeof RoutingReason>;

/** Whom a question was asked of, and why. */
export const Routing = z.object({
  profile: Profile,
  /** `routing.awarenessThreshold` at that time. */
  threshold: Degree,
  /** Candidates asked at once, in the order of the plan. */
  asked: z.array(z.string()),
  /** Candidates held back; they are asked too when those asked fail. */
  heldBack: z.array(z.string()),
  reason: RoutingReason,
  /** Share of like questions that those asked, or the best that could have been, win at least, with a confidence of 95 %. Absent where nobody looked. */
  sureness: Degree.optional(),
  /** Like verdicts that it was found from, each counted by how like it is. Absent where nobody looked. */
  like: z.number().nonnegative().optional(),
  /** One sentence for people. */
  why: z.string(),
});
/** Whom a question was asked of, and why. */
export type Routing = z.output<typeof Routing>;
