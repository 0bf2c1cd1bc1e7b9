import type { EnsembleConfig } from "../../contracts/ensemble-config.ts";
import type { Question } from "../pipeline.ts";
import { type Plan, planOf } from "../plan.ts";

/** One way of asking. */
export interface Variant {
  name: string;
  plan: Plan;
  /** How each question is asked. */
  asks: Pick<Question, "mode" | "bothOrders">;
  /** Threshold of its router. Absent: the plan is run as it is. */
  threshold?: number;
}

/** Name of the way that all others are compared with. */
export const WHOLE = "ensemble";

/** Every way of asking an ensemble that its members allow: whole, without a part, each model alone, merged, and routed. */
export function variantsOf(
  config: EnsembleConfig,
  { thresholds, bothOrders }: { thresholds: readonly number[]; bothOrders: boolean },
): Variant[] {
  const plan = planOf(config);
  const has = (kind: Plan["stages"][number]["kind"]): boolean => plan.stages.some((stage) => stage.kind === kind);
  const candidates = plan.stages.filter(({ kind }) => kind === "candidate").length;
  const judged = has("judge") && candidates > 1;
  const variants: Variant[] = [{ name: WHOLE, plan, asks: {} }];
  if (has("rewrite")) variants.push({ name: "no-rewrite", plan: withoutRewrite(plan), asks: {} });
  if (judged) {
    variants.push({ name: "no-judge", plan: without(plan, "judge"), asks: {} });
    variants.push({ name: "synthesis", plan, asks: { mode: "synthesize" } });
    if (bothOrders) variants.push({ name: "both-orders", plan, asks: { bothOrders: true } });
  }
  if (candidates > 1)
    for (const threshold of thresholds) variants.push({ name: `routed@${threshold}`, plan, asks: {}, threshold });
  return [...variants, ...aloneOf(config, plan)];
}

/** The plan without its rewriters; whoever waited for them is asked the user's own words. */
function withoutRewrite(plan: Plan): Plan {
  const rest = without(plan, "rewrite");
  const ids = new Set(rest.stages.map(({ id }) => id));
  return {
    ...rest,
    stages: rest.stages.map((stage) => ({
      ...stage,
      needs: stage.needs.filter((id) => ids.has(id)),
      words: stage.words === "rewritten" ? "raw" : stage.words,
    })),
  };
}

function without(plan: Plan, kind: Plan["stages"][number]["kind"]): Plan {
  return { ...plan, stages: plan.stages.filter((stage) => stage.kind !== kind) };
}

/** Each model by itself, those that answer in the ensemble first; a model that has two parts is asked once. */
function aloneOf({ members, deadlines }: EnsembleConfig, plan: Plan): Variant[] {
  const order = ["candidate", "judge", "rewriter"] as const;
  const ranked = members.toSorted((a, b) => order.indexOf(a.role) - order.indexOf(b.role));
  const distinct = ranked.filter(
    (member, at) => ranked.findIndex(({ url, model }) => url === member.url && model === member.model) === at,
  );
  return distinct.map((member) => ({
    name: `alone:${member.name}`,
    plan: {
      ...plan,
      quorum: 1,
      stages: [
        { id: member.name, kind: "candidate", member, needs: [], words: "raw", deadlineMs: deadlines.candidatesMs },
      ],
    },
    asks: {},
  }));
}
