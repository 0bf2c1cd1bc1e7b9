import type { Profile } from "../../../../../runtime/contracts/routing.ts";
import type { StageStatus } from "../../../../../runtime/contracts/native.ts";
import type { PanelMember, RouteSettings, VerdictRecord } from "../../../../../runtime/contracts/verdict-record.ts";

/** Three candidates, the last one on rewritten words. */
export const PANEL: PanelMember[] = [
  { member: "llama", model: "l", rewritten: false },
  { member: "qwen", model: "q", rewritten: false },
  { member: "small", model: "s", rewritten: true },
];

/** Settings of a router that never explores. */
export const SETTINGS: RouteSettings = {
  awarenessThreshold: 0.7,
  most: 2,
  explorationRatio: 0,
  riskLimit: 0.5,
  likeVerdicts: 5,
  quorum: 1,
};

/** A profile that is 0 but for what is named. */
export function profile(degrees: Partial<Profile> = {}): Profile {
  return { code: 0, reasoning: 0, recall: 0, creativity: 0, brevity: 0, contextDependence: 0, risk: 0, ...degrees };
}

/** A verdict of the whole panel. */
export function verdict(
  seq: number,
  winner: string,
  degrees: Partial<Profile> = {},
  changes: Partial<VerdictRecord> & { statuses?: Record<string, StageStatus> } = {},
): VerdictRecord {
  const { statuses = {}, ...rest } = changes;
  return {
    v: 1,
    seq,
    profile: profile(degrees),
    panel: PANEL,
    down: [],
    wholeAskedFor: false,
    settings: SETTINGS,
    routing: {
      profile: profile(degrees),
      threshold: 0.7,
      asked: ["llama", "qwen", "small"],
      heldBack: [],
      reason: "unlearned",
      why: "",
    },
    decision: { by: "judge", winner },
    ms: 1_000,
    stages: [
      { stage: "rewrite", member: "promptimizer", status: "ok", startedMs: 0, ms: 100, attempts: 1 },
      ...PANEL.map(({ member }) => ({
        stage: "candidate" as const,
        member,
        status: statuses[member] ?? ("ok" as const),
        startedMs: member === "small" ? 100 : 0,
        ms: member === "qwen" ? 700 : 400,
        attempts: 1,
      })),
      { stage: "judge", member: "judge", status: "ok", startedMs: 700, ms: 300, attempts: 1 },
    ],
    ...rest,
  };
}
