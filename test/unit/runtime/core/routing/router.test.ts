import { describe, expect, test } from "vitest";
import { EnsembleConfigSchema, type EnsembleConfigInput } from "../../../../../runtime/contracts/ensemble-config.ts";
import { VerdictRecord } from "../../../../../runtime/contracts/verdict-record.ts";
import { Fault } from "../../../../../runtime/core/fault.ts";
import { type Outcome, runPipeline } from "../../../../../runtime/core/pipeline.ts";
import { assertPlan, planOf } from "../../../../../runtime/core/plan.ts";
import { Router } from "../../../../../runtime/core/routing/router.ts";
import { type Act, fakeWorld, type FakeWorld, seeded } from "../fake-ports.ts";
import { verdict } from "./records.ts";

const members: EnsembleConfigInput["members"] = [
  { name: "promptimizer", role: "rewriter", url: "http://p:1", model: "p" },
  { name: "llama", role: "candidate", url: "http://l:1", model: "l" },
  { name: "qwen", role: "candidate", url: "http://q:1", model: "q" },
  { name: "small", role: "candidate", url: "http://s:1", model: "s", prompt: "rewritten" },
  { name: "judge", role: "judge", url: "http://j:1", model: "j" },
];
const QUESTION = "What is the capital of France?";

function routerOf(
  winners: readonly string[],
  routing: EnsembleConfigInput["routing"] = {},
  more: Partial<EnsembleConfigInput> = {},
) {
  const config = EnsembleConfigSchema.parse({
    members,
    deadlines: { candidatesMs: 10_000, totalMs: 60_000, judgeMs: 5_000, rewriteMs: 1_000 },
    patience: { leastMs: 60_000 },
    routing: { awarenessThreshold: 0.7, explorationRatio: 0, ...routing },
    ...more,
  });
  const remembered = winners.map((winner, at) => verdict(at + 1, winner, { recall: 0.884, brevity: 0.2 }));
  return new Router({ plan: planOf(config), config, random: seeded(7), remembered });
}

async function ask(router: Router, acts: Record<string, Act> = {}, text = QUESTION, down: readonly string[] = []) {
  const world = fakeWorld((call) => acts[call.member.name] ?? { after: 100, say: `Paris, says ${call.member.name}.` });
  const routed = router.route({ text, turns: 0, whole: false }, down);
  assertPlan(routed.plan);
  const outcome = await runPipeline(routed.plan, { text, turns: [] }, world.ports, new AbortController().signal);
  return { routed, outcome, world, record: router.learn(routed, outcome) };
}

const called = (world: FakeWorld): string[] => world.calls.map(({ call }) => call.member.name);
const fifteen = (name: string): string[] => Array.from({ length: 15 }, () => name);
const statuses = ({ stages }: Outcome): string[] => stages.map(({ member, status }) => `${member} ${status}`);

