import type { EnsembleConfig } from "../../contracts/ensemble-config.ts";
import type { EvalQuestion, EvalResult } from "../../contracts/eval.ts";
import type { VerdictRecord } from "../../contracts/verdict-record.ts";
import { isRight } from "../../core/eval/check.ts";
import { ObservedPorts } from "../../core/eval/observed.ts";
import { type Variant, WHOLE } from "../../core/eval/variants.ts";
import { type Fault, toFault } from "../../core/fault.ts";
import { type Outcome, runPipeline } from "../../core/pipeline.ts";
import type { Ports } from "../../core/ports.ts";
import { Router } from "../../core/routing/router.ts";
import { digestOf } from "./results.ts";

/** What an evaluation is made from. */
export interface EvalParts {
  config: EnsembleConfig;
  variants: readonly Variant[];
  questions: readonly EvalQuestion[];
  /** Without traffic: each question is asked as if it were the first. */
  ports: Ports;
  /** Results of an earlier run of the same; their questions are not asked again. */
  before: readonly EvalResult[];
  /** Told of each result as soon as it is there. */
  told: (result: EvalResult, done: number, of: number) => Promise<void> | void;
  signal: AbortSignal;
}

/**
 * Asks every question in every way, one after the other, way by way, and checks the answers. A routed way learns from the whole ensemble's
 * verdicts on all questions but the one that is asked. Ends early when the signal aborts; what is done by then is told and given.
 */
export async function runEval(parts: EvalParts): Promise<EvalResult[]> {
  const { variants, questions, before, told, signal } = parts;
  const known = new Map(before.map((result) => [keyOf(result.variant, result.digest), result]));
  const results: EvalResult[] = [];
  for (const variant of variants) {
    for (const [index, question] of questions.entries()) {
      const digest = digestOf(question);
      let result = known.get(keyOf(variant.name, digest));
      if (result === undefined) {
        if (signal.aborted) return results;
        result = await askOne(parts, variant, question, { digest, seq: index + 1, results });
        if (result === undefined) return results;
        await told(result, results.length + 1, variants.length * questions.length);
      }
      results.push(result);
    }
  }
  return results;
}

function keyOf(variant: string, digest: string): string {
  return `${variant} ${digest}`;
}

/** Asks one question; undefined when it was stopped. */
async function askOne(
  { config, ports, signal }: EvalParts,
  { name, plan, asks, threshold }: Variant,
  question: EvalQuestion,
  { digest, seq, results }: { digest: string; seq: number; results: readonly EvalResult[] },
): Promise<EvalResult | undefined> {
  const { id, check, turns } = question;
  const seen = new ObservedPorts(ports);
  const others = results.filter((one) => one.variant === WHOLE && one.digest !== digest);
  const router = new Router({
    plan,
    config: { ...config, routing: { ...config.routing, awarenessThreshold: threshold ?? 1, explorationRatio: 0 } },
    random: () => ports.random(),
    remembered: threshold === undefined ? [] : others.flatMap(({ verdict }) => verdict ?? []),
  });
  const routed = router.route({ text: question.question, turns: turns.length, whole: false }, []);
  const beganMs = ports.now();
  let ended: Outcome | Fault;
  try {
    ended = await runPipeline(routed.plan, { text: question.question, turns, ...asks }, seen.ports, signal);
  } catch (error) {
    if (signal.aborted) return undefined;
    ended = toFault(error);
  }
  const common = { v: 1 as const, variant: name, id, class: question.class, digest };
  const cost = { calls: seen.calls, modelMs: round(seen.modelMs), ms: round(ports.now() - beganMs) };
  const stages = (ended.stages ?? []).filter(({ stage }) => stage === "candidate");
  const candidates = stages.map(({ member, status, text }) => ({ member, status, right: isRight(text, check) }));
  const verdicts = seen.verdicts.flatMap(({ place, of, text }) => {
    const member = stages.find((stage) => stage.text === text)?.member;
    return member === undefined ? [] : [{ place, of, member }];
  });
  if (!("answer" in ended))
    return { ...common, ...cost, right: false, fault: `${ended.code}: ${ended.message}`, candidates, verdicts };
  return {
    ...common,
    ...cost,
    right: isRight(ended.answer, check),
    answer: ended.answer,
    by: ended.decision.by,
    winner: ended.decision.winner,
    candidates,
    verdicts,
    ...(name === WHOLE ? { verdict: numbered(router.learn(routed, ended), seq) } : {}),
  };
}

function numbered(record: VerdictRecord, seq: number): VerdictRecord {
  return { ...record, seq };
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
