import type { Routing } from "../../contracts/routing.ts";
import type { VerdictRecord } from "../../contracts/verdict-record.ts";
import { type Lesson, lessonOf } from "./evidence.ts";
import { decideRoute } from "./route.ts";

/** A route that came out otherwise than it was recorded. */
export interface Difference {
  seq: number;
  recorded: Routing;
  again: Routing;
}

/** What came of deciding every recorded route again. */
export interface Recreated {
  /** Routes that came out the same to the last byte. */
  same: number;
  different: Difference[];
  /** Routes decided from verdicts that the records no longer have. */
  unchecked: number;
}

/** Decides every recorded route again from what it was decided from then. @param records in the order of their numbers */
export function recreate(records: readonly VerdictRecord[]): Recreated {
  const there = new Set(records.map(({ seq }) => seq));
  const lessons = records.flatMap((record) => lessonOf(record) ?? []);
  const result: Recreated = { same: 0, different: [], unchecked: 0 };
  for (const record of records) {
    const known = record.learned === undefined ? [] : within(lessons, record.learned, there);
    if (known === undefined) {
      result.unchecked++;
      continue;
    }
    const again = decideRoute(record, record.settings, known, () => record.draw ?? Number.NaN).routing;
    if (JSON.stringify(again) === JSON.stringify(record.routing)) result.same++;
    else result.different.push({ seq: record.seq, recorded: record.routing, again });
  }
  return result;
}

/** The lessons of a range of verdicts; undefined where one of them is missing. */
function within(
  lessons: readonly Lesson[],
  [first, last]: readonly [number, number],
  there: ReadonlySet<number>,
): Lesson[] | undefined {
  for (let seq = first; seq <= last; seq++) if (!there.has(seq)) return undefined;
  return lessons.filter(({ seq }) => seq >= first && seq <= last);
}

/** What another threshold would have done to the recorded questions, those alone whose whole panel had its chance. */
export interface Supposed {
  threshold: number;
  /** Questions whose panel's winner is known. */
  questions: number;
  /** Questions left out, since part of the panel was not asked or failed. */
  unknown: number;
  /** Questions that a part of the panel would have been asked. */
  routed: number;
  /** Those of them that the rest would have been asked too, since those asked had no usable answer. */
  escalated: number;
  /** Those of them whose winner was not among those asked. */
  lost: number;
  /** Calls that were made, and would not have been. */
  calls: number;
  callsSaved: number;
  /** Time of all calls together, ms, and what of it would not have been spent. */
  modelMs: number;
  modelMsSaved: number;
  /** Time that users waited, ms, and about how much less it would have been. */
  waitMs: number;
  waitMsSaved: number;
}

/**
 * Goes through the recorded questions as a router with this threshold would have: it learns only from those that it would have asked of the
 * whole panel. @param window newest verdicts that it learns from
 */
export function suppose(records: readonly VerdictRecord[], threshold: number, window: number): Supposed {
  const found: Supposed = {
    threshold,
    questions: 0,
    unknown: 0,
    routed: 0,
    escalated: 0,
    lost: 0,
    calls: 0,
    callsSaved: 0,
    modelMs: 0,
    modelMsSaved: 0,
    waitMs: 0,
    waitMsSaved: 0,
  };
  const lessons: Lesson[] = [];
  for (const record of records) {
    const lesson = lessonOf(record);
    if (lesson === undefined || lesson.chances.size < record.panel.length) {
      found.unknown++;
      continue;
    }
    found.questions++;
    found.calls += callsOf(record.stages);
    found.modelMs += msOf(record.stages);
    found.waitMs += record.ms;
    const settings = { ...record.settings, awarenessThreshold: threshold };
    const { routing } = decideRoute(record, settings, lessons, () => record.draw ?? chanceOf(record.seq));
    if (routing.heldBack.length === 0) {
      lessons.push(lesson);
      if (lessons.length > window) lessons.shift();
    } else {
      count(found, record, routing);
    }
  }
  return found;
}

/** Counts a question that a part of the panel would have been asked. */
function count(found: Supposed, record: VerdictRecord, { asked, heldBack }: Routing): void {
  found.routed++;
  const candidates = record.stages.filter(({ stage }) => stage === "candidate");
  const kept = candidates.filter(({ member }) => asked.includes(member));
  if (kept.filter(({ status }) => status === "ok").length < record.settings.quorum) {
    found.escalated++;
    return;
  }
  const { by, winner } = record.decision;
  if (by !== "agreement" && !asked.includes(winner)) found.lost++;
  const alone = asked.length === 1;
  const rewritten = !alone && record.panel.some(({ member, rewritten: waits }) => waits && asked.includes(member));
  const spared = record.stages.filter(({ stage, member }) => {
    if (stage === "candidate") return heldBack.includes(member);
    return stage === "rewrite" ? !rewritten : alone;
  });
  found.callsSaved += callsOf(spared);
  found.modelMsSaved += msOf(spared);
  const judgedMs = record.ms - Math.min(record.ms, endOf(candidates, false));
  found.waitMsSaved += Math.max(0, record.ms - endOf(kept, alone) - (alone ? 0 : judgedMs));
}

type RecordedStage = VerdictRecord["stages"][number];

function callsOf(stages: readonly RecordedStage[]): number {
  return stages.reduce((sum, { attempts }) => sum + attempts, 0);
}

function msOf(stages: readonly RecordedStage[]): number {
  return stages.reduce((sum, { ms }) => sum + ms, 0);
}

/** When the last of them ended, ms after the question. @param atOnce as if none had waited for a rewrite */
function endOf(stages: readonly RecordedStage[], atOnce: boolean): number {
  return Math.max(0, ...stages.map(({ startedMs, ms }) => (atOnce ? 0 : startedMs) + ms));
}

/** A chance for a question that none was drawn for then: the same for the same question, as evenly spread as any. */
function chanceOf(seq: number): number {
  let mixed = Math.imul(seq ^ 0x9e3779b9, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return ((mixed ^ (mixed >>> 16)) >>> 0) / 4294967296;
}
