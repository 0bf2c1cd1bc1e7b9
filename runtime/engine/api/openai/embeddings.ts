import type { Context } from "hono";
import { OpenAiEmbeddingsRequest } from "../../../contracts/openai-engine.ts";
import { Fault } from "../../../core/fault.ts";
import { clientSignal, readJson } from "../../../support/http.ts";
import type { Engine } from "../../engine.ts";
import { MOST_BODY_BYTES } from "../bodies.ts";
import { embed, normalized } from "../embedding.ts";
import { leaseOf } from "./sampling.ts";

/** `POST /v1/embeddings`. */
export async function embeddings(engine: Engine, c: Context): Promise<Response> {
  const request = await readJson(c, OpenAiEmbeddingsRequest, MOST_BODY_BYTES);
  const texts = (Array.isArray(request.input) ? request.input : [request.input]).map((one, at) => {
    if (typeof one === "string" && one !== "") return one;
    const message = one === "" ? `input.${at}: empty` : `input.${at}: want a text; token numbers are not served`;
    throw new Fault("invalid_request", message, { param: "input" });
  });
  const { vectors, tokens } = await embed(engine, request.model, texts, clientSignal(c), leaseOf(request));
  const encode = request.encoding_format === "base64" ? base64Of : (vector: readonly number[]) => vector;
  return c.json({
    object: "list",
    model: request.model,
    data: normalized(vectors, request.dimensions).map((vector, index) => ({
      object: "embedding",
      index,
      embedding: encode(vector),
    })),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

/** 32-bit floats, little-endian. Source: the openai client, `toFloat32Array`. */
function base64Of(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [at, value] of vector.entries()) bytes.writeFloatLE(value, at * 4);
  return bytes.toString("base64");
}
