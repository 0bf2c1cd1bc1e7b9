import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Ensemble } from "../../../../runtime/orchestrator/ensemble.ts";
import { Upstream } from "../../../../runtime/orchestrator/upstream.ts";
import { type MockEnsemble, startMockEnsemble } from "../../../support/ensemble.ts";

let mocks: MockEnsemble;
beforeAll(async () => {
  mocks = await startMockEnsemble();
});
afterAll(() => mocks.close());

describe("the log", () => {
  test("tells who answered and how long it took, and no word of users or models", async () => {
    const lines: string[] = [];
    const write = (...parts: unknown[]): void => void lines.push(JSON.stringify(parts));
    const { config } = mocks.orchestrator.ensemble;
    const upstream = new Upstream({ connectMs: 1_000 });
    const ensemble = new Ensemble({ config, upstream, log: { info: write, warn: write } });
    const input = { question: "My secret plan?", user: "ann", conversation: "holiday" };
    await ensemble.ask(input, new AbortController().signal);
    for (const name of ["llama", "qwen", "qwen-small"] as const) mocks.mocks[name].behaviour.fault = () => "500";
    await expect(ensemble.ask(input, new AbortController().signal)).rejects.toMatchObject({ code: "no_answer" });
    await ensemble.close();
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/"winner":"llama".*"llama ok \d+ ms"/);
    expect(lines[1]).toMatch(/"code":"no_answer".*"llama failed \(model_failed\) \d+ ms"/);
    expect(lines.join()).not.toMatch(/secret|plan|ann"|holiday|An answer/);
  });
});
