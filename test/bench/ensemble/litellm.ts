import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OpenAiChatCompletion } from "../../../runtime/contracts/openai.ts";
import { litellmPython, startLiteLlm } from "../peers/litellm.ts";
import { MODEL } from "../peers/gateway.ts";
import type { Contestant } from "./seed.ts";

/** The other candidate that answers in the place of one that does not. */
const FALLBACKS: Readonly<Record<string, string>> = { llama: "qwen", qwen: "llama", "qwen-small": "qwen" };

/**
 * The same five calls through LiteLLM's proxy: the rewrite, three candidates at once, the judge with all answers. What stalls is given up after
 * `timeoutMs` and asked of its fallback, as LiteLLM's documentation says; it knows a fixed time only, which somebody has to choose.
 * @param core CPU core that it is pinned to
 */
export async function startLiteLlmEnsemble(
  addresses: Record<string, string>,
  core: number,
  timeoutMs: number,
): Promise<Contestant> {
  const python = await litellmPython((line) => void process.stderr.write(`${line}\n`));
  const work = await mkdtemp(join(tmpdir(), "gorkheavy-bench-"));
  const names = Object.keys(addresses);
  const model = (modelName: string, name: string): unknown => ({
    model_name: modelName,
    litellm_params: { model: `ollama_chat/${name}`, api_base: addresses[name] },
  });
  const config = {
    model_list: [...names.map((name) => model(name, name)), model(MODEL, "promptimizer")],
    litellm_settings: {
      num_retries: 0,
      fallbacks: Object.entries(FALLBACKS).map(([name, other]) => ({ [name]: [other] })),
    },
    router_settings: { timeout: timeoutMs / 1000 },
  };
  const running = await startLiteLlm(python, config, { core, work });
  const call = async (name: string, content: string): Promise<string> => {
    const response = await fetch(`${running.url}/v1/chat/completions`, {
      method: "POST",
      headers: { ...running.headers, "content-type": "application/json" },
      body: JSON.stringify({ model: name, messages: [{ role: "user", content }] }),
    });
    const body: unknown = await response.json();
    if (!response.ok) throw new Error(`LiteLLM answered ${response.status}: ${JSON.stringify(body)}`);
    return OpenAiChatCompletion.parse(body).choices[0]?.message.content ?? "";
  };
  return {
    name: `LiteLLM, fallback after ${timeoutMs} ms`,
    ask: async (question) => {
      const began = performance.now();
      const answers = await Promise.all([
        call("promptimizer", `Rewrite: ${question}`).then((rewritten) => call("qwen-small", rewritten)),
        call("qwen", question),
        call("llama", question),
      ]);
      await call("judge", [question, ...answers].join("\n\n"));
      const ms = performance.now() - began;
      return { ms, firstMs: ms };
    },
    close: async () => {
      await running.stop();
      await rm(work, { recursive: true, force: true });
    },
  };
}
