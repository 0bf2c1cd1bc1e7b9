import { OpenAiChatChunk, OpenAiError } from "../../contracts/openai.ts";
import type { ModelCall, Piece } from "../../core/ports.ts";
import { jsonOf } from "../../support/json.ts";
import { linesOf } from "../../support/lines.ts";
import { bad, said, type Speaker } from "./answers.ts";

/** Body of a call on the OpenAI API. */
export function openAiBody({ member, messages, format, maxTokens, temperature }: ModelCall): unknown {
  const schema = { name: "answer", strict: true, schema: format };
  return {
    model: member.model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: maxTokens,
    ...(format === undefined ? {} : { response_format: { type: "json_schema", json_schema: schema } }),
    ...(temperature === undefined ? {} : { temperature }),
  };
}

/** The answer's parts. @throws Fault model_failed, model_bad_answer */
export async function* openAiPieces(speaker: Speaker, body: AsyncIterable<Uint8Array>): AsyncIterable<Piece> {
  let reason: string | undefined;
  let usage: { promptTokens: number; answerTokens: number } | undefined;
  const end = (): Piece => ({ text: "", done: { reason: reason ?? "stop", ...usage } });
  for await (const line of linesOf(body)) {
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") {
      yield end();
      return;
    }
    const json = jsonOf(data);
    const chunk = OpenAiChatChunk.safeParse(json);
    if (!chunk.success) {
      const error = OpenAiError.safeParse(json);
      throw error.success
        ? said(speaker, error.data.error.message)
        : bad(speaker, "an event that is not of the OpenAI API");
    }
    const choice = chunk.data.choices[0];
    reason = choice?.finish_reason ?? reason;
    const tokens = chunk.data.usage;
    if (tokens !== undefined && tokens !== null)
      usage = { promptTokens: tokens.prompt_tokens, answerTokens: tokens.completion_tokens };
    const text = choice?.delta.content ?? "";
    if (text !== "") yield { text };
  }
  // Some servers leave [DONE] out; a finish_reason says as much.
  if (reason !== undefined) yield end();
}
