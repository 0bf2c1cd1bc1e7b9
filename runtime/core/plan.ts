import type { EnsembleConfig, Member } from "../contracts/ensemble-config.ts";
import type { Turn } from "./conversations.ts";
import type { Prompt } from "./prompts.ts";

/** What a stage with a prompt of its own makes it from. */
export interface Seen {
  /** The user's own words. */
  readonly question: string;
  /** The conversation so far, oldest turn first. */
  readonly turns: readonly Turn[];
  /** What a stage that ended well said, by its id; undefined for all others. */
  readonly said: (id: string) => string | undefined;
}

/** One stage of a plan. */
export interface PlanStage {
  /** Unique in the plan; the member's name, where a member has one stage. */
  readonly id: string;
  /** What becomes of its words: a `rewrite` is asked of who needs it, a `candidate` is judged, a `note` is for the prompts of others alone. */
  readonly kind: "rewrite" | "candidate" | "note" | "judge";
  readonly member: Member;
  /** Stages that must have ended, well or not, before this one starts. Only `reserve` holds it back beside. */
  readonly needs: readonly string[];
  /** Which words it is asked: the user's own, those of the last rewrite among its needs, or the ballot (judge alone). */
  readonly words: "raw" | "rewritten" | "ballot";
  /** Longest time it may take, ms; for candidates from the question's start, else from its own. */
  readonly deadlineMs: number;
  /**
   * Held back: it starts only where what it needs has ended with fewer usable answers than the quorum, or is not done so many ms after the
   * question's start; else it is skipped. Absent: it always starts.
   */
  readonly reserve?: { readonly afterMs: number; readonly why: string };
  /** Makes its prompt. Absent: the usual one of its kind; a `note` must have it. */
  readonly prompt?: (seen: Seen) => Prompt;
}

/** Who does what, and what waits for what: `rewrite -> candidates -> verdict` unless somebody makes another. Stages stand in the order in which they are reported. */
export interface Plan {
  readonly stages: readonly PlanStage[];
  readonly totalMs: number;
  /** Candidates that must have answered. */
  readonly quorum: number;
  /** Longest answer kept from one member, bytes of UTF-8. */
  readonly answerBytes: number;
  /** How long the last candidates are waited for. */
  readonly patience: EnsembleConfig["patience"];
  /** How the judge works. */
  readonly judging: EnsembleConfig["judging"];
}

/** The plan of a configuration: everyone starts at once but those who are given the rewritten words, and the judge. */
export function planOf(config: EnsembleConfig): Plan {
  const { deadlines } = config;
  const rewriters = config.members.filter((member) => member.role === "rewriter");
  const candidates = config.members.filter((member) => member.role === "candidate");
  const wantRewrite = candidates.some((member) => member.prompt === "rewritten");
  const rewrite = wantRewrite ? rewriters : [];
  return {
    totalMs: deadlines.totalMs,
    quorum: config.quorum,
    answerBytes: config.limits.answerBytes,
    patience: config.patience,
    judging: config.judging,
    stages: [
      ...rewrite.map(
        (member): PlanStage => ({
          id: member.name,
          kind: "rewrite",
          member,
          needs: [],
          words: "raw",
          deadlineMs: deadlines.rewriteMs,
        }),
      ),
      ...candidates.map((member): PlanStage => {
        const waits = member.prompt === "rewritten" && rewrite.length > 0;
        return {
          id: member.name,
          kind: "candidate",
          member,
          needs: waits ? rewrite.map(({ name }) => name) : [],
          words: waits ? "rewritten" : "raw",
          deadlineMs: deadlines.candidatesMs,
        };
      }),
      ...config.members
        .filter((member) => member.role === "judge")
        .map(
          (member): PlanStage => ({
            id: member.name,
            kind: "judge",
            member,
            needs: candidates.map(({ name }) => name),
            words: "ballot",
            deadlineMs: deadlines.judgeMs,
          }),
        ),
    ],
  };
}

/**
 * Checks a plan that somebody made by hand.
 * @throws RangeError naming the stage: an id that is there twice, a need that is not there, stages that need each other in a ring, no
 * candidate, more than one judge, a note without a prompt
 */
export function assertPlan(plan: Plan): void {
  const byId = new Map<string, PlanStage>();
  for (const stage of plan.stages) {
    if (byId.has(stage.id)) throw new RangeError(`plan: two stages have the id ${stage.id}; give each its own`);
    byId.set(stage.id, stage);
    if (stage.kind === "note" && stage.prompt === undefined)
      throw new RangeError(`plan: stage ${stage.id} is a note without a prompt; give it one`);
  }
  const count = (kind: PlanStage["kind"]): number => plan.stages.filter((stage) => stage.kind === kind).length;
  if (count("candidate") < Math.max(1, plan.quorum))
    throw new RangeError(`plan: ${count("candidate")} candidates, want at least the quorum of ${plan.quorum} and one`);
  if (count("judge") > 1) throw new RangeError(`plan: ${count("judge")} judges, want at most one`);
  const done = new Set<string>();
  const walk = (stage: PlanStage, way: readonly string[]): void => {
    if (way.includes(stage.id))
      throw new RangeError(`plan: stages wait for each other in a ring: ${[...way, stage.id].join(" -> ")}`);
    if (done.has(stage.id)) return;
    for (const need of stage.needs) {
      const needed = byId.get(need);
      if (needed === undefined) throw new RangeError(`plan: stage ${stage.id} needs ${need}, which is no stage of it`);
      walk(needed, [...way, stage.id]);
    }
    done.add(stage.id);
  };
  for (const stage of plan.stages) walk(stage, []);
}
