import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Member } from "../../../contracts/ensemble-config.ts";
import { OllamaError } from "../../../contracts/ollama.ts";
import { OpenAiChatRequest, type OpenAiMessage, textOf } from "../../../contracts/openai.ts";
import { Fault } from "../../../core/fault.ts";
import { type AnswerTranslation, bad, given, jsonOrText, parsed, type Translation } from "./translation.ts";

/** `/v1/chat/completions` at a server that has Ollama's own API alone. @throws Fault invalid_request */
export function openAiChat(bytes: Buffer, member: Member): Translation {
  const request = parsed(bytes, OpenAiChatRequest);
  if ((request.n ?? 1) > 1)
    throw new Fault("invalid_request", `n: got ${request.n ?? 1}, want 1; ${member.name} is served by the Ollama API`);
  const stream = request.stream === true;
  const body = {
    model: member.model,
    messages: messagesOf(request.messages),
    stream,
    ...given("tools", request.tools),
    ...given("format", formatOf(request.response_format)),
    ...given("logprobs", request["logprobs"]),
    ...given("top_logprobs", request["top_logprobs"]),
    // Models that think do so only when asked: hidden words cost a small model most of its time.
    think: typeof request["reasoning_effort"] === "string" && request["reasoning_effort"] !== "none",
    options: {
      num_ctx: member.numCtx,
      ...given("num_thread", member.numThread),
      num_predict: request.max_completion_tokens ?? request.max_tokens ?? member.maxTokens,
      ...given("temperature", request.temperature),
      ...given("top_p", request["top_p"]),
      ...given("seed", request.seed),
      ...given("stop", request.stop),
      ...given("presence_penalty", request["presence_penalty"]),
      ...given("frequency_penalty", request["frequency_penalty"]),
    },
  };
  return {
    path: "/api/chat",
    body: Buffer.from(JSON.stringify(body)),
    stream,
    answer: new OpenAiAnswer(request.model, request.stream_options?.include_usage === true),
  };
}

function formatOf(format: OpenAiChatRequest["response_format"]): unknown {
  if (format?.type === "json_object") return "json";
  if (format?.type !== "json_schema") return undefined;
  const described = format["json_schema"];
  return typeof described === "object" && described !== null && "schema" in described ? described.schema : "json";
}

const AskedTool = z.looseObject({
  id: z.string().optional(),
  function: z.looseObject({ name: z.string(), arguments: z.string() }),
});
const Picture = z.looseObject({ type: z.literal("image_url"), image_url: z.looseObject({ url: z.string() }) });

/** Messages in Ollama's words; the name of a tool's answer is that of the call whose id it gives. */
function messagesOf(messages: readonly OpenAiMessage[]): unknown[] {
  const names = new Map<string, string>();
  return messages.map((message) => {
    const { role, content } = message;
    const text = textOf(message);
    if (role === "tool" || role === "function") {
      const id = String(message["tool_call_id"]);
      return { role: "tool", content: text, ...given("tool_name", names.get(id) ?? message["name"]) };
    }
    const calls = z.array(AskedTool).safeParse(message["tool_calls"] ?? []);
    if (!calls.success)
      throw new Fault("invalid_request", "messages: tool_calls: want function.name and function.arguments");
    for (const { id, function: called } of calls.data) if (id !== undefined) names.set(id, called.name);
    const images = (typeof content === "string" ? [] : (content ?? [])).flatMap((part) => {
      const picture = Picture.safeParse(part);
      return picture.success ? [base64Of(picture.data.image_url.url)] : [];
    });
    return {
      role: role === "developer" ? "system" : role,
      content: text,
      ...(images.length === 0 ? {} : { images }),
      ...(calls.data.length === 0
        ? {}
        : {
            tool_calls: calls.data.map(({ function: { name, arguments: input } }) => ({
              function: { name, arguments: jsonOrText(input) },
            })),
          }),
    };
  });
}

function base64Of(url: string): string {
  const [, base64] = /^data:[^,]*;base64,(.*)$/s.exec(url) ?? [];
  if (base64 === undefined)
    throw new Fault("invalid_request", "messages: image_url: want a data: URL in base64; pictures are not fetched");
  return base64;
}

