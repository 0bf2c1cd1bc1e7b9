import { afterEach, describe, expect, test } from "vitest";
import { AskAnswer, type AskEvent } from "../../../../runtime/contracts/native.ts";
import { readLabel } from "../../../../runtime/core/judging.ts";
import { askEvents } from "../../../../runtime/orchestrator/chat.ts";
import { judgeFor, type MockEnsemble, startMockEnsemble } from "../../../support/ensemble.ts";

let running: MockEnsemble | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});

const post = (path: string, body: unknown): Promise<Response> =>
  fetch(`${running?.url ?? ""}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

/** A judge that writes its label, and a while later its scores. */
async function slowScores(scoresMs: number) {
  const whole = judgeFor("by llama");
  const answer: typeof whole = (call) => whole(call).replace('","scores"', '", "scores"');
  running = await startMockEnsemble({ judge: { answer, tokenMs: scoresMs } }, { judging: { overlap: false } });
  return running;
}

describe("a verdict", () => {
  test("is told as soon as its label is read; its scores come with the last event", async () => {
    const { url } = await slowScores(600);
    const seen: { event: AskEvent; ms: number }[] = [];
    for await (const event of askEvents({ url, question: "Why?" })) seen.push({ event, ms: performance.now() });
    const at = (name: string, last = false): number =>
      last
        ? seen.findLastIndex(({ event }) => event.event === name)
        : seen.findIndex(({ event }) => event.event === name);
    const judged = seen.findIndex(({ event }) => event.event === "stage-end" && event.stage.stage === "judge");
    expect(at("decision")).toBeLessThan(at("text"));
    expect(at("text", true)).toBeLessThan(judged);
    expect(judged).toBeLessThan(at("answer"));
    const last = seen.at(-1)?.event;
    if (last?.event !== "answer") throw new Error("no answer");
    expect(last.answer.decision).toMatchObject({ by: "judge", winner: "llama" });
    expect(last.answer.stages.filter(({ scores }) => scores !== undefined)).toHaveLength(3);
    expect(last.answer.stages.find(({ stage }) => stage === "judge")?.status).toBe("ok");
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('gorkheavy_wins_total{member="llama"} 1');
  });

  test("is waited for whole where the answer is one document that has scores, and not where it has none", async () => {
    const { mocks } = await slowScores(1_500);
    const judgeOpen = (): boolean => mocks.judge.calls.some(({ ended }) => ended !== true);
    const openai = await post("/v1/chat/completions", {
      model: "gorkheavy:latest",
      messages: [{ role: "user", content: "Why?" }],
    });
    expect(await openai.json()).toMatchObject({ choices: [{ message: { content: "An answer by llama here." } }] });
    expect(judgeOpen()).toBe(true);
    const native = AskAnswer.parse(await (await post("/ask", { question: "Why?" })).json());
    expect(native.stages.filter(({ scores }) => scores !== undefined)).toHaveLength(3);
  });

  test("stands when the judge breaks off after its label", async () => {
    const { url, mocks } = await slowScores(0);
    mocks.judge.behaviour.fault = () => "eof-mid";
    const answer = AskAnswer.parse(await (await post("/ask", { question: "Why?" })).json());
    expect(answer.decision).toMatchObject({ by: "judge", winner: "llama" });
    expect(answer.stages.find(({ stage }) => stage === "judge")?.status).toBe("failed");
    expect(url).toBeDefined();
  });
});

describe("the label of a verdict that still comes", () => {
  const ballot = { nonce: "0", places: 2, entries: [entry("A", "llama"), entry("B", "qwen")] };
  test.each([
    ['{"winner":"B"', "qwen"],
    [' {\n "winner" : "A", "scores": {', "llama"],
    ['{"winner":"B', undefined],
    ['{"winner":"C"', undefined],
    ['{"winner":"tie"', undefined],
    ['Sure! {"winner":"B"', undefined],
    ['{"note":"x","winner":"B"', undefined],
    ['{"winner":"Bob"', undefined],
  ])("%j is %s", (text, winner) => {
    expect(readLabel(text, ballot)).toBe(winner);
  });
});

function entry(label: string, member: string) {
  return { label, member, text: "x" };
}
