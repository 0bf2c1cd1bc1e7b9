import { createHash, randomUUID } from "node:crypto";
import { AskAnswer } from "../contracts/native.ts";
import type { ConversationKey, Turn } from "../core/conversations.ts";
import { Fault } from "../core/fault.ts";
import type { Memory } from "../memory/memory.ts";
import type { Finished } from "../memory/store.ts";
import type { AskInput } from "./ensemble.ts";

/** An answer before it is known what became of its turn. */
export type Answered = Omit<AskAnswer, "id" | "answeredAt" | "remembered" | "memory">;

/** User of a request that names none. */
export const ANONYMOUS = "anonymous";

const replays = new WeakSet<AskAnswer>();

/** Whether an answer was not made for this request: its idempotency key had one already. */
export function isReplay(answer: AskAnswer): boolean {
  return replays.has(answer);
}

/**
 * Answers a question with what is remembered, and remembers it: the turn is in the store before anybody sees the reply, or the reply says
 * that it is not. Under an idempotency key it is answered once.
 * @param work makes the answer from the turns so far
 * @throws Fault idempotency_conflict, idempotency_in_progress, and what the work throws
 */
export async function answerOnce(
  memory: Memory,
  input: AskInput,
  signal: AbortSignal,
  work: (turns: readonly Turn[], key: ConversationKey) => Promise<Answered>,
): Promise<AskAnswer> {
  const { idempotencyKey, ...rest } = input;
  // What is asked, and not how it is paid for or kept.
  const request = { ...rest, spent: undefined, cache: undefined, traceparent: undefined };
  const user = input.user ?? ANONYMOUS;
  if (idempotencyKey === undefined) return answer(memory, input, work);
  const hash = hashOf(request);
  const claim = await memory.claim({ user, key: idempotencyKey, hash }, signal);
  if ("answer" in claim) return replayOf(claim.answer);
  let answered = false;
  try {
    const made = await answer(memory, input, work, { key: idempotencyKey, hash });
    answered = true;
    return made;
  } finally {
    await claim.end(answered);
  }
}

/** SHA-256 of what a request asks for; what it was given beside that, such as who counts its tokens, makes no other request of it. */
function hashOf(request: Omit<AskInput, "idempotencyKey">): string {
  const asked = Object.entries(request)
    .filter(([, value]) => value !== undefined && typeof value !== "function")
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(asked)).digest("hex");
}

function replayOf(text: string): AskAnswer {
  // Checked, but given as it is: the schema would put its fields in another order, and the bytes are promised to be the same.
  const answer: unknown = JSON.parse(text);
  AskAnswer.parse(answer);
  replays.add(answer as AskAnswer);
  return answer as AskAnswer;
}

async function answer(
  memory: Memory,
  input: AskInput,
  work: (turns: readonly Turn[], key: ConversationKey) => Promise<Answered>,
  key?: Finished["key"],
): Promise<AskAnswer> {
  const place: ConversationKey = {
    user: input.user ?? ANONYMOUS,
    conversation: input.conversation ?? randomUUID(),
  };
  const askedAt = new Date().toISOString();
  const own = input.turns !== undefined;
  const { turns, problem } = input.turns === undefined ? await memory.recall(place) : { turns: input.turns };
  const made = { id: randomUUID(), ...(await work(turns, place)), answeredAt: new Date().toISOString() };
  const recalled = problem === undefined;
  const unkept = (queued: boolean, reason: string): AskAnswer => ({
    ...made,
    remembered: false,
    memory: { queued, recalled, reason },
  });
  const wanted = !own && memory.keepsTurns;
  if (!wanted && key === undefined)
    return unkept(false, own ? "the client carries the conversation itself" : "memory.turns is 0");
  const kept: AskAnswer = wanted
    ? { ...made, remembered: true, ...(recalled ? {} : { memory: { queued: false, recalled, reason: problem } }) }
    : unkept(false, own ? "the client carries the conversation itself" : "memory.turns is 0");
  const { winner, model } = made.decision;
  const finished: Finished = {
    id: made.id,
    ...place,
    askedAt,
    ...(wanted ? { turn: { question: made.question, answer: made.reply, member: winner, model } } : {}),
    ...(key === undefined ? {} : { key }),
    answer: JSON.stringify(kept),
  };
  const result = await memory.finish(finished, (reason) => JSON.stringify(unkept(true, reason)));
  switch (result.kept) {
    case "stored":
      return kept;
    case "queued":
    case "not":
      return unkept(result.kept === "queued", result.reason);
    case "other":
      if (result.claim.state === "done") return replayOf(result.claim.answer);
      throw new Fault(
        "idempotency_conflict",
        "idempotency key: it was used with another request meanwhile; take another key",
      );
  }
}
