import { z } from "zod";
import { FAULTS } from "../../contracts/errors.ts";
import { AskAnswer, AskEvent, AskRequest, NativeError } from "../../contracts/native.ts";
import {
  OllamaChatChunk,
  OllamaChatRequest,
  OllamaError,
  OllamaGenerateChunk,
  OllamaGenerateRequest,
  OllamaTags,
  OllamaVersion,
} from "../../contracts/ollama.ts";
import {
  OpenAiChatChunk,
  OpenAiChatCompletion,
  OpenAiChatRequest,
  OpenAiError,
  OpenAiModels,
} from "../../contracts/openai.ts";

/** One way to call the service. */
interface Operation {
  method: "get" | "post";
  path: string;
  summary: string;
  request?: z.ZodType;
  /** Answer, by content type. */
  answers: Record<string, z.ZodType>;
  error: z.ZodType;
}

const JSON_TYPE = "application/json";
const SSE_TYPE = "text/event-stream";
const NDJSON_TYPE = "application/x-ndjson";

const OPERATIONS: readonly Operation[] = [
  {
    method: "post",
    path: "/ask",
    summary: "Ask the ensemble; every stage with its answer, or as events",
    request: AskRequest,
    answers: { [JSON_TYPE]: AskAnswer, [SSE_TYPE]: AskEvent },
    error: NativeError,
  },
  {
    method: "post",
    path: "/v1/ask",
    summary: "The same as /ask",
    request: AskRequest,
    answers: { [JSON_TYPE]: AskAnswer, [SSE_TYPE]: AskEvent },
    error: NativeError,
  },
  {
    method: "post",
    path: "/api/generate",
    summary: "Ollama: complete a prompt",
    request: OllamaGenerateRequest,
    answers: { [NDJSON_TYPE]: OllamaGenerateChunk, [JSON_TYPE]: OllamaGenerateChunk },
    error: OllamaError,
  },
  {
    method: "post",
    path: "/api/chat",
    summary: "Ollama: go on with a chat",
    request: OllamaChatRequest,
    answers: { [NDJSON_TYPE]: OllamaChatChunk, [JSON_TYPE]: OllamaChatChunk },
    error: OllamaError,
  },
  {
    method: "get",
    path: "/api/tags",
    summary: "Ollama: the ensemble and its members",
    answers: { [JSON_TYPE]: OllamaTags },
    error: OllamaError,
  },
  {
    method: "get",
    path: "/api/version",
    summary: "Ollama: version of its API",
    answers: { [JSON_TYPE]: OllamaVersion },
    error: OllamaError,
  },
  {
    method: "post",
    path: "/v1/chat/completions",
    summary: "OpenAI: go on with a chat",
    request: OpenAiChatRequest,
    answers: { [JSON_TYPE]: OpenAiChatCompletion, [SSE_TYPE]: OpenAiChatChunk },
    error: OpenAiError,
  },
  {
    method: "get",
    path: "/v1/models",
    summary: "OpenAI: the ensemble and its members",
    answers: { [JSON_TYPE]: OpenAiModels },
    error: OpenAiError,
  },
];

/** The OpenAPI 3.1 document of the service, made from the same schemas that check its requests. */
export function openApiDocument(version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of OPERATIONS) (paths[operation.path] ??= {})[operation.method] = describe(operation);
  return {
    openapi: "3.1.0",
    info: {
      title: "gorkheavy",
      version,
      description: "An ensemble of small language models that answers with one voice.",
    },
    paths,
  };
}

function describe({ summary, request, answers, error }: Operation): Record<string, unknown> {
  const statuses = [...new Set(Object.values(FAULTS).map(({ status }) => status))]
    .filter((status) => status !== 499)
    .toSorted((a, b) => a - b);
  const failure = {
    description: "An error of this API's own shape",
    content: { [JSON_TYPE]: { schema: schemaOf(error, "output") } },
  };
  const content = Object.fromEntries(
    Object.entries(answers).map(([type, schema]) => [type, { schema: schemaOf(schema, "output") }]),
  );
  return {
    summary,
    ...(request === undefined
      ? {}
      : { requestBody: { required: true, content: { [JSON_TYPE]: { schema: schemaOf(request, "input") } } } }),
    responses: {
      200: { description: "The answer", content },
      ...Object.fromEntries(statuses.map((status) => [status, failure])),
    },
  };
}

function schemaOf(schema: z.ZodType, io: "input" | "output"): unknown {
  return { ...z.toJSONSchema(schema, { io, unrepresentable: "any" }), $schema: undefined };
}
