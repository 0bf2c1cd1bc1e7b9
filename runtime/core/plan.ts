import type { EnsembleConfig, Member } from "../contracts/ensemble-config.ts";

/** One stage of a plan. */
export interface PlanStage {
  /** Unique in the plan; the member's name. */
  readonly id: string;
  readonly kind: "rewrite" | "candidate" | "judge";
  readonly member: Member;
  /** Stages that must have ended, well or not, before this one starts. Nothing else holds it back. */
  readonly needs: readonly string[];
  /** Which words it is asked. */
  readonly words: "raw" | "rewritten" | "ballot";
  /** Longest time it may take, ms; for candidates from the question's start, else from its own. */
  readonly deadlineMs: number;
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
