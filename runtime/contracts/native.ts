import { z } from "zod";
import { MemberRole } from "./ensemble-config.ts";
import { FAULT_CODES } from "./errors.ts";
import { IdempotencyKey, Identifier } from "./identifier.ts";
import { Routing } from "./routing.ts";

/** The five criteria of a verdict, in the order of a candidate's scores. */
export const CRITERIA = ["correctness", "completeness", "clarity", "usefulness", "context"] as const;

/** `POST /ask`: one question to the ensemble. */
export const AskRequest = z.strictObject({
  question: z.string().trim().min(1),
  /** Whose conversations these are. Absent: the anonymous user. */
  user: Identifier.optional(),
  /** Conversation to go on with. Absent: a new one, whose id comes with the answer. */
  conversation: Identifier.optional(),
  /** The same key with the same question is answered once, and the same answer comes again; the header `Idempotency-Key` says the same. */
  idempotencyKey: IdempotencyKey.optional(),
  /** Stages as server-sent events instead of one answer. @default false */
  stream: z.boolean().default(false),
  /** Ask the judge twice, with the answers in opposite orders, and take only what both say. @default false */
  bothOrders: z.boolean().default(false),
  /** `select`: one model's own words. `synthesize`: the judge's model writes one answer from all of them. @default "select" */
  mode: z.enum(["select", "synthesize"]).default("select"),
  /** With `stream`: the words of the first model that speaks come as `draft` events at once, before anybody has judged. @default false */
  draft: z.boolean().default(false),
});
/** `POST /ask`, defaults filled in. */
export type AskRequest = z.output<typeof AskRequest>;
/** `POST /ask` as a client writes it. */
export type AskRequestInput = z.input<typeof AskRequest>;

/** How a stage ended. `cut`: out of time or length with some text; `dropped`: answered, but not fit to be judged. */
export const StageStatus = z.enum(["ok", "cut", "dropped", "failed", "timeout", "cancelled", "skipped"]);
/** How a stage ended. */
export type StageStatus = z.output<typeof StageStatus>;

/** Five scores from 1 to 5, keyed by criterion. */
const Scores = z.object(
  Object.fromEntries(CRITERIA.map((c) => [c, z.number()])) as Record<(typeof CRITERIA)[number], z.ZodNumber>,
);
/** Five scores from 1 to 5, keyed by criterion. */
export type Scores = z.output<typeof Scores>;

/** What one member did for one question. */
export const Stage = z.object({
  stage: z.enum(["rewrite", "candidate", "note", "judge", "synthesis"]),
  member: z.string(),
  model: z.string(),
  role: MemberRole,
  status: StageStatus,
  /** Its words, without hidden thoughts; empty where it gave none. */
  text: z.string(),
  /** From its start to its end, ms. 0 when skipped. */
  ms: z.number().nonnegative(),
  /** From the question's start to this stage's start, ms. */
  startedMs: z.number().nonnegative(),
  /** From its start to its first word, ms. Absent without a word. */
  firstTokenMs: z.number().nonnegative().optional(),
  promptTokens: z.number().int().nonnegative().optional(),
  answerTokens: z.number().int().nonnegative().optional(),
  /** The server saw fewer tokens than were sent, or parts were left out to fit the context window. */
  truncated: z.boolean().optional(),
  /** Calls made; more than 1 when one broke before anything was streamed, or was slow. */
  attempts: z.number().int().nonnegative(),
  /** A second call was made beside a slow one. */
  hedged: z.boolean().optional(),
  /** Why it did not end `ok`. */
  reason: z.string().optional(),
  /** Code of the fault, where one was met. */
  code: z.enum(FAULT_CODES).optional(),
  /** What the judge gave it. Absent when nobody judged. */
  scores: Scores.optional(),
});
/** What one member did for one question. */
export type Stage = z.output<typeof Stage>;

/** How the winner was found. In a synthesis the winner is the member that wrote it. */
export const Decision = z.object({
  /** `judge`: by verdict; the other ways name the rule that was used instead. */
  by: z.enum(["judge", "scores", "only-candidate", "agreement", "resemblance", "synthesis"]),
  winner: z.string(),
  model: z.string(),
  /** One sentence for people. */
  why: z.string(),
});
/** How the winner was found. */
export type Decision = z.output<typeof Decision>;

/** Answer of `POST /ask`, and data of the event `answer`. */
export const AskAnswer = z.object({
  id: z.string(),
  question: z.string(),
  /** The winner's own words. */
  reply: z.string(),
  decision: Decision,
  /** Whom it was asked of, and why. Absent where no panel was asked, such as for a kept answer. */
  routing: Routing.optional(),
  user: z.string(),
  conversation: z.string(),
  /** Turns of the conversation that the models were shown. */
  turnsShown: z.number().int().nonnegative(),
  /** In the order of the plan. */
  stages: z.array(Stage),
  ms: z.number().nonnegative(),
  /** It was made for an earlier request with the same question, or for one at the same time; the stages are of then. Absent: made for this one. */
  cached: z.object({ at: z.string(), ageMs: z.number().nonnegative() }).optional(),
  /** When it was answered, ISO 8601. */
  answeredAt: z.string(),
  /** The turn was in the store before this answer was sent. */
  remembered: z.boolean(),
  /** Why the turn is not in the store, or the conversation could not be read. Absent when all is well. */
  memory: z
    .object({
      /** The turn will be stored when the store is back. */
      queued: z.boolean(),
      /** The models were shown what the store has. */
      recalled: z.boolean(),
      reason: z.string(),
    })
    .optional(),
});
/** Answer of `POST /ask`. */
export type AskAnswer = z.output<typeof AskAnswer>;

/** Error object of the native API; `stages` tells what each member did where the pipeline had begun. */
export const NativeError = z.object({
  error: z.object({
    code: z.enum(FAULT_CODES),
    message: z.string(),
    retryable: z.boolean(),
    stages: z.array(Stage).optional(),
  }),
});
/** Error object of the native API. */
export type NativeError = z.output<typeof NativeError>;

/** Events of a streamed `POST /ask`, by name. */
export const AskEvent = z.discriminatedUnion("event", [
  /** Whom it is asked of; only where `routing.awarenessThreshold` is below 1. */
  z.object({ event: z.literal("routing"), routing: Routing }),
  z.object({ event: z.literal("stage-start"), stage: z.string(), member: z.string(), model: z.string() }),
  z.object({ event: z.literal("stage-end"), stage: Stage }),
  /** More words of one model, provisional: the reply comes as `text` events and may be another one's. */
  z.object({ event: z.literal("draft"), member: z.string(), model: z.string(), text: z.string() }),
  z.object({ event: z.literal("decision"), decision: Decision }),
  z.object({ event: z.literal("text"), text: z.string() }),
  z.object({ event: z.literal("answer"), answer: AskAnswer }),
  z.object({ event: z.literal("error"), error: NativeError.shape.error }),
]);
/** An event of a streamed `POST /ask`. */
export type AskEvent = z.output<typeof AskEvent>;
