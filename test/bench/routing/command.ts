import { Command } from "commander";
import type { VerdictRecord } from "../../../runtime/contracts/verdict-record.ts";
import { lessonOf } from "../../../runtime/core/routing/evidence.ts";
import { profileOf } from "../../../runtime/core/routing/profile.ts";
import { decideRoute } from "../../../runtime/core/routing/route.ts";
import { ownQuestions } from "../../../runtime/orchestrator/eval/questions.ts";
import { integer } from "../../../runtime/support/options.ts";
import { figure, percentile, table } from "../machine.ts";

const PANEL = ["llama", "qwen", "qwen-small"].map((member) => ({ member, model: member, rewritten: false }));
const SETTINGS = {
  awarenessThreshold: 0.7,
  most: 2,
  explorationRatio: 0,
  riskLimit: 0.5,
  likeVerdicts: 5,
  quorum: 1,
};

/** `routing`: what a profile and a route take. */
export function routingBench(): Command {
  return new Command("routing")
    .description("what the profile of a question and its route take")
    .option("--rounds <number>", "times that each is measured", integer("rounds", 10, 1_000_000), 2_000)
    .action(({ rounds }: { rounds: number }) => {
      const questions = ownQuestions().map(({ question }) => question);
      const texts: [string, () => string][] = [
        ["profile, the 60 questions of eval", () => questions[Math.floor(Math.random() * questions.length)] ?? ""],
        ["profile, 1 MB of English", constant("What is the capital of France, and why? ".repeat(25_000))],
        ["profile, 1 MB of one letter", constant("a".repeat(1_000_000))],
        ["profile, 1 MB of accents, signs and emojis", constant("aé😀_(".repeat(170_000))],
      ];
      const rows = texts.map(([name, text]) => row(name, rounds, text, (one) => void profileOf(one, 1)));
      const lessons = Array.from({ length: 2_000 }, (_, at) => lessonOf(record(at + 1, questions)) ?? []).flat();
      const profile = profileOf(questions[0] ?? "", 0);
      const question = { profile, panel: PANEL, down: [], wholeAskedFor: false };
      rows.push(
        row(
          "route, from 2000 verdicts",
          rounds,
          constant(""),
          () => void decideRoute(question, SETTINGS, lessons, () => 1),
        ),
      );
      process.stdout.write(`\n${table(["what", "p50 ms", "p99 ms", "longest ms"], rows)}\n`);
    });
}

function constant(text: string): () => string {
  return () => text;
}

function row(name: string, rounds: number, text: () => string, act: (text: string) => void): string[] {
  const times: number[] = [];
  for (let at = 0; at < rounds; at++) {
    const one = text();
    const beganMs = performance.now();
    act(one);
    // The first ones are for the compiler.
    if (at >= rounds / 10) times.push(performance.now() - beganMs);
  }
  return [name, figure(percentile(times, 50), 3), figure(percentile(times, 99), 3), figure(Math.max(...times), 3)];
}

/** A verdict on one of the questions. */
function record(seq: number, questions: readonly string[]): VerdictRecord {
  const profile = profileOf(questions[seq % questions.length] ?? "", 0);
  return {
    v: 1,
    seq,
    profile,
    panel: PANEL,
    down: [],
    wholeAskedFor: false,
    settings: SETTINGS,
    routing: { profile, threshold: 1, asked: [], heldBack: [], reason: "off", why: "" },
    decision: { by: "judge", winner: PANEL[seq % 3]?.member ?? "" },
    ms: 1,
    stages: PANEL.map(({ member }) => ({ stage: "candidate", member, status: "ok", startedMs: 0, ms: 1, attempts: 1 })),
  };
}
