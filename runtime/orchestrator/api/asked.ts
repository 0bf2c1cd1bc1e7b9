import { createHash } from "node:crypto";
import type { HttpBindings } from "@hono/node-server";
import type { Context, MiddlewareHandler } from "hono";
import { IdempotencyKey, Identifier } from "../../contracts/identifier.ts";
import type { AskAnswer } from "../../contracts/native.ts";
import { turnsOf, type Turn } from "../../core/conversations.ts";
import { Fault } from "../../core/fault.ts";
import { clientSignal } from "../../support/http.ts";
import type { AskInput, Ensemble } from "../ensemble.ts";
import { cacheUseOf } from "../answers/answer-cache.ts";
import { type Admission, admissionOf } from "../gate.ts";
import { isReplay } from "../remembering.ts";

/** Header that names the conversation on APIs that have no field for it. */
export const CONVERSATION_HEADER = "x-gorkheavy-conversation";
/** Header that names the user on APIs that have no field for it. */
export const USER_HEADER = "x-gorkheavy-user";

/** Header under whose value the same question is answered once. Source: draft-ietf-httpapi-idempotency-key-header. */
export const IDEMPOTENCY_HEADER = "idempotency-key";
/** Header that says what became of the turn: `true`, `queued` or `false`. */
export const REMEMBERED_HEADER = "x-gorkheavy-remembered";
/** Header that says whether the answer was made for this request (`miss`) or for an earlier one (`hit`). Absent: answers are not kept. */
export const CACHE_HEADER = "x-gorkheavy-cache";
/** Header that names the member whose words an answer gives. */
export const WINNER_HEADER = "x-gorkheavy-winner";
/** Header that says that the answer was there already. */
export const REPLAYED_HEADER = "idempotent-replayed";

/** Who asks, in which conversation, under which key, and who is told what it cost. */
export type Identity = Pick<AskInput, "user" | "conversation" | "idempotencyKey" | "cache" | "traceparent" | "spent">;

/**
 * User, conversation and idempotency key, as the request's headers and its key say; undefined where it names none.
 * @param named user that the request names elsewhere, for whom the header wins
 * @throws Fault invalid_request, forbidden (another's user)
 */
export function identityOf(c: Context, named?: string): Identity {
  const caller = callerOf(c);
  return {
    user: caller.userFor(header(c, USER_HEADER, Identifier) ?? named),
    traceparent: c.req.header("traceparent"),
    cache: cacheUseOf(c.req.header("cache-control")),
    spent: (used) => caller.settle(used),
    conversation: header(c, CONVERSATION_HEADER, Identifier),
    idempotencyKey: header(c, IDEMPOTENCY_HEADER, IdempotencyKey),
  };
}

/** What let a request in. */
export function callerOf(c: Context): Admission {
  return admissionOf((c.env as Partial<HttpBindings> | undefined)?.incoming);
}

function header(c: Context, name: string, schema: typeof Identifier): string | undefined {
  const value = c.req.header(name);
  if (value === undefined) return undefined;
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new Fault("invalid_request", `${name}: ${parsed.error.issues[0]?.message ?? "not allowed"}`);
  return parsed.data;
}

/** Answers whose requests have a body of another API: what it cannot say is said in a header. */
const answers = new WeakMap<Request, { answer: AskAnswer; caches: boolean }>();

/** Asks the ensemble for a request, whose response will say in its headers what became of the turn. @throws Fault */
export async function askFor(
  ensemble: Ensemble,
  input: AskInput,
  c: Context,
  until: "words" | "scores" = "words",
): Promise<AskAnswer> {
  const signal = clientSignal(c);
  const answer = await (until === "words" ? ensemble.reply(input, signal) : ensemble.ask(input, signal));
  answers.set(c.req.raw, { answer, caches: ensemble.answers !== undefined });
  return answer;
}

/** Puts those headers on every response that was made by `askFor`. */
export const rememberedHeaders: MiddlewareHandler = async (c, next) => {
  await next();
  const known = answers.get(c.req.raw);
  if (known === undefined) return;
  const { answer, caches } = known;
  if (caches) c.header(CACHE_HEADER, answer.cached === undefined ? "miss" : "hit");
  c.header(WINNER_HEADER, answer.decision.winner);
  c.header(CONVERSATION_HEADER, answer.conversation);
  c.header(REMEMBERED_HEADER, answer.remembered ? "true" : answer.memory?.queued === true ? "queued" : "false");
  if (isReplay(answer)) c.header(REPLAYED_HEADER, "true");
};

/** One message of a chat with its text taken out. */
export interface PlainMessage {
  role: string;
  content: string;
}

/**
 * A chat as a question to the ensemble: the last user message is the question, the ones before it are history, unless the request names
 * a conversation: then the service's own memory is used. Instructions of the client go to the candidates.
 * @throws Fault invalid_request when the last message is not the user's
 */
export function askOfChat(messages: readonly PlainMessage[], turns: number, identity: Identity): AskInput {
  const last = messages.at(-1);
  if (last?.role !== "user") throw new Fault("invalid_request", "messages: want the last one to be the user's");
  if (last.content.trim() === "") throw new Fault("invalid_request", "messages: the last one is empty");
  const system = messages
    .filter(({ role }) => role === "system" || role === "developer")
    .map(({ content }) => content)
    .join("\n\n");
  const history: Turn[] = turnsOf(messages.slice(0, -1), turns);
  return {
    question: last.content,
    ...identity,
    ...(system === "" ? {} : { system }),
    ...(identity.conversation === undefined ? { turns: history } : {}),
  };
}

/** Numbers in an Ollama `context` that carry a conversation: a mark and 16 bytes. */
const CONTEXT_MARK = 0x67_6b_68;

/** A conversation as Ollama's `context`, which its clients hand back with the next question. Undefined for an id that is no UUID. */
export function contextOf(conversation: string): number[] | undefined {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(conversation)) return undefined;
  return [CONTEXT_MARK, ...Buffer.from(conversation.replaceAll("-", ""), "hex")];
}

/** The conversation of an Ollama `context`; undefined when there is none in it. */
export function conversationOf(context: readonly number[] | null | undefined): string | undefined {
  if (context?.[0] !== CONTEXT_MARK || context.length !== 17) return undefined;
  const hex = Buffer.from(context.slice(1)).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** A digest for things that have no other: 64 hex digits. */
export function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Most pieces of a replayed text: its words are all known, so a long one gains nothing by more. */
const MOST_PIECES = 256;

/** A text in the pieces in which it is replayed: words with the blank space before them, several at once in a long text. Joined they are the text, byte for byte. */
export function replay(text: string): string[] {
  const words = text.match(/\s*\S+\s*$|\s*\S+|\s+/g) ?? [];
  const together = Math.ceil(words.length / MOST_PIECES);
  if (together <= 1) return words;
  const pieces: string[] = [];
  for (let at = 0; at < words.length; at += together) pieces.push(words.slice(at, at + together).join(""));
  return pieces;
}
