import type { Routing } from "../../contracts/routing.ts";
import type { Plan, PlanStage } from "../plan.ts";

/**
 * The plan for a route: whoever is not asked is held back, with all that only they need, until those asked have failed or so many ms have
 * gone by. One model that is asked alone gets the user's own words: nobody else would see that a rewrite has changed the question.
 */
export function routedPlan(plan: Plan, routing: Routing, escalateAfterMs: number): Plan {
  if (routing.heldBack.length === 0) return plan;
  const asked = plan.stages
    .filter(({ kind, id }) => kind === "candidate" && routing.asked.includes(id))
    .map((stage) => (routing.asked.length === 1 ? withOwnWords(stage, plan) : stage));
  const kept = neededBy(asked, plan);
  const reserve = { afterMs: escalateAfterMs, why: `held back: ${routing.why}` };
  return {
    ...plan,
    stages: plan.stages.map((stage) => {
      const first = asked.find(({ id }) => id === stage.id);
      if (first !== undefined) return first;
      if (stage.kind === "judge" || kept.has(stage.id)) return stage;
      return { ...stage, needs: [...new Set([...asked.map(({ id }) => id), ...stage.needs])], reserve };
    }),
  };
}

function withOwnWords(stage: PlanStage, plan: Plan): PlanStage {
  if (stage.words !== "rewritten") return stage;
  const rewrites = new Set(plan.stages.filter(({ kind }) => kind === "rewrite").map(({ id }) => id));
  return { ...stage, words: "raw", needs: stage.needs.filter((id) => !rewrites.has(id)) };
}

/** Ids of the stages that these need, and that those need in turn. */
function neededBy(stages: readonly PlanStage[], plan: Plan): Set<string> {
  const found = new Set<string>();
  const walk = (stage: PlanStage): void => {
    for (const id of stage.needs) {
      const needed = plan.stages.find((one) => one.id === id);
      if (needed === undefined || found.has(id)) continue;
      found.add(id);
      walk(needed);
    }
  };
  stages.forEach(walk);
  return found;
}
