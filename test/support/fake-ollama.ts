import type { ServerResponse } from "node:http";
import { type FakeCall, type FakeServer, sayJson, startFakeServer } from "./fake-server.ts";

/** How a fake Ollama behaves; every field may be changed while it runs. */
export interface FakeOllamaBehaviour {
  /** Digests by name. */
  models: Record<string, string>;
  /** Those in memory. */
  held: Set<string>;
  /** Words of an answer; `endless` never ends, `stalled` says one word and then nothing, `silent` not even that it has heard. */
  words: string[] | "endless" | "stalled" | "silent";
  /** What is said instead of an answer. */
  refusal?: { status: number; error: string; headers?: Record<string, string> };
}

/** A server that speaks Ollama's API as far as a backend asks for it. Source: docs/api.md of ollama 0.17. */
export async function startFakeOllama(
  given: Partial<FakeOllamaBehaviour> = {},
  port = 0,
): Promise<FakeServer & { behaviour: FakeOllamaBehaviour }> {
  const behaviour: FakeOllamaBehaviour = {
    models: { "tiny:1": "a".repeat(64) },
    held: new Set(),
    words: ["One", " two", " three"],
    ...given,
  };
  const server = await startFakeServer((call, response) => answer(behaviour, call, response), port);
  return { ...server, behaviour };
}

async function answer(behaviour: FakeOllamaBehaviour, call: FakeCall, response: ServerResponse): Promise<void> {
  const { path, body } = call;
  const details = { format: "gguf", family: "llama", parameter_size: "1B", quantization_level: "Q4_0" };
  const tag = (name: string): object => ({
    ...{ name, model: name, size: 1_000, digest: behaviour.models[name], details },
    modified_at: "2026-01-01T00:00:00Z",
  });
  if (path === "/api/tags") return sayJson(response, { models: Object.keys(behaviour.models).map(tag) });
  if (path === "/api/ps")
    return sayJson(response, { models: [...behaviour.held].map((name) => ({ ...tag(name), size: 2_000 })) });
  if (path === "/api/show") return sayJson(response, { model_info: { "llama.context_length": 8_192 } });
  const name = String(body["model"]);
  if (behaviour.refusal !== undefined) {
    const { status, error, headers } = behaviour.refusal;
    return sayJson(response, { error }, status, headers);
  }
  if (behaviour.models[name] === undefined) return sayJson(response, { error: `model '${name}' not found` }, 404);
  const base = { model: name, created_at: "2026-01-01T00:00:00Z" };
  if (path === "/api/generate" && body["prompt"] === undefined) {
    if (body["keep_alive"] === 0) behaviour.held.delete(name);
    else behaviour.held.add(name);
    return sayJson(response, { ...base, response: "", done: true });
  }
  behaviour.held.add(name);
  if (behaviour.words === "silent") return;
  const line = (more: object): boolean => response.write(`${JSON.stringify({ ...base, ...more })}\n`);
  const most = (body["options"] as { num_predict?: number } | undefined)?.num_predict ?? Infinity;
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  let written = 0;
  for (; !response.destroyed && written < most; written++) {
    const word = typeof behaviour.words === "string" ? " more" : behaviour.words[written];
    if (word === undefined) break;
    line({ message: { role: "assistant", content: word }, done: false });
    if (behaviour.words === "stalled") return;
    if (behaviour.words === "endless") await new Promise((resolve) => setTimeout(resolve, 1));
  }
  line({
    ...{ message: { role: "assistant", content: "" }, done: true, done_reason: written >= most ? "length" : "stop" },
    ...{ prompt_eval_count: 5, prompt_eval_duration: 2_000_000, eval_count: written, eval_duration: 3_000_000 },
  });
  response.end();
}
