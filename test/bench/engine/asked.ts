import { Agent, request } from "undici";
import { z } from "zod";
import { linesOf } from "../../../runtime/support/lines.ts";

/** One answer as a client sees it. */
export interface Asked {
  /** From the request to the first word, ms. */
  firstMs: number;
  /** From the first word to the last, ms. */
  restMs: number;
  /** Tokens of the prompt and of the answer, as the server counts them. */
  promptTokens: number;
  answerTokens: number;
  /** Whether it was written as far as was asked. */
  whole: boolean;
}

const Line = z.looseObject({
  response: z.string().optional(),
  done: z.boolean().optional(),
  error: z.string().optional(),
  prompt_eval_count: z.number().optional(),
  eval_count: z.number().optional(),
});

// A thousand connections are no limit here, and nothing is given up because it is slow.
const agent = new Agent({ connections: 1_000, headersTimeout: 0, bodyTimeout: 0 });

/** Asks for a raw continuation of a prompt, streamed. @throws Error in the server's words, or of the connection */
export async function ask(
  url: string,
  model: string,
  prompt: string,
  options: { num_predict: number; num_ctx: number; num_thread?: number },
): Promise<Asked> {
  const began = performance.now();
  const { statusCode, body } = await request(`${url}/api/generate`, {
    dispatcher: agent,
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, prompt, raw: true, options: { ...options, temperature: 0 } }),
  });
  let firstMs: number | undefined;
  let lastMs = 0;
  for await (const text of linesOf(body)) {
    const line = Line.parse(JSON.parse(text));
    if (statusCode !== 200 || line.error !== undefined)
      throw new Error(`${statusCode}: ${line.error ?? text.slice(0, 300)}`);
    // Bytes that are no whole character are a token too, but no word: then the end is the first thing that is heard.
    if ((line.response ?? "") !== "" || (line.done === true && firstMs === undefined)) {
      firstMs ??= performance.now() - began;
      lastMs = performance.now() - began;
    }
    if (line.done !== true) continue;
    if (firstMs === undefined) break;
    const answerTokens = line.eval_count ?? 0;
    return {
      firstMs,
      restMs: lastMs - firstMs,
      promptTokens: line.prompt_eval_count ?? 0,
      answerTokens,
      whole: answerTokens >= options.num_predict,
    };
  }
  throw new Error(`${url}: cut off before its end`);
}
