import { z } from "zod";
import {
  ConversationList,
  ConversationPage,
  ConversationsDeleted,
  ExportQuery,
  ListQuery,
  PageQuery,
  UserQuery,
} from "../../contracts/conversations.ts";
import { AskAnswer, AskEvent, AskRequest, NativeError } from "../../contracts/native.ts";
import {
  OllamaChatChunk,
  OllamaChatRequest,
  OllamaEmbedRequest,
  OllamaError,
  OllamaGenerateChunk,
  OllamaGenerateRequest,
  OllamaPs,
  OllamaShowRequest,
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
import { OpenAiResponse, OpenAiResponseEvent, OpenAiResponseRequest } from "../../contracts/openai-responses.ts";

/** One way to call the service. */
export interface Operation {
  method: "get" | "post" | "delete";
  /** Parameters in braces, each any text. */
  path: string;
  summary: string;
  request?: z.ZodType;
  /** Parameters of the query. */
  query?: z.ZodObject;
  /** Answer, by content type. None where it is always refused. */
  answers?: Record<string, z.ZodType>;
  error: z.ZodType;
}

const JSON_TYPE = "application/json";
const SSE_TYPE = "text/event-stream";
const NDJSON_TYPE = "application/x-ndjson";
const TEXT_TYPE = "text/plain";

const Anything = z.looseObject({});
const Text = z.string();
const Model = OpenAiModels.shape.data.element;
const Texts = z.union([z.string(), z.array(z.unknown()).min(1)]);
const CompletionRequest = z.looseObject({ model: z.string().min(1), prompt: Texts, stream: z.boolean().nullish() });
const EmbeddingsRequest = z.looseObject({ model: z.string().min(1), input: Texts });
const OldEmbeddingsRequest = z.looseObject({ model: z.string().min(1), prompt: z.string() });

const native = { error: NativeError };
const ollama = { error: OllamaError };
const openai = { error: OpenAiError };
const json = (schema: z.ZodType): Record<string, z.ZodType> => ({ [JSON_TYPE]: schema });
const ask = { request: AskRequest, answers: { [JSON_TYPE]: AskAnswer, [SSE_TYPE]: AskEvent }, ...native };

/** Verbs that change models: always refused. */
const REFUSED: readonly Operation[] = [
  ...["/api/pull", "/api/create", "/api/copy", "/api/push", "/api/blobs/{digest}"].map(
    (path): Operation => ({ method: "post", path, summary: "Refused: models are changed where they run", ...ollama }),
  ),
  { method: "delete", path: "/api/delete", summary: "Refused: models are changed where they run", ...ollama },
];

/** Every way to call the service, in the order in which they are documented. */
export const OPERATIONS: readonly Operation[] = [
  { method: "post", path: "/ask", summary: "Ask the ensemble; every stage with its answer, or as events", ...ask },
  { method: "post", path: "/v1/ask", summary: "The same as /ask", ...ask },
  {
    method: "get",
    path: "/v1/conversations",
    summary: "A user's conversations, newest first",
    query: ListQuery,
    answers: json(ConversationList),
    ...native,
  },
  {
    method: "delete",
    path: "/v1/conversations",
    summary: "Forget all conversations of a user",
    query: UserQuery,
    answers: json(ConversationsDeleted),
    ...native,
  },
  {
    method: "get",
    path: "/v1/conversations/{id}",
    summary: "The turns of one conversation",
    query: PageQuery,
    answers: json(ConversationPage),
    ...native,
  },
  {
    method: "delete",
    path: "/v1/conversations/{id}",
    summary: "Forget one conversation",
    query: UserQuery,
    answers: json(ConversationsDeleted),
    ...native,
  },
  {
    method: "get",
    path: "/v1/conversations/{id}/export",
    summary: "A whole conversation as a file",
    query: ExportQuery,
    answers: { [NDJSON_TYPE]: Anything, [JSON_TYPE]: Anything, "text/markdown": Text },
    ...native,
  },
  {
    method: "post",
    path: "/api/generate",
    summary: "Ollama: complete a prompt, by the ensemble or one member",
    request: OllamaGenerateRequest,
    answers: { [NDJSON_TYPE]: OllamaGenerateChunk, [JSON_TYPE]: OllamaGenerateChunk },
    ...ollama,
  },
  {
    method: "post",
    path: "/api/chat",
    summary: "Ollama: go on with a chat; tools and formats are for one member",
    request: OllamaChatRequest,
    answers: { [NDJSON_TYPE]: OllamaChatChunk, [JSON_TYPE]: OllamaChatChunk },
    ...ollama,
  },
  {
    method: "post",
    path: "/api/embed",
    summary: "Ollama: embeddings of one member",
    request: OllamaEmbedRequest,
    answers: json(Anything),
    ...ollama,
  },
  {
    method: "post",
    path: "/api/embeddings",
    summary: "Ollama: one embedding of one member, the older way",
    request: OldEmbeddingsRequest,
    answers: json(Anything),
    ...ollama,
  },
  {
    method: "get",
    path: "/api/tags",
    summary: "Ollama: the ensemble and its members",
    answers: json(OllamaTags),
    ...ollama,
  },
  { method: "get", path: "/api/ps", summary: "Ollama: who can answer now", answers: json(OllamaPs), ...ollama },
  {
    method: "post",
    path: "/api/show",
    summary: "Ollama: what a model is",
    request: OllamaShowRequest,
    answers: json(Anything),
    ...ollama,
  },
  {
    method: "get",
    path: "/api/version",
    summary: "Ollama: version of its API",
    answers: json(OllamaVersion),
    ...ollama,
  },
  ...REFUSED,
  {
    method: "post",
    path: "/v1/chat/completions",
    summary: "OpenAI: go on with a chat; tools and response formats are for one member",
    request: OpenAiChatRequest,
    answers: { [JSON_TYPE]: OpenAiChatCompletion, [SSE_TYPE]: OpenAiChatChunk },
    ...openai,
  },
  {
    method: "post",
    path: "/v1/responses",
    summary: "OpenAI: the Responses API; the ensemble answers messages, a member what its server can",
    request: OpenAiResponseRequest,
    answers: { [JSON_TYPE]: OpenAiResponse, [SSE_TYPE]: OpenAiResponseEvent },
    ...openai,
  },
  {
    method: "post",
    path: "/v1/completions",
    summary: "OpenAI: complete a prompt by one member",
    request: CompletionRequest,
    answers: { [JSON_TYPE]: Anything, [SSE_TYPE]: Anything },
    ...openai,
  },
  {
    method: "post",
    path: "/v1/embeddings",
    summary: "OpenAI: embeddings of one member",
    request: EmbeddingsRequest,
    answers: json(Anything),
    ...openai,
  },
  {
    method: "get",
    path: "/v1/models",
    summary: "OpenAI: the ensemble and its members",
    answers: json(OpenAiModels),
    ...openai,
  },
  { method: "get", path: "/v1/models/{model}", summary: "OpenAI: one of them", answers: json(Model), ...openai },
  { method: "get", path: "/", summary: "That the service runs", answers: { [TEXT_TYPE]: Text }, ...native },
  { method: "get", path: "/healthz", summary: "Whether the process lives", answers: json(Anything), ...native },
  {
    method: "get",
    path: "/readyz",
    summary: "Whether a quorum of models can answer; 503 and why while not",
    answers: json(Anything),
    error: Anything,
  },
  { method: "get", path: "/metrics", summary: "Figures for Prometheus", answers: { [TEXT_TYPE]: Text }, ...native },
  { method: "get", path: "/openapi.json", summary: "This document", answers: json(Anything), ...native },
];