const Document = z.looseObject({
  message: z.looseObject({
    content: z.string().default(""),
    thinking: z.string().nullish(),
    tool_calls: z
      .array(
        z.looseObject({
          id: z.string().nullish(),
          function: z.looseObject({ name: z.string(), arguments: z.unknown().optional() }),
        }),
      )
      .nullish(),
  }),
  logprobs: z.array(z.unknown()).nullish(),
  done: z.boolean(),
  done_reason: z.string().nullish(),
  prompt_eval_count: z.number().nullish(),
  eval_count: z.number().nullish(),
});
type Document = z.output<typeof Document>;

class OpenAiAnswer implements AnswerTranslation {
  readonly contentType = "text/event-stream";
  readonly #base: { id: string; created: number; model: string };
  readonly #withUsage: boolean;
  #first = true;
  #calls = 0;
  #done = false;

  constructor(model: string, withUsage: boolean) {
    this.#base = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model };
    this.#withUsage = withUsage;
  }

  whole(document: unknown): unknown {
    const said = read(document);
    const calls = this.#callsOf(said, false);
    const { content, thinking } = said.message;
    return {
      ...this.#base,
      object: "chat.completion",
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content,
            refusal: null,
            ...given("reasoning_content", thinking),
            ...(calls.length === 0 ? {} : { tool_calls: calls }),
          },
          logprobs: said.logprobs == null ? null : { content: said.logprobs, refusal: null },
          finish_reason: finishOf(said, calls.length > 0),
        },
      ],
      usage: usageOf(said),
    };
  }

  piece(document: unknown): string {
    const said = read(document);
    const calls = this.#callsOf(said, true);
    const { content, thinking } = said.message;
    let text = "";
    if (this.#first || content !== "" || calls.length > 0 || thinking != null) {
      const role = this.#first ? { role: "assistant" } : {};
      const tools = calls.length === 0 ? {} : { tool_calls: calls };
      text += this.#event({ ...role, content, ...given("reasoning_content", thinking), ...tools }, null, said.logprobs);
      this.#first = false;
    }
    if (!said.done) return text;
    this.#done = true;
    text += this.#event({}, finishOf(said, this.#calls > 0));
    if (this.#withUsage)
      text += frame({ ...this.#base, object: "chat.completion.chunk", choices: [], usage: usageOf(said) });
    return text;
  }

  end(): string | undefined {
    return this.#done ? "data: [DONE]\n\n" : undefined;
  }

  #callsOf({ message }: Document, indexed: boolean): object[] {
    return (message.tool_calls ?? []).map(({ id, function: { name, arguments: input } }) => {
      const index = this.#calls++;
      const text = typeof input === "string" ? input : JSON.stringify(input ?? {});
      return {
        ...(indexed ? { index } : {}),
        id: id ?? `call_${randomUUID()}`,
        type: "function",
        function: { name, arguments: text },
      };
    });
  }

  #event(delta: object, finish: string | null, logprobs?: unknown): string {
    const logged = logprobs == null ? {} : { logprobs: { content: logprobs, refusal: null } };
    return frame({
      ...this.#base,
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta, ...logged, finish_reason: finish }],
    });
  }
}

function read(document: unknown): Document {
  const result = Document.safeParse(document);
  if (result.success) return result.data;
  const error = OllamaError.safeParse(document);
  throw error.success
    ? new Fault("model_failed", `the member's server broke off: ${error.data.error.slice(0, 300)}`)
    : bad("what is not of the Ollama API");
}

function frame(document: object): string {
  return `data: ${JSON.stringify(document)}\n\n`;
}

function finishOf({ done_reason }: Document, called: boolean): string {
  if (called) return "tool_calls";
  return done_reason === "length" ? "length" : "stop";
}

function usageOf({ prompt_eval_count, eval_count }: Document): object {
  const [prompt, answer] = [prompt_eval_count ?? 0, eval_count ?? 0];
  return { prompt_tokens: prompt, completion_tokens: answer, total_tokens: prompt + answer };
}
