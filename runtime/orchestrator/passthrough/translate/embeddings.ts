import { z } from "zod";
import type { Member } from "../../../contracts/ensemble-config.ts";
import { type AnswerTranslation, bad, given, parsed, type Translation } from "./translation.ts";

const Texts = z.union([z.string(), z.array(z.string())], "want a text or a list of texts");

const OpenAiRequest = z.looseObject({
  model: z.string(),
  input: Texts,
  dimensions: z.int().positive().nullish(),
  encoding_format: z.enum(["float", "base64"]).nullish(),
});
const OllamaRequest = z.looseObject({ model: z.string(), input: Texts, dimensions: z.int().positive().nullish() });
const OldOllamaRequest = z.looseObject({ model: z.string(), prompt: z.string() });

const OllamaAnswer = z.looseObject({
  embeddings: z.array(z.array(z.number())),
  prompt_eval_count: z.number().nullish(),
});
const OpenAiAnswer = z.looseObject({
  data: z.array(z.looseObject({ index: z.number(), embedding: z.array(z.number()) })),
  usage: z.looseObject({ prompt_tokens: z.number() }).nullish(),
});

/** `/v1/embeddings` at a server that has Ollama's own API alone. @throws Fault invalid_request */
export function openAiEmbeddings(bytes: Buffer, member: Member): Translation {
  const { model, input, dimensions, encoding_format } = parsed(bytes, OpenAiRequest);
  const written = (vector: number[]): unknown =>
    encoding_format === "base64" ? Buffer.from(Float32Array.from(vector).buffer).toString("base64") : vector;
  return wholeOnly("/api/embed", { model: member.model, input, ...given("dimensions", dimensions) }, (document) => {
    const answer = OllamaAnswer.safeParse(document);
    if (!answer.success) throw bad("what is not of the Ollama API");
    const tokens = answer.data.prompt_eval_count ?? 0;
    return {
      object: "list",
      data: answer.data.embeddings.map((vector, index) => ({ object: "embedding", index, embedding: written(vector) })),
      model,
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    };
  });
}

/** `/api/embed` at a server that speaks OpenAI's dialect. @throws Fault invalid_request */
export function ollamaEmbed(bytes: Buffer, member: Member): Translation {
  const { model, input, dimensions } = parsed(bytes, OllamaRequest);
  return atOpenAi(member, input, dimensions, (embeddings, tokens) => ({
    model,
    embeddings,
    prompt_eval_count: tokens,
  }));
}

/** `/api/embeddings`, the older of the two, at a server that speaks OpenAI's dialect. @throws Fault invalid_request */
export function ollamaEmbeddings(bytes: Buffer, member: Member): Translation {
  const { prompt } = parsed(bytes, OldOllamaRequest);
  return atOpenAi(member, prompt, undefined, ([embedding = []]) => ({ embedding }));
}

function atOpenAi(
  member: Member,
  input: string | string[],
  dimensions: number | null | undefined,
  shape: (vectors: number[][], tokens: number) => unknown,
): Translation {
  const body = { model: member.model, input, encoding_format: "float", ...given("dimensions", dimensions) };
  return wholeOnly("/v1/embeddings", body, (document) => {
    const answer = OpenAiAnswer.safeParse(document);
    if (!answer.success) throw bad("what is not of the OpenAI API");
    const { data, usage } = answer.data;
    const vectors = data.toSorted((a, b) => a.index - b.index).map(({ embedding }) => embedding);
    return shape(vectors, usage?.prompt_tokens ?? 0);
  });
}

function wholeOnly(path: string, body: object, whole: (document: unknown) => unknown): Translation {
  const answer: AnswerTranslation = {
    contentType: "application/json",
    whole,
    piece: () => {
      throw bad("a stream where a document was asked for");
    },
    end: () => undefined,
  };
  return { path, body: Buffer.from(JSON.stringify(body)), stream: false, answer };
}
