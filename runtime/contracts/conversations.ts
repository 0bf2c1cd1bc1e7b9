import { z } from "zod";
import { Identifier } from "./identifier.ts";

/** One stored turn. */
export const StoredTurn = z.object({
  /** Place in its conversation, from 1; gaps only where retention deleted. */
  sequence: z.int().positive(),
  /** Id of the answer. */
  id: z.string(),
  question: z.string(),
  answer: z.string(),
  /** Member of the ensemble whose words these are. */
  member: z.string(),
  model: z.string(),
  /** When it was asked, ISO 8601. */
  askedAt: z.string(),
});
/** One stored turn. */
export type StoredTurn = z.output<typeof StoredTurn>;

/** One conversation in a list. */
export const ConversationSummary = z.object({
  id: z.string(),
  turns: z.int().nonnegative(),
  /** The first 120 characters of its first question. */
  title: z.string(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
/** One conversation in a list. */
export type ConversationSummary = z.output<typeof ConversationSummary>;

/** `GET /v1/conversations`: the one used last comes first. */
export const ConversationList = z.object({
  conversations: z.array(ConversationSummary),
  /** `cursor` of the next page. Absent on the last one. */
  nextCursor: z.string().optional(),
});
/** `GET /v1/conversations`. */
export type ConversationList = z.output<typeof ConversationList>;

/** `GET /v1/conversations/{id}`: oldest turn first. */
export const ConversationPage = z.object({
  id: z.string(),
  turns: z.array(StoredTurn),
  /** `after` of the next page. Absent on the last one. */
  nextAfter: z.int().optional(),
});
/** `GET /v1/conversations/{id}`. */
export type ConversationPage = z.output<typeof ConversationPage>;

/** Answer of a deletion. */
export const ConversationsDeleted = z.object({ deleted: z.int().nonnegative() });
/** Answer of a deletion. */
export type ConversationsDeleted = z.output<typeof ConversationsDeleted>;

/** Query of a list. */
export const ListQuery = z.strictObject({
  user: Identifier.optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z
    .string()
    .regex(/^[0-9]{1,18}$/, "want a nextCursor of an earlier page")
    .optional(),
});
/** Query of a conversation's page. */
export const PageQuery = z.strictObject({
  user: Identifier.optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
  /** Turns after this sequence number. */
  after: z.coerce.number().int().min(0).max(2_147_483_647).default(0),
});
/** Query of an export. */
export const ExportQuery = z.strictObject({
  user: Identifier.optional(),
  format: z.enum(["jsonl", "markdown"]).default("jsonl"),
});
/** Query of a deletion. */
export const UserQuery = z.strictObject({ user: Identifier.optional() });
