import { describe, expect, test } from "vitest";
import { EnsembleConfigSchema, type EnsembleConfigInput } from "../../../../runtime/contracts/ensemble-config.ts";
import { Fault } from "../../../../runtime/core/fault.ts";
import { runPipeline, type Watch } from "../../../../runtime/core/pipeline.ts";
import { assertPlan, type Plan, planOf, type PlanStage } from "../../../../runtime/core/plan.ts";
import { type Act, fakeWorld, type FakeWorld } from "./fake-ports.ts";

const config: EnsembleConfigInput = {
  members: [
    { name: "promptimizer", role: "rewriter", url: "http://p:1", model: "p" },
    { name: "llama", role: "candidate", url: "http://l:1", model: "l" },
    { name: "qwen", role: "candidate", url: "http://q:1", model: "q" },
    { name: "small", role: "candidate", url: "http://s:1", model: "s", prompt: "rewritten" },
    { name: "judge", role: "judge", url: "http://j:1", model: "j" },
  ],
  deadlines: { rewriteMs: 1_000, candidatesMs: 10_000, judgeMs: 5_000, totalMs: 20_000 },
  judging: { overlap: false },
  patience: { leastMs: 60_000 },
};
const plain = planOf(EnsembleConfigSchema.parse(config));

function stageNamed(id: string): PlanStage {
  const found = plain.stages.find((stage) => stage.id === id);
  if (found === undefined) throw new Error(`no stage ${id}`);
  return found;
}

const run = (plan: Plan, world: FakeWorld, watch?: Watch) =>
  runPipeline(plan, { text: "Why?", turns: [] }, world.ports, new AbortController().signal, watch);

const lastWords = (world: FakeWorld, at: number): string => world.calls[at]?.call.messages.at(-1)?.content ?? "";

describe("a plan made by a value", () => {
  test("takes a second rewriter, and each candidate gets the words of its own", async () => {
    const second = { ...stageNamed("promptimizer").member, name: "second" };
    const plan: Plan = {
      ...plain,
      stages: [
        ...plain.stages.map((stage) =>
          stage.id === "qwen" ? { ...stage, needs: ["second"], words: "rewritten" as const } : stage,
        ),
        { ...stageNamed("promptimizer"), id: "second", member: second },
      ],
    };
    assertPlan(plan);
    const says: Record<string, Act> = {
      promptimizer: { after: 100, say: "Tell why exactly." },
      second: { after: 10, say: "Tell why in a word." },
    };
    const world = fakeWorld((call) => says[call.member.name] ?? { after: 200, say: "The same answer." });
    const outcome = await run(plan, world);
    const asked = Object.fromEntries(
      world.calls.map(({ call }) => [call.member.name, call.messages.at(-1)?.content ?? ""]),
    );
    expect(asked).toMatchObject({ llama: "Why?", qwen: "Tell why in a word.", small: "Tell why exactly." });
    expect(outcome.stages.filter(({ stage }) => stage === "rewrite").map(({ member }) => member)).toEqual([
      "promptimizer",
      "second",
    ]);
  });

  test("takes a rewriter of a rewriter's words", async () => {
    const again: PlanStage = {
      ...stageNamed("promptimizer"),
      id: "again",
      needs: ["promptimizer"],
      words: "rewritten",
    };
    const plan: Plan = {
      ...plain,
      stages: [again, ...plain.stages.map((stage) => (stage.id === "small" ? { ...stage, needs: ["again"] } : stage))],
    };
    const world = fakeWorld((call, number) =>
      call.member.name === "promptimizer"
        ? { after: 10, say: number < 3 ? "Tell why exactly." : "Tell why exactly and briefly." }
        : { after: 200, say: "The same answer." },
    );
    await run(plan, world);
    expect(lastWords(world, 3)).toBe("Question to rewrite: Tell why exactly.");
    expect(lastWords(world, 4)).toBe("Tell why exactly and briefly.");
  });

  test("takes a critique of an answer and a revision by it, and the revision can win", async () => {
    const critic: PlanStage = {
      id: "critic",
      kind: "note",
      member: stageNamed("judge").member,
      needs: ["llama"],
      words: "raw",
      deadlineMs: 5_000,
      prompt: ({ question, said }) => ({
        messages: [{ role: "user", content: `Name faults. Q: ${question} A: ${said("llama") ?? "none"}` }],
        turnsShown: 0,
        shortened: false,
      }),
    };
    const revised: PlanStage = {
      ...stageNamed("llama"),
      id: "llama-revised",
      needs: ["llama", "critic"],
      prompt: ({ said }) => ({
        messages: [{ role: "user", content: `Mend "${said("llama") ?? ""}" by "${said("critic") ?? ""}"` }],
        turnsShown: 0,
        shortened: false,
      }),
    };
    const plan: Plan = {
      ...plain,
      stages: [stageNamed("llama"), critic, revised, { ...stageNamed("judge"), needs: ["llama", "llama-revised"] }],
    };
    assertPlan(plan);
    const world = fakeWorld((call) => {
      const words = call.messages.at(-1)?.content ?? "";
      if (words.startsWith("Name faults.")) return { after: 10, say: "It gives no reason." };
      if (words.startsWith("Mend")) return { after: 10, say: "Because of gravity, that is why." };
      if (call.format === undefined) return { after: 10, say: "It just is so." };
      const label = /<answer ([A-H]) [0-9a-f]{8}>\nBecause/.exec(words)?.[1] ?? "tie";
      return { after: 10, say: JSON.stringify({ winner: label }) };
    });
    const outcome = await run(plan, world);
    expect(lastWords(world, 1)).toBe("Name faults. Q: Why? A: It just is so.");
    expect(lastWords(world, 2)).toBe('Mend "It just is so." by "It gives no reason."');
    expect(outcome).toMatchObject({
      answer: "Because of gravity, that is why.",
      decision: { by: "judge", winner: "llama-revised", model: "l" },
    });
    expect(outcome.stages.map(({ stage, member }) => `${stage} ${member}`)).toEqual([
      "candidate llama",
      "note judge",
      "candidate llama",
      "judge judge",
    ]);
  });

  test.each([
    ["two stages have the id llama", { stages: [stageNamed("llama"), stageNamed("llama")] }],
    ["needs nobody, which is no stage", { stages: [{ ...stageNamed("llama"), needs: ["nobody"] }] }],
    [
      "in a ring: llama -> qwen -> llama",
      {
        stages: [
          { ...stageNamed("llama"), needs: ["qwen"] },
          { ...stageNamed("qwen"), needs: ["llama"] },
        ],
      },
    ],
    ["0 candidates, want at least the quorum of 1", { stages: [stageNamed("judge")] }],
    ["1 candidates, want at least the quorum of 2", { quorum: 2, stages: [stageNamed("llama")] }],
    [
      "2 judges, want at most one",
      { stages: [stageNamed("llama"), stageNamed("judge"), { ...stageNamed("judge"), id: "other" }] },
    ],
    [
      "stage critic is a note without a prompt",
      { stages: [stageNamed("llama"), { ...stageNamed("qwen"), id: "critic", kind: "note" as const }] },
    ],
  ])("is refused where %s", (message, changes: Partial<Plan>) => {
    expect(() => assertPlan({ ...plain, ...changes })).toThrow(message);
  });

  test("is taken as the configuration makes it", () => {
    expect(() => assertPlan(plain)).not.toThrow();
  });
});

