import { z } from "zod";
import type { Member } from "../../../contracts/ensemble-config.ts";
import { OllamaChatRequest, OllamaGenerateRequest, type OllamaMessage } from "../../../contracts/ollama.ts";
import { OpenAiError } from "../../../contracts/openai.ts";
import { Fault } from "../../../core/fault.ts";
import {
  type AnswerTranslation,
  bad,
  given,
  jsonOrText,
  parsed,
  type ToolCall,
  type Translation,
} from "./translation.ts";

const NANOSECONDS = 1_000_000;

/** `/api/chat` at a server that speaks OpenAI's dialect; undefined for one that only loads the model. @throws Fault invalid_request */
export function ollamaChat(bytes: Buffer, member: Member, now: () => number): Translation | undefined {
  const request = parsed(bytes, OllamaChatRequest);
  if ((request.messages ?? []).length === 0) return undefined;
  return translated(request, messagesOf(request.messages ?? []), member, now, "chat");
}

/**
 * `/api/generate` at a server that speaks OpenAI's dialect; undefined for one that only loads the model.
 * @throws Fault invalid_request also for what only Ollama's own templates can do
 */
export function ollamaGenerate(bytes: Buffer, member: Member, now: () => number): Translation | undefined {
  const request = parsed(bytes, OllamaGenerateRequest);
  if ((request.prompt ?? "").trim() === "") return undefined;
  for (const name of ["raw", "suffix", "template"] as const) {
    const value = request[name];
    if (value !== undefined && value !== null && value !== false && value !== "")
      throw new Fault("invalid_request", `${name}: ${member.name} is served by the OpenAI API, which has none`);
  }
  const messages: OllamaMessage[] = [
    ...(request.system == null ? [] : [{ role: "system" as const, content: request.system }]),
    { role: "user", content: request.prompt ?? "", ...given("images", request.images) },
  ];
  return translated(request, messagesOf(messages), member, now, "generate");
}

type Request = Pick<OllamaGenerateRequest, "model" | "stream" | "format" | "options" | "think"> & {
  tools?: unknown;
  logprobs?: unknown;
  top_logprobs?: unknown;
};

function translated(
  request: Request,
  messages: unknown[],
  member: Member,
  now: () => number,
  kind: "chat" | "generate",
): Translation {
  const options = request.options ?? {};
  const most = options.num_predict;
  const stream = request.stream !== false;
  const body = {
    model: member.model,
    messages,
    stream,
    ...(stream ? { stream_options: { include_usage: true } } : {}),
    ...given("tools", request.tools),
    ...given("response_format", responseFormatOf(request.format)),
    ...given("temperature", options.temperature),
    ...given("top_p", options["top_p"]),
    ...given("seed", options.seed),
    ...given("stop", options.stop),
    ...given("presence_penalty", options["presence_penalty"]),
    ...given("frequency_penalty", options["frequency_penalty"]),
    ...given("logprobs", request.logprobs),
    ...given("top_logprobs", request.top_logprobs),
    ...(typeof request.think === "string" ? { reasoning_effort: request.think } : {}),
    max_tokens: most === undefined || most < 1 ? member.maxTokens : most,
  };
  return {
    path: "/v1/chat/completions",
    body: Buffer.from(JSON.stringify(body)),
    stream,
    answer: new OllamaAnswer(request.model, kind, now),
  };
}

function responseFormatOf(format: unknown): unknown {
  if (format === "json") return { type: "json_object" };
  if (typeof format !== "object" || format === null) return undefined;
  return { type: "json_schema", json_schema: { name: "answer", schema: format } };
}

const AskedTool = z.looseObject({
  id: z.string().optional(),
  function: z.looseObject({ name: z.string(), arguments: z.unknown().optional() }),
});

/** Messages in OpenAI's words. Ollama's tool calls may have no ids; they are given some, and a tool's answer finds its call by name or order. */
function messagesOf(messages: readonly OllamaMessage[]): unknown[] {
  let open: { id: string; name: string }[] = [];
  let count = 0;
  return messages.map((message) => {
    const { role, content, images, tool_calls } = message;
    if (role === "tool") {
      const asked = typeof message["tool_call_id"] === "string" ? message["tool_call_id"] : undefined;
      const named = open.findIndex(({ name }) => name === message["tool_name"]);
      const [call] = asked === undefined ? open.splice(Math.max(0, named), 1) : [];
      return { role, content, tool_call_id: asked ?? call?.id ?? "call_0" };
    }
    const calls = z.array(AskedTool).safeParse(tool_calls ?? []);
    if (!calls.success)
      throw new Fault("invalid_request", "messages: tool_calls: want function.name and function.arguments");
    const written = calls.data.map(({ id, function: { name, arguments: input } }) => ({
      id: id ?? `call_${count++}`,
      type: "function",
      function: { name, arguments: typeof input === "string" ? input : JSON.stringify(input ?? {}) },
    }));
    if (written.length > 0) open = written.map(({ id, function: { name } }) => ({ id, name }));
    const pictures = (images ?? []).map((image) => ({ type: "image_url", image_url: { url: dataUrl(image) } }));
    return {
      role,
      content: pictures.length === 0 ? content : [{ type: "text", text: content }, ...pictures],
      ...(written.length === 0 ? {} : { tool_calls: written }),
    };
  });
}

