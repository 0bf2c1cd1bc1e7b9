import { randomUUID } from "node:crypto";
import type { Context } from "hono";
import { OpenAiCompletionRequest } from "../../../contracts/openai-engine.ts";
import type { OpenAiLogprob } from "../../../contracts/openai.ts";
import { Fault } from "../../../core/fault.ts";
import { clientSignal, readJson, streamResponse } from "../../../support/http.ts";
import { finishReason, openAiEvents, type OpenAiPiece, usageOf } from "../../../support/openai-chat.ts";
import type { Engine } from "../../engine.ts";
import { MOST_BODY_BYTES } from "../bodies.ts";
import { type Asked, generate, given, openAiPieces } from "../inference.ts";
import { refuseMany, refuseUnserved } from "../refusals.ts";
import { leaseOf, samplingOf } from "./sampling.ts";

/** What OpenAI writes when no length is asked for, tokens. Source: API reference, completions, `max_tokens`. */
const USUAL_TOKENS = 16;
/** Most prompts in one request; they are answered one after the other. */
const MOST_PROMPTS = 64;

/** `POST /v1/completions`: goes on with a text; no template is laid around it. */
export async function completions(engine: Engine, c: Context): Promise<Response> {
  const request = await readJson(c, OpenAiCompletionRequest, MOST_BODY_BYTES);
  const asked = askedOf(request);
  const signal = clientSignal(c);
  const answers = asked.map((one) => () => openAiPieces(generate(engine, one, signal)));
  const base = {
    id: `cmpl-${randomUUID()}`,
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model: request.model,
  };
  if (request.stream === true) {
    const withUsage = request.stream_options?.include_usage === true;
    return streamResponse(chunksOf(answers, base, withUsage), openAiEvents());
  }
  const choices: Choice[] = [];
  const used = new Used();
  for (const [index, answer] of answers.entries()) {
    let text = "";
    let told: OpenAiLogprob[] | undefined;
    for await (const piece of answer()) {
      text += piece.text;
      if (piece.logprobs !== undefined) told = [...(told ?? []), ...piece.logprobs];
      if (piece.done === undefined) continue;
      used.add(piece.done);
      choices.push({ text, index, logprobs: logprobsOf(told, 0), finish_reason: finishReason(piece.done) });
    }
  }
  return c.json({ ...base, choices, usage: used.all() });
}

interface Choice {
  text: string;
  index: number;
  logprobs: Logprobs | null;
  finish_reason: "stop" | "length" | null;
}

async function* chunksOf(
  answers: readonly (() => AsyncIterable<OpenAiPiece>)[],
  base: object,
  withUsage: boolean,
): AsyncIterable<object> {
  const used = new Used();
  for (const [index, answer] of answers.entries()) {
    let offset = 0;
    for await (const { text, done, logprobs } of answer()) {
      if (done !== undefined) used.add(done);
      const finish_reason = done === undefined ? null : finishReason(done);
      if (text === "" && finish_reason === null) continue;
      yield {
        ...base,
        choices: [{ text, index, logprobs: logprobsOf(logprobs, offset), finish_reason } satisfies Choice],
      };
      offset += text.length;
    }
  }
  if (withUsage) yield { ...base, choices: [], usage: used.all() };
}

/** Probabilities as this older API has them. */
interface Logprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  text_offset: number[];
}

/** @param offset characters of the answer before these tokens */
function logprobsOf(all: readonly OpenAiLogprob[] | undefined, offset: number): Logprobs | null {
  if (all === undefined) return null;
  let at = offset;
  return {
    tokens: all.map(({ token }) => token),
    token_logprobs: all.map(({ logprob }) => logprob),
    top_logprobs: all.map((one) => Object.fromEntries(one.top_logprobs.map(({ token, logprob }) => [token, logprob]))),
    text_offset: all.map(({ token }) => {
      at += token.length;
      return at - token.length;
    }),
  };
}

/** Tokens of several answers together. */
class Used {
  #promptTokens = 0;
  #answerTokens = 0;

  add({ promptTokens = 0, answerTokens = 0 }: NonNullable<OpenAiPiece["done"]>): void {
    this.#promptTokens += promptTokens;
    this.#answerTokens += answerTokens;
  }

  all(): object {
    return usageOf({ reason: "stop", promptTokens: this.#promptTokens, answerTokens: this.#answerTokens });
  }
}

/** One generation a prompt. @throws Fault invalid_request for what is not served */
function askedOf(request: OpenAiCompletionRequest): Asked[] {
  refuseMany("n", request.n);
  refuseMany("best_of", request.best_of);
  refuseUnserved({ suffix: request.suffix }, `${request.model} does not support insert`);
  refuseUnserved({ echo: request.echo, logit_bias: request.logit_bias }, "not served here; leave it out");
  return promptsOf(request.prompt).map((prompt) => ({
    model: request.model,
    request: {
      raw: true,
      messages: [{ role: "user", content: prompt }],
      maxTokens: request.max_tokens ?? USUAL_TOKENS,
      ...given({ topLogprobs: request.logprobs }),
      ...samplingOf(request),
    },
    lease: leaseOf(request),
  }));
}

function promptsOf(prompt: OpenAiCompletionRequest["prompt"]): string[] {
  const wrong = (message: string): Fault => new Fault("invalid_request", `prompt: ${message}`, { param: "prompt" });
  const prompts = Array.isArray(prompt) ? prompt : [prompt ?? ""];
  if (prompts.length > MOST_PROMPTS) throw wrong(`got ${prompts.length} of them, want at most ${MOST_PROMPTS}`);
  return prompts.map((one) => {
    if (typeof one !== "string") throw wrong("want a text or a list of texts; token numbers are not served");
    if (one === "") throw wrong("empty, want some text to go on with");
    return one;
  });
}
