import { OllamaChatChunk, OllamaError } from "../../contracts/ollama.ts";
import type { ModelCall, Piece } from "../../core/ports.ts";
import { jsonOf } from "../../support/json.ts";
import { linesOf } from "../../support/lines.ts";
import { bad, said, type Speaker } from "./answers.ts";

/** Body of a call on the Ollama API. */
export function ollamaBody({ member, messages, format, maxTokens, temperature }: ModelCall): unknown {
  return {
    model: member.model,
    messages,
    stream: true,
    // Hidden thoughts cost most of a small model's time and are thrown away here.
    think: false,
    ...(format === undefined ? {} : { format }),
    options: {
      num_ctx: member.numCtx,
      num_predict: maxTokens,
      ...(member.numThread === undefined ? {} : { num_thread: member.numThread }),
      ...(temperature === undefined ? {} : { temperature }),
    },
  };
}

/** The answer's parts. @throws Fault model_failed, model_bad_answer */
export async function* ollamaPieces(speaker: Speaker, body: AsyncIterable<Uint8Array>): AsyncIterable<Piece> {
  for await (const line of linesOf(body)) {
    const json = jsonOf(line);
    const text = wordOf(json);
    if (text !== undefined) {
      yield { text };
      continue;
    }
    const chunk = OllamaChatChunk.safeParse(json);
    if (!chunk.success) {
      const error = OllamaError.safeParse(json);
      throw error.success ? said(speaker, error.data.error) : bad(speaker, "a line that is not of the Ollama API");
    }
    const { message, done, done_reason, prompt_eval_count, eval_count } = chunk.data;
    yield done
      ? {
          text: message.content,
          done: { reason: done_reason ?? "stop", promptTokens: prompt_eval_count, answerTokens: eval_count },
        }
      : { text: message.content };
    if (done) return;
  }
}

/** Fields of a line and of its message that carries a word and nothing else. */
const LINE = new Set(["model", "created_at", "message", "done"]);
const MESSAGE = new Set(["role", "content"]);

/**
 * The word of a line in the middle of an answer, which nearly all lines are; undefined for any other, which the contract then reads. It takes
 * nothing that the contract would not, in a tenth of the time.
 */
export function wordOf(line: unknown): string | undefined {
  if (!isRecord(line) || line["done"] !== false) return undefined;
  if (typeof line["model"] !== "string" || typeof line["created_at"] !== "string") return undefined;
  const { message } = line;
  if (!isRecord(message) || message["role"] !== "assistant") return undefined;
  for (const name in line) if (!LINE.has(name)) return undefined;
  for (const name in message) if (!MESSAGE.has(name)) return undefined;
  const { content } = message;
  return typeof content === "string" ? content : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