describe("a routed question", () => {
  test("of one candidate makes one call: no rewrite, no judge, and the others are skipped with the reason", async () => {
    const { outcome, world, routed } = await ask(routerOf(fifteen("llama")));
    expect(called(world)).toEqual(["llama"]);
    expect(outcome).toMatchObject({
      answer: "Paris, says llama.",
      decision: { by: "only-candidate", winner: "llama" },
    });
    expect(statuses(outcome)).toEqual([
      "promptimizer skipped",
      "llama ok",
      "qwen skipped",
      "small skipped",
      "judge skipped",
    ]);
    expect(outcome.stages[2]?.reason).toBe(`held back: ${routed.routing.why}`);
  });

  test("of the one that gets rewritten words gives it the user's own", async () => {
    const { world } = await ask(routerOf(fifteen("small")));
    expect(called(world)).toEqual(["small"]);
    expect(world.calls[0]?.call.messages.at(-1)?.content).toBe(QUESTION);
  });

  test("of two candidates is judged, and rewritten where one of them needs it", async () => {
    const { world, outcome } = await ask(routerOf([...fifteen("llama"), ...fifteen("small")]));
    expect(
      called(world)
        .filter((name) => name !== "judge")
        .toSorted(),
    ).toEqual(["llama", "promptimizer", "small"]);
    expect(called(world)).toContain("judge");
    expect(statuses(outcome)).toContain("qwen skipped");
  });

  test.each<[string, Act, number]>([
    ["fails", { after: 50, fail: new Fault("model_failed", "out of memory") }, 50],
    ["refuses", { after: 50, say: "I'm sorry, but I cannot help with that." }, 50],
    ["hangs", { hang: true }, 5_000],
  ])("goes to the rest of the panel when the one asked %s, within the deadline", async (_how, act, atMs) => {
    const { outcome, world, record } = await ask(routerOf(fifteen("llama")), { llama: act });
    const starts = world.calls.filter(({ call }) => call.maxTokens > 1);
    expect(starts.find(({ call }) => call.member.name === "qwen")?.atMs).toBe(atMs);
    expect(outcome.answer).toMatch(/^Paris, says (qwen|small)\.$/);
    expect(outcome.ms).toBeLessThanOrEqual(15_000);
    expect(record.stages.find(({ member }) => member === "qwen")?.status).toBe("ok");
  });

  test("is never routed to one that is left alone after failures", async () => {
    const { world, routed } = await ask(routerOf(fifteen("llama")), {}, QUESTION, ["llama"]);
    expect(routed.routing.reason).toBe("breaker");
    expect(new Set(called(world))).toEqual(new Set(["promptimizer", "llama", "qwen", "small", "judge"]));
  });

  test("goes to all when its risk is high", async () => {
    const { routed } = await ask(routerOf(fifteen("llama")), {}, "What is the capital dose of insulin?");
    expect(routed.routing).toMatchObject({ reason: "risk", heldBack: [] });
  });

  test("goes to all, with the very plan of the configuration, unless a threshold below 1 is set", async () => {
    const { routed } = await ask(routerOf(fifteen("llama"), { awarenessThreshold: 1 }));
    expect(routed.routing).toMatchObject({ reason: "off", heldBack: [] });
    const config = EnsembleConfigSchema.parse({ members });
    expect(config.routing.awarenessThreshold).toBe(1);
    const plan = planOf(config);
    const router = new Router({ plan, config, random: () => Number.NaN });
    expect(router.route({ text: QUESTION, turns: 0, whole: false }, []).plan).toBe(plan);
  });
});

describe("a router", () => {
  test("learns to route from the verdicts it sees, and goes on exploring", async () => {
    const router = routerOf([], { explorationRatio: 0.2 });
    const acts: Record<string, Act> = {
      judge: { after: 1, say: "no verdict" },
      qwen: { after: 100, say: "Paris, says everybody here." },
      llama: { after: 100, say: "Paris, says everybody there." },
      small: { after: 100, say: "Lyon is it." },
    };
    const reasons: string[] = [];
    for (let at = 0; at < 60; at++) reasons.push((await ask(router, acts)).routed.routing.reason);
    expect(reasons.slice(0, 5)).toEqual(["unlearned", "unlearned", "unlearned", "unlearned", "unlearned"]);
    const later = reasons.slice(10);
    expect(new Set(later)).toEqual(new Set(["sure", "explore"]));
    expect(later.filter((reason) => reason === "explore").length).toBeGreaterThan(3);
    expect(router.seq).toBe(60);
    expect(router.lessons).toBe(60 - reasons.filter((reason) => reason === "sure").length);
  });

  test("keeps only the newest verdicts of its window", () => {
    const router = routerOf([...fifteen("llama"), ...fifteen("qwen")], { window: 15 });
    expect(router.lessons).toBe(15);
    expect(router.route({ text: QUESTION, turns: 0, whole: false }, []).routing.asked).toEqual(["qwen"]);
  });

  test("writes a record that its contract takes, without any word of the question", async () => {
    const { record } = await ask(routerOf(fifteen("llama")));
    expect(VerdictRecord.parse(record)).toEqual(record);
    expect(record).toMatchObject({ seq: 16, learned: [1, 15], decision: { by: "only-candidate", winner: "llama" } });
    expect(JSON.stringify(record)).not.toMatch(/capital|france|paris/i);
  });

  test("asks everybody where two stages of the plan share a member, since their verdicts could not be told apart", () => {
    const config = EnsembleConfigSchema.parse({ members, routing: { awarenessThreshold: 0 } });
    const plan = planOf(config);
    const again = plan.stages.find(({ id }) => id === "llama");
    if (again === undefined) throw new Error("no llama");
    const router = new Router({
      plan: { ...plan, stages: [...plan.stages, { ...again, id: "llama-again" }] },
      config,
      random: seeded(1),
    });
    expect(router.route({ text: QUESTION, turns: 0, whole: false }, []).routing.reason).toBe("asked-for");
  });
});