describe("a stage held back", () => {
  const reserve = { afterMs: 4_000, why: "llama usually wins such questions" };
  const held = (quorum = 1): Plan => ({
    ...plain,
    quorum,
    stages: plain.stages
      .filter(({ kind }) => kind !== "rewrite")
      .map((stage) =>
        stage.id === "qwen" || stage.id === "small"
          ? { ...stage, needs: ["llama"], words: "raw" as const, reserve }
          : stage,
      ),
  });
  const called = (world: FakeWorld): string[] => world.calls.map(({ call, atMs }) => `${call.member.name} ${atMs}`);
  const others = (llama: Act): FakeWorld =>
    fakeWorld((call) => (call.member.name === "llama" ? llama : { after: 100, say: "The same answer." }));

  test("is skipped where the others answered, and nobody judges one answer", async () => {
    const world = others({ after: 50, say: "An answer by llama here." });
    const events: string[] = [];
    const outcome = await run(held(), world, (event) => {
      if (event.event === "stage-end") events.push(`${event.stage.member} ${event.stage.status}`);
    });
    expect(called(world)).toEqual(["llama 0"]);
    expect(outcome.ms).toBe(50);
    expect(outcome.decision).toMatchObject({ by: "only-candidate", winner: "llama" });
    expect(outcome.stages.map(({ member, status, reason }) => [member, status, reason])).toEqual([
      ["llama", "ok", undefined],
      ["qwen", "skipped", reserve.why],
      ["small", "skipped", reserve.why],
      ["judge", "skipped", "only one answer was left to choose"],
    ]);
    expect(events).toEqual(["llama ok", "qwen skipped", "small skipped"]);
  });

  test("is skipped where the only answer is one word, which may be right", async () => {
    const world = others({ after: 50, say: "Paris" });
    expect((await run(held(), world)).answer).toBe("Paris");
    expect(called(world)).toEqual(["llama 0"]);
  });

  test.each<[string, Act]>([
    ["failed", { after: 50, fail: new Fault("model_failed", "out of memory") }],
    ["refused", { after: 50, say: "I'm sorry, but I cannot help with that." }],
    ["said nothing", { after: 50, say: "" }],
  ])("starts at once where the others %s", async (_how, llama) => {
    const world = others(llama);
    const outcome = await run(held(), world);
    expect(called(world)).toEqual(["llama 0", "qwen 50", "small 50"]);
    expect(outcome).toMatchObject({ answer: "The same answer.", ms: 150 });
  });

  test("starts where the others are late, and a late answer is judged with the rest", async () => {
    const world = others({ after: 4_050, say: "The same answer." });
    const outcome = await run(held(), world);
    expect(called(world)).toEqual(["llama 0", "qwen 4000", "small 4000"]);
    expect(outcome.decision).toMatchObject({ by: "agreement", winner: "llama" });
  });

  test("starts where the others hang, and its own deadline still counts from the question's start", async () => {
    const world = fakeWorld((call) =>
      call.member.name === "qwen" ? { after: 100, say: "It is so." } : { hang: true },
    );
    const outcome = await run(held(), world);
    expect(outcome).toMatchObject({ answer: "It is so.", ms: 10_000 });
  });

  test("starts where fewer answered than the quorum", async () => {
    const world = others({ after: 50, say: "An answer by llama here." });
    expect((await run(held(2), world)).stages.filter(({ status }) => status === "ok")).toHaveLength(4);
  });

  test("is never called once the client went away", async () => {
    const world = others({ hang: true });
    const client = new AbortController();
    world.ports.timer(10, () => client.abort());
    const asked = runPipeline(held(), { text: "Why?", turns: [] }, world.ports, client.signal);
    await expect(asked).rejects.toMatchObject({ code: "cancelled" });
    expect(called(world)).toEqual(["llama 0"]);
  });
});
