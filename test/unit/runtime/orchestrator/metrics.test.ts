import { expect, test } from "vitest";
import type { Outcome } from "../../../../runtime/core/pipeline.ts";
import type { Stage } from "../../../../runtime/contracts/native.ts";
import { EnsembleMetrics } from "../../../../runtime/orchestrator/metrics.ts";

const stage = (more: Partial<Stage>): Stage => ({
  stage: "candidate",
  member: "llama",
  model: "llama3.2:1b",
  role: "candidate",
  status: "ok",
  text: "words",
  ms: 2_500,
  startedMs: 0,
  attempts: 1,
  ...more,
});

async function textAfter(...stages: Stage[]): Promise<string> {
  const metrics = new EnsembleMetrics(
    () =>
      ({
        inFlight: 0,
        memory: { recent: 0, kind: "process", state: "up", queued: 0 },
        breakers: [],
      }) as never,
  );
  metrics.answered({ ms: 2_500, decision: { by: "judge", winner: "llama" }, stages } as unknown as Outcome);
  return metrics.registry.metrics();
}

test("tells how fast a member writes, from its first token to its last", async () => {
  // 40 tokens after the first in two seconds.
  const text = await textAfter(stage({ firstTokenMs: 500, answerTokens: 41 }));
  expect(text).toContain('gorkheavy_stage_tokens_per_second_sum{stage="candidate",member="llama"} 20');
  expect(text).toContain('gorkheavy_stage_tokens_per_second_count{stage="candidate",member="llama"} 1');
});

test.each([
  ["one token", { firstTokenMs: 500, answerTokens: 1 }],
  ["no count", { firstTokenMs: 500 }],
  ["no first word", { answerTokens: 41 }],
  ["all at once", { firstTokenMs: 2_500, answerTokens: 41 }],
])("says nothing of a speed that cannot be told: %s", async (_, more) => {
  expect(await textAfter(stage(more))).not.toContain("gorkheavy_stage_tokens_per_second_count{");
});
