import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EnsembleConfigSchema, type EnsembleConfigInput } from "../../../../runtime/contracts/ensemble-config.ts";
import { Fault } from "../../../../runtime/core/fault.ts";
import { runPipeline } from "../../../../runtime/core/pipeline.ts";
import { planOf } from "../../../../runtime/core/plan.ts";
import type { ModelCall } from "../../../../runtime/core/ports.ts";
import { type Act, fakeWorld, type FakeWorld } from "./fake-ports.ts";

const five: EnsembleConfigInput = {
  members: [
    { name: "promptimizer", role: "rewriter", url: "http://p:1", model: "p" },
    { name: "llama", role: "candidate", url: "http://l:1", model: "l" },
    { name: "qwen", role: "candidate", url: "http://q:1", model: "q" },
    { name: "qwen-small", role: "candidate", url: "http://s:1", model: "s", prompt: "rewritten" },
    { name: "judge", role: "judge", url: "http://j:1", model: "j" },
  ],
  deadlines: { rewriteMs: 1_000, candidatesMs: 10_000, judgeMs: 5_000, totalMs: 20_000 },
  judging: { overlap: false },
  patience: { leastMs: 60_000 },
};

/** A verdict for whoever says this text. */
function verdictFor(call: ModelCall, text: string): string {
  const user = call.messages.at(-1)?.content ?? "";
  const labels = [...user.matchAll(/<answer ([A-H]) [0-9a-f]{8}>\n([\s\S]*?)\n<\/answer/g)];
  const winner = labels.find(([, , said]) => said === text)?.[1] ?? "tie";
  return JSON.stringify({
    winner,
    scores: Object.fromEntries(labels.map(([, label = "?"]) => [label, [3, 3, 3, 3, 3]])),
  });
}

const acts: Record<string, Act> = {
  promptimizer: { after: 100, say: "Tell why exactly." },
  llama: { after: 500, say: "An answer by llama here." },
  qwen: { after: 700, say: "A reply by qwen there." },
  "qwen-small": { after: 200, say: "Some words of small." },
};

function run(world: FakeWorld, text = "Why?", extra: Partial<Parameters<typeof runPipeline>[1]> = {}, config = five) {
  return runPipeline(
    planOf(EnsembleConfigSchema.parse(config)),
    { text, turns: [], ...extra },
    world.ports,
    new AbortController().signal,
  );
}

function world(overrides: Record<string, Act | undefined> = {}, winner = "A reply by qwen there."): FakeWorld {
  return fakeWorld((call) => {
    const { name } = call.member;
    const act = overrides[name] ?? acts[name];
    return act ?? { after: 50, say: verdictFor(call, winner) };
  });
}

/** Ports on which one member writes so many words, one each 10 ms, before it says what it does anyway. */
function trickling(ports: FakeWorld["ports"], name: string, words: number): FakeWorld["ports"]["call"] {
  const inner = ports.call.bind(ports);
  return async function* (call, signal) {
    const { member } = call;
    if (member.name !== name) {
      yield* inner(call, signal);
      return;
    }
    for await (const piece of inner(call, signal)) {
      for (let word = 0; piece.text !== "" && word < words; word++) {
        yield { text: `word${word} ` };
        await new Promise<void>((resolve) => ports.timer(10, resolve));
      }
      yield piece;
    }
  };
}

const lastWords = (call: ModelCall | undefined): string => call?.messages.at(-1)?.content ?? "";

