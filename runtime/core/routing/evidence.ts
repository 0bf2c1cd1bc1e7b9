import type { Profile } from "../../contracts/routing.ts";
import type { PanelMember, VerdictRecord } from "../../contracts/verdict-record.ts";
import type { StageStatus } from "../../contracts/native.ts";
import { vectorOf } from "./profile.ts";

/** Distance of two profiles from which a verdict on one says nothing of the other; the seven degrees span 2.65. */
const RADIUS = 0.6;

/** Ways in which a candidate's stage ends that say something of its answer. One that failed or was not asked had no chance to win. */
const HAD_A_CHANCE: ReadonlySet<StageStatus> = new Set(["ok", "cut", "dropped", "timeout"]);

/** What one verdict teaches. */
export interface Lesson {
  seq: number;
  /** The profile's degrees, in the order of `DIMENSIONS`. */
  at: readonly number[];
  /** Candidates that had a chance to win, as `keyOf`. */
  chances: ReadonlySet<string>;
  /** Who won, as `keyOf`. Undefined where all said the same, so that each of them won. */
  winner: string | undefined;
}

/** A candidate with its model: another model under the same name is another candidate. */
export function keyOf({ member, model }: Pick<PanelMember, "member" | "model">): string {
  return `${member}=${model}`;
}

/** What a verdict teaches; undefined when nothing: a synthesis has no winner among the candidates. */
export function lessonOf(record: VerdictRecord): Lesson | undefined {
  const { by, winner } = record.decision;
  if (by === "synthesis") return undefined;
  const statuses = new Map(
    record.stages.filter(({ stage }) => stage === "candidate").map(({ member, status }) => [member, status]),
  );
  const chances = new Set<string>();
  for (const one of record.panel) {
    const status = statuses.get(one.member);
    if (status !== undefined && HAD_A_CHANCE.has(status)) chances.add(keyOf(one));
  }
  if (chances.size < 2) return undefined;
  const won = record.panel.find(({ member }) => member === winner);
  if (won === undefined) return undefined;
  return {
    seq: record.seq,
    at: vectorOf(record.profile),
    chances,
    winner: by === "agreement" ? undefined : keyOf(won),
  };
}

/** What is known of questions like one. */
export interface Weighed {
  /** Like verdicts, each counted by how like it is. */
  like: number;
  /** Those of them that each candidate won alone, in the order of the panel. */
  wins: number[];
  /** Those of them where all said the same. */
  agreed: number;
}

/**
 * Weighs the verdicts on like questions in which all of a panel had their chance. A verdict counts (1 - (d/0.6)²)² at the distance d of the
 * profiles, nothing beyond 0.6: only sums, products and quotients, so that every machine finds the same to the last bit.
 */
export function weigh(lessons: readonly Lesson[], profile: Profile, panel: readonly PanelMember[]): Weighed {
  const at = vectorOf(profile);
  const keys = panel.map(keyOf);
  const wins = keys.map(() => 0);
  let like = 0;
  let agreed = 0;
  for (const lesson of lessons) {
    let square = 0;
    for (let i = 0; i < at.length; i++) {
      const apart = (at[i] ?? 0) - (lesson.at[i] ?? 0);
      square += apart * apart;
    }
    if (square >= RADIUS * RADIUS || !keys.every((key) => lesson.chances.has(key))) continue;
    const near = 1 - square / (RADIUS * RADIUS);
    const weight = near * near;
    like += weight;
    if (lesson.winner === undefined) agreed += weight;
    const won = lesson.winner === undefined ? -1 : keys.indexOf(lesson.winner);
    if (won >= 0) wins[won] = (wins[won] ?? 0) + weight;
  }
  return { like, wins, agreed };
}
