import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { chatLoop } from "../../../../runtime/orchestrator/chat/loop.ts";
import { ask, AskError } from "../../../../runtime/orchestrator/chat.ts";
import { configFromModels, discoverLocal, loadConfig } from "../../../../runtime/orchestrator/config.ts";
import { type MockEnsemble, startMockEnsemble } from "../../../support/ensemble.ts";

let ensemble: MockEnsemble;
beforeAll(async () => {
  ensemble = await startMockEnsemble();
});
afterAll(() => ensemble.close());
beforeEach(() => {
  for (const mock of Object.values(ensemble.mocks)) mock.behaviour.fault = () => undefined;
});

async function chat(lines: string, quiet = true): Promise<string> {
  const input = new PassThrough();
  const output = new PassThrough();
  const printed = text(output);
  input.end(lines);
  await chatLoop({ url: ensemble.url, input, output, quiet });
  output.end();
  return printed;
}

describe("the chat", () => {
  test("asks at YOU:, prints Reply: and leaves at exit", async () => {
    const before = ensemble.mocks.llama.calls.length;
    expect(await chat("What is the capital of France?\nexit\nnever asked\n")).toBe(
      "YOU: Reply: An answer by llama here.\nYOU: \n",
    );
    expect(ensemble.mocks.llama.calls.length).toBe(before + 1);
  });

  test("leaves at the end of its input, with the last question answered, in one conversation", async () => {
    expect(await chat("One\n\nTwo")).toContain("Reply: An answer by llama here.");
    expect(ensemble.mocks.llama.calls.at(-1)?.body.messages.map(({ content }) => content)).toContain("One");
  });

  test("shows who thinks and who won, in plain lines", async () => {
    const printed = await chat("Why?\n", false);
    expect(printed).toContain("promptimizer (promptimizer:1b) is thinking");
    expect(printed).toMatch(/ {2}llama: ok after \d+ ms/);
    expect(printed).toContain("llama (llama:1b) won: the judge chose it");
  });

  test("prints an error and goes on", async () => {
    const { llama, qwen } = ensemble.mocks;
    const small = ensemble.mocks["qwen-small"];
    for (const mock of [llama, qwen, small])
      mock.behaviour.fault = (call) => (call.prompt.includes("fail") ? "500" : undefined);
    ensemble.mocks.promptimizer.behaviour.fault = () => "500";
    const printed = await chat("Please fail\nPlease answer\n");
    expect(printed).toMatch(/Error: none of the 3 candidate models gave an answer: llama .*qwen .*qwen-small/);
    expect(printed).toContain("Reply: An answer by llama here.");
  });
});

describe("ask", () => {
  test("uses the fetch that it is given", async () => {
    const seen: string[] = [];
    const own: typeof fetch = (input, init) => {
      seen.push(input instanceof Request ? input.url : input.toString());
      return fetch(input, init);
    };
    expect((await ask({ url: `${ensemble.url}/`, fetch: own, question: "Why?" })).reply).toBe(
      "An answer by llama here.",
    );
    expect(seen).toEqual([`${ensemble.url}/ask`]);
  });

  test("says that nobody answers, and what to do", async () => {
    await expect(ask({ url: "http://127.0.0.1:9", question: "Why?" })).rejects.toThrow(
      /no orchestrator answers at http:\/\/127.0.0.1:9; start one with `gorkheavy serve/,
    );
  });

  test("says that something else answers", async () => {
    const own: typeof fetch = () => Promise.resolve(new Response("<html>", { status: 200 }));
    await expect(ask({ url: "http://x", fetch: own, question: "Why?" })).rejects.toBeInstanceOf(AskError);
  });
});

describe("the configuration", () => {
  test("names the file that cannot be read", async () => {
    await expect(loadConfig("/nowhere/ensemble.yaml")).rejects.toThrow(
      /--config \/nowhere\/ensemble.yaml: cannot be read \(ENOENT\)/,
    );
  });

  test("is made of what a local Ollama has", () => {
    const config = configFromModels("http://127.0.0.1:11434", [
      { name: "gemma3:1b", size: 815 },
      { name: "granite4:350m", size: 400 },
      { name: "llama3.2:1b", size: 1300 },
      { name: "qwen3:0.6b", size: 522 },
      { name: "qwen2.5-coder:1.5b", size: 986 },
      { name: "nomic-embed-text:latest", size: 274 },
    ]);
    expect(config.members.map(({ name, model }) => `${name} ${model}`)).toEqual([
      "rewriter granite4:350m",
      "candidate-1 qwen3:0.6b",
      "candidate-2 qwen2.5-coder:1.5b",
      "candidate-3 llama3.2:1b",
      "judge gemma3:1b",
    ]);
    expect(config.members.filter(({ prompt }) => prompt === "rewritten").map(({ name }) => name)).toEqual([
      "candidate-1",
    ]);
  });

  test("of one local model is one candidate", () => {
    expect(configFromModels("http://x", [{ name: "tiny:1b", size: 1 }]).members.map(({ role }) => role)).toEqual([
      "candidate",
    ]);
    expect(() => configFromModels("http://x", [])).toThrow(/ollama pull/);
  });

  test("says what to do when there is neither a file nor an Ollama", async () => {
    await expect(discoverLocal("http://127.0.0.1:9")).rejects.toThrow(/give --config FILE, or start Ollama/);
  });
});
