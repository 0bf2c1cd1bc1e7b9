import type { ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { type FakeCall, type FakeServer, sayJson, startFakeServer } from "./fake-server.ts";

/** How a fake vLLM behaves; every field may be changed while it runs. */
export interface FakeVllmBehaviour {
  /** Models that it was started with. */
  models: string[];
  /** Status of `/health`. */
  health: number;
  /** Pause between two words, ms. */
  tokenMs: number;
  /** Likelihoods of an answer's first token. */
  opening: { token: string; logprob: number }[];
}

const WORDS = "It is a fake server and these are all the words that it ever says to anybody .".split(" ");

/** A server that speaks vLLM's API as far as a backend asks for it. Source: vLLM's OpenAI-compatible server. */
export async function startFakeVllm(
  given: Partial<FakeVllmBehaviour> = {},
  port = 0,
): Promise<FakeServer & { behaviour: FakeVllmBehaviour }> {
  const behaviour: FakeVllmBehaviour = {
    models: ["tiny"],
    health: 200,
    tokenMs: 0,
    opening: [
      { token: "B", logprob: Math.log(0.6) },
      { token: " A", logprob: Math.log(0.3) },
      { token: "Perhaps", logprob: Math.log(0.05) },
    ],
    ...given,
  };
  const server = await startFakeServer((call, response) => answer(behaviour, call, response), port);
  return { ...server, behaviour };
}

async function answer(behaviour: FakeVllmBehaviour, call: FakeCall, response: ServerResponse): Promise<void> {
  const { path, body } = call;
  if (path === "/health") return void response.writeHead(behaviour.health).end();
  if (path === "/v1/models") {
    const data = behaviour.models.map((id) => ({
      ...{ id, object: "model", created: 1, owned_by: "vllm", root: `meta-llama/${id}`, max_model_len: 4096 },
    }));
    return sayJson(response, { object: "list", data });
  }
  const error = (message: string, status: number): void =>
    sayJson(response, { error: { message, type: "BadRequestError", param: null, code: status } }, status);
  if (!behaviour.models.includes(String(body["model"])))
    return error(`The model \`${String(body["model"])}\` does not exist.`, 404);
  if (path === "/v1/embeddings") {
    const input = body["input"] as string[];
    const data = input.map((text, index) => ({ object: "embedding", index, embedding: [text.length, 1, 0] }));
    return sayJson(response, { object: "list", data: data.toReversed(), model: body["model"] });
  }
  const messages = body["messages"] as { content: string }[];
  const prompt = messages.map(({ content }) => content).join(" ");
  if (prompt.length > 4096)
    return error(`This model's maximum context length is 4096 tokens. However, you requested ${prompt.length}.`, 400);
  await stream(behaviour, body, prompt.length, response);
}

async function stream(
  behaviour: FakeVllmBehaviour,
  body: Record<string, unknown>,
  promptTokens: number,
  response: ServerResponse,
): Promise<void> {
  const most = (body["max_tokens"] as number | undefined) ?? WORDS.length;
  const marks = (body["stop"] as string[] | undefined) ?? [];
  const schema = (body["response_format"] as { type: string } | undefined)?.type;
  const words = schema === undefined ? WORDS.map((word) => `${word} `) : ['{"winner":', '"A"', "}"];
  const base = { id: "cmpl-1", object: "chat.completion.chunk", created: 1, model: body["model"] };
  const send = (choices: unknown[], more = {}): boolean =>
    response.write(`data: ${JSON.stringify({ ...base, choices, ...more })}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream" });
  send([{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }]);
  let written = 0;
  let reason = "stop";
  for (const word of words) {
    if (marks.some((mark) => word.includes(mark))) break;
    if (written >= most) {
      reason = "length";
      break;
    }
    if (behaviour.tokenMs > 0) await delay(behaviour.tokenMs);
    if (response.destroyed) return;
    const [token] = behaviour.opening;
    const logprobs =
      body["logprobs"] === true ? { content: [{ ...token, bytes: null, top_logprobs: behaviour.opening }] } : null;
    send([{ index: 0, delta: { content: word }, logprobs, finish_reason: null }]);
    written++;
  }
  send([{ index: 0, delta: { content: "" }, finish_reason: reason }]);
  const usage = { prompt_tokens: promptTokens, completion_tokens: written, total_tokens: promptTokens + written };
  send([], { usage });
  response.end("data: [DONE]\n\n");
}