/** First characters of base64 by the kind of picture. Source: the formats' own magic numbers. */
const PICTURES: readonly [string, string][] = [
  ["/9j/", "jpeg"],
  ["R0lGOD", "gif"],
  ["UklGR", "webp"],
];

function dataUrl(base64: string): string {
  const kind = PICTURES.find(([start]) => base64.startsWith(start))?.[1] ?? "png";
  return `data:image/${kind};base64,${base64}`;
}

const Said = z.looseObject({
  content: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  reasoning: z.string().nullish(),
  tool_calls: z
    .array(
      z.looseObject({
        index: z.number().optional(),
        id: z.string().nullish(),
        function: z.looseObject({ name: z.string().nullish(), arguments: z.string().nullish() }).optional(),
      }),
    )
    .nullish(),
});
const Document = z.looseObject({
  choices: z.array(
    z.looseObject({
      delta: Said.optional(),
      message: Said.optional(),
      finish_reason: z.string().nullish(),
      logprobs: z.looseObject({ content: z.array(z.unknown()).nullish() }).nullish(),
    }),
  ),
  usage: z.looseObject({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish(),
});

class OllamaAnswer implements AnswerTranslation {
  readonly contentType = "application/x-ndjson";
  readonly #model: string;
  readonly #kind: "chat" | "generate";
  readonly #now: () => number;
  readonly #beganMs: number;
  readonly #calls = new Map<number, ToolCall & { text: string }>();
  #reason: string | undefined;
  #usage = { prompt_eval_count: 0, eval_count: 0 };

  constructor(model: string, kind: "chat" | "generate", now: () => number) {
    this.#model = model;
    this.#kind = kind;
    this.#now = now;
    this.#beganMs = now();
  }

  whole(document: unknown): unknown {
    const said = this.#read(document);
    if (said === undefined) throw bad("a chat completion without a choice");
    return { ...this.#shape(said.content, said.thinking, said.logprobs), ...this.#totals() };
  }

  piece(document: unknown): string {
    const said = this.#read(document);
    if (said === undefined || (said.content === "" && said.thinking === "" && said.logprobs === undefined)) return "";
    // Tool calls come in parts and are told whole, at the end.
    return `${JSON.stringify({ ...this.#shape(said.content, said.thinking, said.logprobs, false), done: false })}\n`;
  }

  end(): string | undefined {
    if (this.#reason === undefined) return undefined;
    const calls = this.#calls.size === 0 ? "" : `${JSON.stringify({ ...this.#shape("", ""), done: false })}\n`;
    return `${calls}${JSON.stringify({ ...this.#shape("", "", undefined, false), ...this.#totals() })}\n`;
  }

  #read(document: unknown): { content: string; thinking: string; logprobs: unknown } | undefined {
    const result = Document.safeParse(document);
    if (!result.success) {
      const error = OpenAiError.safeParse(document);
      throw error.success
        ? new Fault("model_failed", `the member's server broke off: ${error.data.error.message.slice(0, 300)}`)
        : bad("what is not of the OpenAI API");
    }
    const { choices, usage } = result.data;
    if (usage != null) this.#usage = { prompt_eval_count: usage.prompt_tokens, eval_count: usage.completion_tokens };
    const choice = choices[0];
    const said = choice?.delta ?? choice?.message;
    if (choice === undefined || said === undefined) return undefined;
    this.#reason = choice.finish_reason ?? this.#reason;
    for (const [order, part] of (said.tool_calls ?? []).entries()) {
      const index = part.index ?? order;
      const call = this.#calls.get(index) ?? { id: "", name: "", arguments: undefined, text: "" };
      call.id += part.id ?? "";
      call.name += part.function?.name ?? "";
      call.text += part.function?.arguments ?? "";
      this.#calls.set(index, call);
    }
    return {
      content: said.content ?? "",
      thinking: said.reasoning_content ?? said.reasoning ?? "",
      logprobs: choice.logprobs?.content ?? undefined,
    };
  }

  #shape(content: string, thinking: string, logprobs?: unknown, withCalls = true): object {
    const head = { model: this.#model, created_at: new Date().toISOString(), ...given("logprobs", logprobs) };
    const thought = thinking === "" ? {} : { thinking };
    if (this.#kind === "generate") return { ...head, response: content, ...thought };
    const calls = [...this.#calls.values()].map(({ id, name, text }) => ({
      ...(id === "" ? {} : { id }),
      function: { name, arguments: jsonOrText(text) },
    }));
    const tools = withCalls && calls.length > 0 ? { tool_calls: calls } : {};
    return { ...head, message: { role: "assistant", content, ...thought, ...tools } };
  }

  #totals(): object {
    const reason = this.#reason === "length" ? "length" : "stop";
    const took = Math.round((this.#now() - this.#beganMs) * NANOSECONDS);
    return { done: true, done_reason: reason, total_duration: took, ...this.#usage };
  }
}
