import { z } from "zod";
import { AskEvent, AskRequest, NativeError } from "./native.ts";

/** Subprotocol of `/horn` with JSON in text frames. */
export const HORN_JSON = "gorkheavy.json.v1";
/** Subprotocol of `/horn` with CBOR (RFC 8949) in binary frames: the same objects. */
export const HORN_CBOR = "gorkheavy.cbor.v1";
/** Both; a client gets the one that it names first. */
export const HORN_PROTOCOLS = [HORN_JSON, HORN_CBOR] as const;
/** Subprotocol of `/horn`. */
export type HornProtocol = (typeof HORN_PROTOCOLS)[number];

/** Close codes of the horn's own. Source of the range: RFC 6455, 7.4.2: 4000 to 4999 are for applications. */
export const HORN_CLOSE = {
  /** The first frame was no hello, or none that can be read. */
  badHello: 4400,
  /** The token is missing, wrong, or no longer valid. */
  unauthorized: 4401,
  /** No hello in time. */
  helloTimeout: 4408,
  /** Another socket has taken the session over. */
  replaced: 4409,
  /** The service is at its limit of sessions. Source: IANA's registry, 1013 Try Again Later. */
  overloaded: 1013,
  /** The service stops; nothing is in work on this socket any more, or the time for it is over. */
  stopping: 1001,
} as const;

/** Name that a client gives a question; unique in its session. */
const QuestionId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "want 1 to 64 of A-Z, a-z, 0-9, _ and -");

/** Number of a question's frame, from 1 without a gap. */
const Sequence = z.int().nonnegative();

/** What a client sends. */
export const HornRequest = z.discriminatedUnion("type", [
  /** First frame of a socket. `session` goes on with an earlier one, so that its questions can be resumed. */
  z.strictObject({ type: z.literal("hello"), token: z.string().optional(), session: z.string().optional() }),
  z.strictObject({ type: z.literal("ask"), id: QuestionId, ...AskRequest.omit({ stream: true }).shape }),
  z.strictObject({ type: z.literal("cancel"), id: QuestionId }),
  /** Has the frames of a question after this number sent again; 0 means all. Those up to it count as acknowledged. */
  z.strictObject({ type: z.literal("resume"), id: QuestionId, after: Sequence }),
  /** The client has worked off all frames of a question up to this number: they are forgotten, and no longer count against its window. */
  z.strictObject({ type: z.literal("ack"), id: QuestionId, upTo: Sequence }),
  z.strictObject({ type: z.literal("ping"), nonce: z.string().max(64) }),
]);
/** What a client sends. */
export type HornRequest = z.output<typeof HornRequest>;

/** What the service sends. */
export const HornReply = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("welcome"),
    /** Secret of this session: whoever has it can resume its questions. */
    session: z.string(),
    /** Bytes of frames of one question that may be under way without an acknowledgement. */
    windowBytes: z.int().positive(),
    /** A socket that says nothing for so long is closed, ms; the service pings it before. */
    idleMs: z.int().positive(),
    /** How long a question can be resumed after its socket has gone or its answer has ended, ms. */
    resumeMs: z.int().positive(),
    /** Whether the session that was asked for still was there. */
    resumed: z.boolean(),
    /** Questions of it that are still there: each goes on only after a `resume`. One that was asked and is not among them never arrived, or was worked off. */
    questions: z.array(z.string()),
  }),
  /** The next frame of a question. The last one has the event `answer` or `error`. */
  z.object({ type: z.literal("event"), id: z.string(), seq: z.int().positive(), event: AskEvent }),
  /** A request that could not be served; `id` where it was about a question. */
  z.object({ type: z.literal("refused"), id: z.string().optional(), error: NativeError.shape.error }),
  z.object({ type: z.literal("pong"), nonce: z.string() }),
]);
/** What the service sends. */
export type HornReply = z.output<typeof HornReply>;
