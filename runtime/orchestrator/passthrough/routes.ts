import type { Kind } from "./fields.ts";

/** A path on which one model can be asked by its name. */
export interface Route {
  readonly path: string;
  /** Whose dialect it is. */
  readonly api: "ollama" | "openai";
  /** Fields whose type is checked here, so that a wrong one has the same answer whatever server stands behind; `null` counts as absent. */
  readonly kinds: Readonly<Record<string, readonly Kind[]>>;
  /** Fields that must be there. */
  readonly required: readonly string[];
  /** Whether the whole ensemble answers here too. Otherwise asking it is a clear error. */
  readonly ensemble: boolean;
  /** Whether Ollama runs the model for it with `options`, so that the context window and threads of the configuration are named. */
  readonly options: boolean;
  /** What a stream ends with; nothing where its end cannot be told. A stream without it was cut. */
  readonly end?: RegExp;
}

const STRING: readonly Kind[] = ["string"];
const BOOLEAN: readonly Kind[] = ["boolean"];
const ARRAY: readonly Kind[] = ["array"];
const OBJECT: readonly Kind[] = ["object"];
const NUMBER: readonly Kind[] = ["number"];
const TEXTS: readonly Kind[] = ["string", "array"];

const OLLAMA_COMMON = { model: STRING, stream: BOOLEAN, options: OBJECT, format: ["string", "object"] as const };
const OPENAI_COMMON = {
  model: STRING,
  stream: BOOLEAN,
  stream_options: OBJECT,
  temperature: NUMBER,
  top_p: NUMBER,
  seed: NUMBER,
  max_tokens: NUMBER,
};
const OLLAMA_END = /"done":\s*true|"total_duration":/;
const OPENAI_END = /\[DONE\]|"finish_reason":\s*"/;

/** All of them. Sources: ollama/ollama docs/api.md 0.17; openai npm client 6. */
export const ROUTES: readonly Route[] = [
  {
    path: "/v1/chat/completions",
    api: "openai",
    kinds: {
      ...OPENAI_COMMON,
      messages: ARRAY,
      tools: ARRAY,
      response_format: OBJECT,
      stop: TEXTS,
      n: NUMBER,
      max_completion_tokens: NUMBER,
    },
    required: ["messages"],
    ensemble: true,
    options: false,
    end: OPENAI_END,
  },
  {
    path: "/v1/completions",
    api: "openai",
    kinds: { ...OPENAI_COMMON, prompt: TEXTS, stop: TEXTS, n: NUMBER },
    required: ["prompt"],
    ensemble: false,
    options: false,
    end: OPENAI_END,
  },
  {
    path: "/v1/responses",
    api: "openai",
    kinds: { ...OPENAI_COMMON, input: TEXTS, instructions: STRING, tools: ARRAY, text: OBJECT },
    required: ["input"],
    ensemble: true,
    options: false,
  },
  {
    path: "/v1/embeddings",
    api: "openai",
    kinds: { model: STRING, input: TEXTS, dimensions: NUMBER, encoding_format: STRING },
    required: ["input"],
    ensemble: false,
    options: false,
  },
  {
    path: "/api/chat",
    api: "ollama",
    kinds: { ...OLLAMA_COMMON, messages: ARRAY, tools: ARRAY },
    required: [],
    ensemble: true,
    options: true,
    end: OLLAMA_END,
  },
  {
    path: "/api/generate",
    api: "ollama",
    kinds: {
      ...OLLAMA_COMMON,
      prompt: STRING,
      system: STRING,
      suffix: STRING,
      template: STRING,
      raw: BOOLEAN,
      images: ARRAY,
      context: ARRAY,
    },
    required: [],
    ensemble: true,
    options: true,
    end: OLLAMA_END,
  },
  {
    path: "/api/embed",
    api: "ollama",
    kinds: { model: STRING, input: TEXTS, truncate: BOOLEAN, options: OBJECT, dimensions: NUMBER },
    required: ["input"],
    ensemble: false,
    options: false,
  },
  {
    path: "/api/embeddings",
    api: "ollama",
    kinds: { model: STRING, prompt: STRING, options: OBJECT },
    required: ["prompt"],
    ensemble: false,
    options: false,
  },
  {
    path: "/api/show",
    api: "ollama",
    kinds: { model: STRING, name: STRING, verbose: BOOLEAN },
    required: [],
    ensemble: true,
    options: false,
  },
];
