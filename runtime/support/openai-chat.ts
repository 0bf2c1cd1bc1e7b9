import {
  type OpenAiChatChunk,
  type OpenAiChatCompletion,
  type OpenAiLogprob,
  type OpenAiUsage,
} from "../contracts/openai.ts";
import { FAULTS } from "../contracts/errors.ts";
import { Fault } from "../core/fault.ts";
import type { Piece } from "../core/ports.ts";
import type { Dialect, Framing } from "./http.ts";

/** Error object of the OpenAI API. */
export const OPENAI_DIALECT: Dialect = {
  body: (fault) => ({
    error: {
      message: fault.message,
      type: FAULTS[fault.code].openaiType,
      param: fault.param ?? null,
      code: fault.code,
    },
  }),
};

/** Server-sent events as OpenAI frames them. */
export function openAiEvents<T>(): Framing<T> {
  return {
    contentType: "text/event-stream",
    frame: (chunk) => `data: ${JSON.stringify(chunk)}\n\n`,
    failure: (fault) => `data: ${JSON.stringify(OPENAI_DIALECT.body(fault))}\n\n`,
    end: "data: [DONE]\n\n",
  };
}

/** What every part of one completion says. It is read when a part is made, so that an id may come with the first piece. */
export interface CompletionBase {
  id: string;
  /** Seconds since 1970. */
  created: number;
  model: string;
}

/** A part of an answer with the probabilities of its tokens, where they were asked. */
export interface OpenAiPiece extends Piece {
  logprobs?: OpenAiLogprob[];
}

/** Tokens of an answer; 0 where the server did not count. */
export function usageOf({ promptTokens = 0, answerTokens = 0 }: NonNullable<Piece["done"]>): OpenAiUsage {
  return { prompt_tokens: promptTokens, completion_tokens: answerTokens, total_tokens: promptTokens + answerTokens };
}

/** How OpenAI names the end of an answer. */
export function finishReason({ reason }: NonNullable<Piece["done"]>): "stop" | "length" {
  return reason === "length" ? "length" : "stop";
}

/** An answer as the events of a streamed chat completion. @param withUsage whether an event with the tokens ends it */
export async function* chatChunks(
  pieces: AsyncIterable<OpenAiPiece>,
  base: CompletionBase,
  withUsage: boolean,
): AsyncIterable<OpenAiChatChunk> {
  type Choice = OpenAiChatChunk["choices"][number];
  const chunk = (delta: Choice["delta"], finish: string | null, logprobs?: OpenAiLogprob[]): OpenAiChatChunk => ({
    id: base.id,
    object: "chat.completion.chunk",
    created: base.created,
    model: base.model,
    choices: [
      {
        index: 0,
        delta,
        ...(logprobs === undefined ? {} : { logprobs: { content: logprobs, refusal: null } }),
        finish_reason: finish,
      },
    ],
  });
  let first = true;
  for await (const { text, done, logprobs } of pieces) {
    if (first) yield chunk({ role: "assistant", content: text }, null, logprobs);
    else if (text !== "" || (logprobs ?? []).length > 0) yield chunk({ content: text }, null, logprobs);
    first = false;
    if (done === undefined) continue;
    yield chunk({}, finishReason(done));
    if (withUsage) yield { ...chunk({}, null), choices: [], usage: usageOf(done) };
  }
}

/** An answer as one chat completion. @throws Fault internal when it has no last part */
export async function chatCompletion(
  pieces: AsyncIterable<OpenAiPiece>,
  base: CompletionBase,
): Promise<OpenAiChatCompletion> {
  let content = "";
  let known: OpenAiLogprob[] | undefined;
  for await (const { text, done, logprobs } of pieces) {
    content += text;
    if (logprobs !== undefined) known = [...(known ?? []), ...logprobs];
    if (done === undefined) continue;
    return {
      id: base.id,
      object: "chat.completion",
      created: base.created,
      model: base.model,
      choices: [
        {
          index: 0,
          message: { role: "assistant", content, refusal: null },
          logprobs: known === undefined ? null : { content: known, refusal: null },
          finish_reason: finishReason(done),
        },
      ],
      usage: usageOf(done),
    };
  }
  throw new Fault("internal", "the answer ended without a last part");
}