describe("the pipeline", () => {
  test("starts at once what needs nothing, and only qwen-small after the rewrite, with the rewritten words", async () => {
    const w = world();
    const outcome = await run(w);
    expect(outcome.answer).toBe("A reply by qwen there.");
    expect(outcome.decision).toMatchObject({ by: "judge", winner: "qwen", model: "q" });
    const at = (name: string) => w.calls.find(({ call }) => call.member.name === name);
    expect(["promptimizer", "llama", "qwen", "qwen-small", "judge"].map((name) => at(name)?.atMs)).toEqual([
      0, 0, 0, 100, 700,
    ]);
    expect(lastWords(at("llama")?.call)).toBe("Why?");
    expect(lastWords(at("qwen")?.call)).toBe("Why?");
    expect(lastWords(at("qwen-small")?.call)).toBe("Tell why exactly.");
    expect(lastWords(at("judge")?.call)).toContain("Question: Why?");
    expect(outcome.ms).toBe(750);
    expect(outcome.stages.map(({ member, status }) => `${member} ${status}`)).toEqual([
      "promptimizer ok",
      "llama ok",
      "qwen ok",
      "qwen-small ok",
      "judge ok",
    ]);
  });

  test("gives models and judge the conversation", async () => {
    const w = world();
    const turns = [{ question: "Capital of France?", answer: "Paris." }];
    const outcome = await run(w, "Its population?", { turns });
    expect(outcome.turnsShown).toBe(1);
    for (const { call } of w.calls) expect(JSON.stringify(call.messages)).toContain("Paris.");
  });

  test.each(["promptimizer", "llama", "qwen-small", "judge"])("answers without %s", async (name) => {
    const outcome = await run(world({ [name]: { after: 10, fail: new Fault("model_failed", "it broke") } }));
    expect(outcome.answer).toMatch(/by|of/);
    expect(outcome.stages.find(({ member }) => member === name)).toMatchObject({
      status: "failed",
      code: "model_failed",
      reason: "it broke",
    });
  });

  test("gives qwen-small the user's own words when the rewrite fails, is late, or is no question", async () => {
    const failed: Act[] = [
      { hang: true },
      { after: 1, fail: new Fault("model_failed", "no") },
      { after: 1, say: "I'm sorry, I can't do that." },
      { after: 1, say: "" },
    ];
    for (const act of failed) {
      const w = world({ promptimizer: act });
      await run(w);
      expect(lastWords(w.calls.find(({ call }) => call.member.name === "qwen-small")?.call)).toBe("Why?");
    }
  });

  test("asks no judge when one answer is left, or all say the same", async () => {
    const gone: Act = { after: 1, fail: new Fault("model_failed", "gone") };
    const one = world({ llama: gone, "qwen-small": gone });
    expect((await run(one)).decision.by).toBe("only-candidate");
    const same: Act = { after: 1, say: "It is Paris." };
    const all = world({ llama: same, qwen: same, "qwen-small": { after: 1, say: "it is  paris" } });
    const agreed = await run(all);
    expect(agreed.decision.by).toBe("agreement");
    expect(agreed.stages.at(-1)).toMatchObject({ stage: "judge", status: "skipped", attempts: 0 });
    for (const w of [one, all]) expect(w.calls.some(({ call }) => call.member.name === "judge")).toBe(false);
  });

  test("drops empty, refusing and one-word answers before the judge sees them", async () => {
    const outcome = await run(
      world({
        llama: { after: 1, say: "I'm sorry, but I cannot help with that." },
        "qwen-small": { after: 1, say: "Yes" },
      }),
    );
    expect(outcome.decision).toMatchObject({ by: "only-candidate", winner: "qwen" });
    const reasons = outcome.stages
      .filter(({ status }) => status === "dropped")
      .map(({ member, reason }) => `${member}: ${reason}`);
    expect(reasons).toEqual(["llama: not judged: refusal", "qwen-small: not judged: one word"]);
  });

  test("keeps one-word answers when there are no others", async () => {
    const four: Act = { after: 1, say: "4" };
    expect((await run(world({ llama: four, qwen: four, "qwen-small": four }))).answer).toBe("4");
  });

  test("decides by scores, then by resemblance, when the verdict names nobody", async () => {
    const tie = fakeWorld((call) => {
      if (call.member.name !== "judge") return acts[call.member.name] ?? { hang: true };
      const user = lastWords(call);
      const label = /<answer ([A-H]) [0-9a-f]{8}>\nSome words/.exec(user)?.[1] ?? "?";
      const scores = Object.fromEntries(
        ["A", "B", "C"].map((one) => [one, one === label ? [5, 5, 5, 5, 5] : [1, 1, 1, 1, 1]]),
      );
      return { after: 1, say: JSON.stringify({ winner: "tie", scores }) };
    });
    expect((await run(tie)).decision).toMatchObject({ by: "scores", winner: "qwen-small" });
    expect((await run(world({ judge: { after: 1, say: "I like the first." } }))).decision.by).toBe("resemblance");
  });

  test("asks in both orders when told to, and a judge that always says the first decides nothing", async () => {
    const first = fakeWorld((call) =>
      call.member.name === "judge"
        ? { after: 1, say: '{"winner":"A","scores":{"A":[3,3,3,3,3],"B":[3,3,3,3,3],"C":[3,3,3,3,3]}}' }
        : (acts[call.member.name] ?? { hang: true }),
    );
    const outcome = await run(first, "Why?", { bothOrders: true });
    expect(outcome.decision).toMatchObject({ by: "resemblance" });
    expect(outcome.decision.why).toContain("changed its mind");
    expect(outcome.stages.filter(({ stage }) => stage === "judge")).toHaveLength(2);
    expect((await run(world(), "Why?", { bothOrders: true })).decision).toMatchObject({ by: "judge", winner: "qwen" });
  });

  test("cancels a model that passes its deadline and goes on without it", async () => {
    const w = world({ llama: { hang: true } });
    const outcome = await run(w);
    expect(outcome.stages.find(({ member }) => member === "llama")).toMatchObject({
      status: "timeout",
      code: "deadline_exceeded",
      ms: 10_000,
    });
    expect(w.calls.find(({ call }) => call.member.name === "llama")?.aborted).toBe(true);
    expect(outcome.ms).toBe(10_050);
  });

  test("waits for the last one only as long again as two others took", async () => {
    const w = world({ llama: { hang: true } });
    const outcome = await run(w, "Why?", {}, { ...five, patience: { leastMs: 300, ratio: 1 } });
    expect(outcome.stages.find(({ member }) => member === "llama")).toMatchObject({
      status: "timeout",
      ms: 1_400,
      reason: "no whole answer within 1400 ms, and the others had answered",
    });
    expect(outcome.ms).toBe(1_450);
    expect(w.calls.find(({ call }) => call.member.name === "llama")?.aborted).toBe(true);
    const slow = await run(
      world({ llama: { after: 1_300, say: "An answer by llama here." } }),
      "Why?",
      {},
      { ...five, patience: { leastMs: 1, ratio: 1 } },
    );
    expect(slow.stages.find(({ member }) => member === "llama")?.status).toBe("ok");
  });

  test("begins a call anew once when its connection breaks", async () => {
    let calls = 0;
    const w = fakeWorld((call) => {
      if (call.member.name === "llama" && calls++ === 0)
        return { after: 5, fail: new Fault("model_unreachable", "reset") };
      return acts[call.member.name] ?? { after: 1, say: verdictFor(call, "An answer by llama here.") };
    });
    const outcome = await run(w);
    expect(outcome.decision.winner).toBe("llama");
    expect(outcome.stages.find(({ member }) => member === "llama")).toMatchObject({ status: "ok", attempts: 2 });
  });

  test("names every model when none answers", async () => {
    const gone = (text: string): Act => ({ after: 1, fail: new Fault("model_failed", text) });
    const failed = await run(
      world({ llama: gone("out of memory"), qwen: { hang: true }, "qwen-small": { after: 1, say: "" } }),
    ).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(Fault);
    expect(failed).toMatchObject({ code: "no_answer", status: 503, retryAfterSeconds: 5 });
    const { message } = failed as Fault;
    for (const part of [
      "llama (l): out of memory",
      "qwen (q): no whole answer within 10000 ms",
      "qwen-small (s): not judged: empty",
    ]) {
      expect(message).toContain(part);
    }
  });

  test("stops every call when the client goes away", async () => {
    const w = world({ llama: { hang: true }, qwen: { hang: true } });
    const client = new AbortController();
    w.ports.timer(50, () => client.abort());
    const plan = planOf(EnsembleConfigSchema.parse(five));
    await expect(runPipeline(plan, { text: "Why?", turns: [] }, w.ports, client.signal)).rejects.toMatchObject({
      code: "cancelled",
    });
    expect(w.now()).toBe(50);
    expect(w.calls.filter(({ aborted }) => !aborted)).toEqual([]);
  });

  test("has the judge read finished answers while others write, and the last one as it grows", async () => {
    const said = { llama: "An answer by llama here.", small: "Some words of small.", qwen: "" };
    const w = fakeWorld((call) => acts[call.member.name] ?? { after: 10, say: verdictFor(call, said.llama) });
    w.ports.call = trickling(w.ports, "qwen", 200);
    const outcome = await run(w, "Why?", {}, { ...five, judging: {} });
    expect(outcome.decision).toMatchObject({ by: "judge", winner: "llama" });
    const judged = w.calls.filter(({ call }) => call.member.name === "judge");
    const prompts = judged.map(({ call }) => lastWords(call));
    expect(judged.slice(0, -1).every(({ call }) => call.maxTokens === 1)).toBe(true);
    expect(judged[0]?.atMs).toBe(0);
    expect(prompts[0]).toBe("Question: Why?\n\n");
    expect(prompts[1]).toContain("Some words of small.");
    expect(prompts.length).toBeGreaterThan(3);
    for (const [index, prompt] of prompts.slice(1).entries())
      expect(prompt.startsWith((prompts[index] ?? "").trimEnd())).toBe(true);
    expect(w.calls.every(({ aborted }) => aborted)).toBe(true);
  });

  test("judges as well when the judge cannot be fed", async () => {
    let fed = 0;
    const w = fakeWorld((call) => {
      if (call.member.name === "judge" && call.maxTokens === 1)
        return { after: fed++, fail: new Fault("model_failed", "busy") };
      return acts[call.member.name] ?? { after: 50, say: verdictFor(call, "A reply by qwen there.") };
    });
    expect((await run(w, "Why?", {}, { ...five, judging: {} })).decision.winner).toBe("qwen");
    expect(fed).toBe(1);
  });

  test("has the judge's model write one answer from all in the mode synthesize, and selects when that fails", async () => {
    const merging = (say: string) =>
      fakeWorld((call) => {
        if (call.messages[0]?.content.startsWith("You merge answers.") === true) return { after: 20, say };
        return acts[call.member.name] ?? { after: 1, say: verdictFor(call, "A reply by qwen there.") };
      });
    const merged = await run(merging("One answer from three."), "Why?", { mode: "synthesize" });
    expect(merged).toMatchObject({
      answer: "One answer from three.",
      decision: { by: "synthesis", winner: "judge", model: "j" },
    });
    expect(merged.stages.map(({ stage, status }) => `${stage} ${status}`).slice(-2)).toEqual([
      "judge skipped",
      "synthesis ok",
    ]);
    const refused = await run(merging("I'm sorry, I can't."), "Why?", { mode: "synthesize" });
    expect(refused.decision).toMatchObject({ by: "judge", winner: "qwen" });
  });

  test("tells the words of the first candidate that speaks as they come, when asked to, and of no other", async () => {
    const w = world();
    w.ports.call = trickling(w.ports, "llama", 5);
    const told: string[] = [];
    const plan = planOf(EnsembleConfigSchema.parse(five));
    const question = { text: "Why?", turns: [], draft: true };
    await runPipeline(plan, question, w.ports, new AbortController().signal, (event) => {
      if (event.event === "draft") told.push(`${event.member}: ${event.text}`);
    });
    expect(new Set(told.map((one) => one.split(":")[0]))).toEqual(new Set(["qwen-small"]));
    expect(told.map((one) => one.slice("qwen-small: ".length)).join("")).toBe("Some words of small.");
  });

  test("asks for no scores when told so", async () => {
    const w = world();
    await run(w, "Why?", {}, { ...five, judging: { scores: false } });
    expect(w.calls.at(-1)?.call).toMatchObject({ maxTokens: 32, format: { required: ["winner"] } });
  });

  test("ends in an answer or one typed fault within its time, whatever the members do", async () => {
    const act = fc.oneof(
      fc.record({
        after: fc.integer({ min: 0, max: 30_000 }),
        say: fc.oneof(fc.string(), fc.constantFrom("Yes it is so.", "I'm sorry.", "<think>hm")),
      }),
      fc.record({
        after: fc.integer({ min: 0, max: 30_000 }),
        fail: fc.constantFrom(new Fault("model_unreachable", "x"), new Fault("model_failed", "y"), new Error("z")),
      }),
      fc.constant({ hang: true as const }),
    );
    const members = five.members.map(({ name }) => name);
    await fc.assert(
      fc.asyncProperty(
        fc.record(Object.fromEntries(members.map((name) => [name, act]))),
        fc.boolean(),
        async (each, bothOrders) => {
          const w = fakeWorld((call) => each[call.member.name] ?? { hang: true });
          const ended = await run(w, "Why?", { bothOrders }).catch((error: unknown) => error);
          if (ended instanceof Error) expect(ended).toMatchObject({ name: "Fault", code: "no_answer" });
          else expect(ended).toMatchObject({ answer: expect.stringMatching(/\S/) as string });
          expect(w.now()).toBeLessThanOrEqual(20_000);
          expect(w.calls.every(({ aborted }) => aborted)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });
});
