import type { EnsembleConfigInput, MemberApi } from "../../../runtime/contracts/ensemble-config.ts";
import { MEMBERS, type MemberName, type MockEnsemble, startMockEnsemble } from "../ensemble.ts";
import type { MockModel } from "../mock-model.ts";
import { type FaultyModel, startFaultyModel } from "./faulty-model.ts";
import { isUnreachable, type Strike, UNREACHABLE_URL, type Unreachable } from "./matrix.ts";

/** Short, so that the whole matrix takes a minute; long enough for two slow cores that do other things as well. */
export const DEADLINES = {
  rewriteMs: 1_000,
  candidatesMs: 1_500,
  judgeMs: 1_000,
  totalMs: 3_000,
  connectMs: 400,
  healthMs: 400,
} as const;

/** Longest answer kept, bytes: an endless one reaches it within any deadline. */
export const ANSWER_BYTES = 32_768;

/** Whole answers of the members; characters of several bytes show whether any was cut within. */
export const ANSWERS: Readonly<Record<Exclude<MemberName, "judge">, string>> = {
  promptimizer: "Why is it — in full — so?",
  llama: "Größe by llama — 12 € and 日本 are whole.",
  qwen: "Antwort von qwen: naïve façade, ½ ≠ 0.5 🦙 is whole.",
  "qwen-small": "Små ord af qwen-small, Ωmega and all whole.",
};

/** An ensemble whose members fail on the wire as told. */
export interface FaultyEnsemble extends MockEnsemble {
  /** The server before each member. */
  faulty: Record<MemberName, FaultyModel>;
}

/**
 * Starts five mock models, a faulty server before each and an orchestrator over these, with the short deadlines. A breaker opens at once and
 * lets a probe through at once, so that one cell of the matrix shows both.
 * @param unreachable a member whose address is nobody's @param config what else is set
 */
export async function startFaultyEnsemble(
  api: MemberApi,
  unreachable?: { name: MemberName; fault: Unreachable },
  config: Omit<EnsembleConfigInput, "members"> = {},
): Promise<FaultyEnsemble> {
  const fronts: Partial<Record<MemberName, FaultyModel>> = {};
  const behaviours = Object.fromEntries(
    MEMBERS.map((name) => [
      name,
      { prefillMs: 50, tokenMs: 2, ...(name === "judge" ? {} : { answer: () => ANSWERS[name] }) },
    ]),
  );
  const ensemble = await startMockEnsemble(
    behaviours,
    {
      deadlines: DEADLINES,
      limits: { answerBytes: ANSWER_BYTES },
      patience: { leastMs: 400 },
      breaker: { failures: 1, openMs: 1, longestMs: 1 },
      ...config,
    },
    {},
    async (name: MemberName, mock: MockModel) => {
      const front = await startFaultyModel(mock.url, `${name}:1b`);
      fronts[name] = front;
      return { api, url: unreachable?.name === name ? UNREACHABLE_URL[unreachable.fault] : front.url };
    },
  );
  const faulty = fronts as Record<MemberName, FaultyModel>;
  return {
    ...ensemble,
    faulty,
    close: async () => {
      await ensemble.close();
      await Promise.all(MEMBERS.map((name) => faulty[name].close()));
    },
  };
}

/** Has a member fail from now on; undefined makes it well. Strikes of no connection at all are made at the start. */
export function strike(ensemble: FaultyEnsemble, name: MemberName, how: Strike | undefined): void {
  ensemble.faulty[name].strike = how === undefined || isUnreachable(how) ? undefined : how;
}

/** Members whose breaker is not closed, by the service's own metrics. */
export async function openBreakers(ensemble: MockEnsemble): Promise<string[]> {
  const text = await (await fetch(`${ensemble.url}/metrics`)).text();
  return [...text.matchAll(/^gorkheavy_breaker_open\{member="([^"]+)"[^}]*\} 1$/gm)].map(([, name = ""]) => name);
}

/** Gauges of work in flight that are not 0, by the service's own metrics: questions to the ensemble, and calls passed to one model. */
export async function inFlight(ensemble: MockEnsemble): Promise<string[]> {
  const text = await (await fetch(`${ensemble.url}/metrics`)).text();
  const gauges = text.match(/^gorkheavy_\w*in_flight [\d.]+$/gm) ?? [];
  if (gauges.length === 0) throw new Error("the metrics have no gauge of work in flight");
  return gauges.filter((gauge) => !gauge.endsWith(" 0"));
}
