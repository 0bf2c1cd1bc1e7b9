/** A text's vector at a mock: three numbers that depend on its length only. */
function vectorOf(text: unknown): number[] {
  const length = typeof text === "string" ? text.length : 0;
  return [1, length, 1 / (1 + length)];
}

/** The answer to a request for vectors, as the path's API writes it; undefined for paths that ask for none. */
export function embeddingsOf(path: string, model: string, body: Readonly<Record<string, unknown>>): unknown {
  if (path === "/api/embeddings") return { embedding: vectorOf(body.prompt) };
  const texts = Array.isArray(body.input) ? body.input : [body.input];
  const usage = { prompt_tokens: texts.length, total_tokens: texts.length };
  if (path === "/api/embed")
    return {
      model,
      embeddings: texts.map(vectorOf),
      total_duration: 1,
      load_duration: 0,
      prompt_eval_count: texts.length,
    };
  if (path !== "/v1/embeddings") return undefined;
  const written = (text: unknown): unknown =>
    body.encoding_format === "base64"
      ? Buffer.from(Float32Array.from(vectorOf(text)).buffer).toString("base64")
      : vectorOf(text);
  const data = texts.map((text, index) => ({ object: "embedding", index, embedding: written(text) }));
  return { object: "list", data, model, usage };
}
