import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AskEvent } from "../../../../../runtime/contracts/native.ts";
import { ask, askEvents, describe as inWords } from "../../../../../runtime/orchestrator/chat.ts";
import { type MockEnsemble, startMockEnsemble } from "../../../../support/ensemble.ts";

const QUESTION = "What is the capital of France?";
let folder = "";
let ensemble: MockEnsemble | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "gorkheavy-routed-"));
});
afterEach(async () => {
  await ensemble?.close();
  ensemble = undefined;
  await rm(folder, { recursive: true, force: true });
});

const start = async (routing: object): Promise<MockEnsemble> => {
  ensemble = await startMockEnsemble({}, { routing: { verdictsFile: join(folder, "verdicts.jsonl"), ...routing } });
  return ensemble;
};
const verdicts = async (): Promise<string[]> =>
  (await readFile(join(folder, "verdicts.jsonl"), "utf8")).trimEnd().split("\n");

describe("the service with routing", () => {
  test("learns whom to ask, shows it in the answer, the events and the metrics, and knows it after a restart", async () => {
    const settings = { awarenessThreshold: 0.6, explorationRatio: 0 };
    const { url } = await start(settings);
    for (let at = 0; at < 5; at++) expect((await ask({ url, question: QUESTION })).routing?.reason).toBe("unlearned");
    await ensemble?.close();
    const second = await start(settings);
    const before = second.mocks.judge.calls.length;
    const events: AskEvent[] = [];
    for await (const event of askEvents({ url: second.url, question: QUESTION })) events.push(event);
    const answer = events.find((event) => event.event === "answer")?.answer;
    expect(answer).toMatchObject({
      reply: "An answer by llama here.",
      routing: { reason: "sure", asked: ["llama"], heldBack: ["qwen", "qwen-small"], threshold: 0.6, like: 5 },
    });
    expect(answer?.routing?.profile.recall).toBeGreaterThan(0.5);
    expect(answer?.stages.filter(({ status }) => status === "skipped").map(({ member }) => member)).toEqual([
      "promptimizer",
      "qwen",
      "qwen-small",
      "judge",
    ]);
    expect(events[0]).toMatchObject({ event: "routing", routing: { asked: ["llama"] } });
    expect(inWords(events[0] as AskEvent)).toMatch(/^ {2}asks llama: llama won 5 of 5 like questions/);
    expect(second.mocks.judge.calls.length).toBe(before);
    expect(second.mocks.qwen.calls).toEqual([]);
    const metrics = await (await fetch(`${second.url}/metrics`)).text();
    expect(metrics).toContain('gorkheavy_routes_total{reason="sure"} 1');
    expect(metrics).toContain('gorkheavy_held_back_total{member="qwen"} 1');
    expect(metrics).toContain("gorkheavy_escalations_total 0");
    expect(metrics).toContain("gorkheavy_verdicts_lost_total 0");
  });

  test("asks the rest when the one asked breaks, and counts it", async () => {
    const { url, mocks } = await start({ awarenessThreshold: 0.6, explorationRatio: 0 });
    for (let at = 0; at < 5; at++) await ask({ url, question: QUESTION });
    mocks.llama.behaviour.fault = () => "500";
    const answer = await ask({ url, question: QUESTION });
    expect(answer.routing).toMatchObject({ reason: "sure", asked: ["llama"] });
    expect(answer.reply).toMatch(/by qwen/);
    expect(answer.stages.map(({ member, status }) => `${member} ${status}`)).toContain("llama failed");
    expect(await (await fetch(`${url}/metrics`)).text()).toContain("gorkheavy_escalations_total 1");
  });

  test("asks everybody by default, and writes no word of anybody unless told to", async () => {
    const { url } = await start({});
    const answer = await ask({ url, question: QUESTION });
    expect(answer.routing).toMatchObject({ reason: "off", asked: ["llama", "qwen", "qwen-small"], threshold: 1 });
    await ensemble?.close();
    const [line = ""] = await verdicts();
    expect(JSON.parse(line)).toMatchObject({ seq: 1, decision: { by: "judge", winner: "llama" } });
    expect(line).not.toMatch(/capital|france|answer by/i);
    const told = await start({ recordQuestions: true });
    await ask({ url: told.url, question: QUESTION });
    await ensemble?.close();
    expect(JSON.parse((await verdicts())[1] ?? "")).toMatchObject({ seq: 2, question: QUESTION });
  });

  test("asks everybody for both orders and for a synthesis, whatever was learned", async () => {
    const { url } = await start({ awarenessThreshold: 0, explorationRatio: 0 });
    for (let at = 0; at < 6; at++) await ask({ url, question: QUESTION });
    expect((await ask({ url, question: QUESTION })).routing?.reason).toBe("sure");
    expect((await ask({ url, question: QUESTION, bothOrders: true })).routing?.reason).toBe("asked-for");
    expect((await ask({ url, question: QUESTION, mode: "synthesize" })).routing?.reason).toBe("asked-for");
  });
});
