import { z } from "zod";
import { OpenAiChatChunk } from "../../contracts/openai.ts";
import { Fault } from "../../core/fault.ts";
import { jsonOf } from "../../support/json.ts";
import { errorWords } from "../../support/server-answer.ts";
import type { GeneratePiece, GenerateRequest, TokenLogprob } from "../backend.ts";
import { likeliest } from "../likeliest.ts";
import { labelsIn, Logprobs, writtenOf } from "../upstream/labels.ts";
import type { UpstreamServer } from "../upstream/server.ts";

/** Most tokens that vLLM tells with each written one unless it was started with another `--max-logprobs`. Source: vLLM, engine arguments. */
const MOST_TOP_LOGPROBS = 20;

/** A call that writes an answer: its path and body. It always streams: closing the connection then ends the work. @throws Fault not_supported */
export function callOf(model: string, request: GenerateRequest): { path: string; body: unknown } {
  const { messages, format, maxTokens, temperature, seed, stop, choices, topLogprobs } = request;
  if (request.raw === true)
    throw new Fault(
      "not_supported",
      "the vllm backend asks for chats: a raw prompt has no template that vLLM would lay around it",
    );
  const told = choices === undefined ? topLogprobs : MOST_TOP_LOGPROBS;
  const body = {
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    // Templates of reasoning models know this word, others do not mind it; hidden thoughts are read by nobody here.
    chat_template_kwargs: { enable_thinking: false },
    // JSON leaves out what is undefined.
    max_tokens: choices === undefined ? maxTokens : 1,
    response_format: format === undefined ? undefined : responseFormat(format),
    temperature,
    seed,
    stop,
    top_k: request.topK,
    top_p: request.topP,
    min_p: request.minP,
    repetition_penalty: request.repeatPenalty,
    presence_penalty: request.presencePenalty,
    frequency_penalty: request.frequencyPenalty,
    ...(told === undefined ? {} : { logprobs: true, top_logprobs: told }),
  };
  return { path: "/v1/chat/completions", body };
}

function responseFormat(format: NonNullable<GenerateRequest["format"]>): unknown {
  if (format === "json") return { type: "json_object" };
  return { type: "json_schema", json_schema: { name: "answer", strict: true, schema: format } };
}

/** `choices[0].logprobs` of a chunk. */
const ChoiceLogprobs = z.looseObject({ content: Logprobs.nullish() });

/** The answer's parts. @throws Fault model_failed, model_bad_answer */
export async function* piecesOf(
  server: UpstreamServer,
  lines: AsyncIterable<string>,
  choices: readonly string[] | undefined,
): AsyncIterable<GeneratePiece> {
  const began = performance.now();
  let firstMs: number | undefined;
  let opening: readonly TokenLogprob[] | undefined;
  let reason: string | undefined;
  let tokens = { prompt: 0, answer: 0 };
  let seen = 0;
  const end = (): GeneratePiece => {
    const wholeMs = performance.now() - began;
    const promptMs = firstMs ?? wholeMs;
    const done = {
      reason: reason === "length" && choices === undefined ? ("length" as const) : ("stop" as const),
      promptTokens: tokens.prompt,
      // A server that counts nothing has sent about one piece a token.
      answerTokens: tokens.answer === 0 ? seen : tokens.answer,
      promptMs,
      answerMs: wholeMs - promptMs,
    };
    if (choices === undefined) return { text: "", done };
    const labels = labelsIn(choices, opening ?? []);
    if (labels === undefined) throw server.bad("no probability of any of the labels among its likeliest tokens");
    return { text: likeliest(labels), done: { ...done, choices: labels } };
  };
  for await (const line of lines) {
    if (!line.startsWith("data:")) {
      const words = errorWords(line);
      if (words !== undefined) throw server.brokeOff(words);
      continue;
    }
    const data = line.slice(5).trim();
    if (data === "[DONE]") {
      yield end();
      return;
    }
    const chunk = OpenAiChatChunk.safeParse(jsonOf(data));
    if (!chunk.success) {
      const words = errorWords(data);
      throw words === undefined ? server.bad("an event that is not of the OpenAI API") : server.brokeOff(words);
    }
    const { usage } = chunk.data;
    if (usage !== undefined && usage !== null)
      tokens = { prompt: usage.prompt_tokens, answer: usage.completion_tokens };
    const [choice] = chunk.data.choices;
    if (choice === undefined) continue;
    reason = choice.finish_reason ?? reason;
    const logprobs = writtenOf(ChoiceLogprobs.safeParse(choice["logprobs"]).data?.content ?? []);
    const text = choice.delta.content ?? "";
    if (text === "" && logprobs.length === 0) continue;
    firstMs ??= performance.now() - began;
    seen++;
    opening ??= logprobs[0]?.top;
    if (choices === undefined) yield { text, ...(logprobs.length === 0 ? {} : { logprobs }) };
  }
  // Some servers leave [DONE] out; a finish_reason says as much.
  if (reason === undefined) throw server.brokeOff("the stream ended before the answer");
  yield end();
}
