import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { evalCommand } from "../../../../../runtime/orchestrator/eval/command.ts";
import { ownQuestions } from "../../../../../runtime/orchestrator/eval/questions.ts";
import { VerdictLog } from "../../../../../runtime/orchestrator/routing/verdict-log.ts";
import { judgeFor } from "../../../../support/ensemble.ts";
import { type MockModel, startMockModel } from "../../../../support/mock-model.ts";

let folder = "";
let config = "";
let mocks: Record<string, MockModel> = {};
let [out, err] = ["", ""];

/** Knows all capitals, half of them, or none. */
const CAPITALS: Readonly<Record<string, string>> = { France: "Paris", Japan: "Tokyo", Peru: "Lima", Kenya: "Nairobi" };
const countryIn = (prompt: string): string => Object.keys(CAPITALS).find((name) => prompt.includes(name)) ?? "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "gorkheavy-eval-"));
  [out, err] = ["", ""];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => ((out += String(text)), true));
  vi.spyOn(process.stderr, "write").mockImplementation((text) => ((err += String(text)), true));
  const says: Record<string, (prompt: string) => string> = {
    promptimizer: (prompt) => prompt.replace(/^[\s\S]*Question to rewrite: /, ""),
    expert: (prompt) => `It is ${CAPITALS[countryIn(prompt)] ?? "not known"}, for sure.`,
    half: (prompt) =>
      /France|Japan/.test(prompt) ? `Well, ${CAPITALS[countryIn(prompt)] ?? ""} it is.` : "Well, Atlantis it is.",
    fool: () => "My bet is on Atlantis.",
    judge: () => "",
  };
  mocks = Object.fromEntries(
    await Promise.all(
      Object.entries(says).map(async ([name, say]) => {
        const answer = name === "judge" ? judgeFor("for sure") : ({ prompt }: { prompt: string }) => say(prompt);
        return [name, await startMockModel(`${name}:1b`, { answer })] as const;
      }),
    ),
  );
  const role = (name: string): string =>
    name === "promptimizer" ? "rewriter" : name === "judge" ? "judge" : "candidate";
  config = join(folder, "ensemble.yaml");
  await writeFile(
    config,
    JSON.stringify({
      members: Object.entries(mocks).map(([name, { url }]) => ({
        name,
        role: role(name),
        url,
        model: `${name}:1b`,
        ...(name === "half" ? { prompt: "rewritten" } : {}),
      })),
      routing: { likeVerdicts: 1 },
    }),
  );
});
afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  await Promise.all(Object.values(mocks).map((mock) => mock.close()));
  await rm(folder, { recursive: true, force: true });
});

const questionLines = (): string =>
  Object.entries(CAPITALS)
    .map(([country, capital]) =>
      JSON.stringify({
        id: country.toLowerCase(),
        class: "capitals",
        question: `What is the capital of ${country}?`,
        check: { kind: "contains", any: [capital] },
      }),
    )
    .join("\n");

async function evaluate(...argv: string[]): Promise<void> {
  const questions = join(folder, "questions.jsonl");
  await writeFile(questions, questionLines(), { flag: "a" });
  const command = evalCommand().exitOverride();
  await command.parseAsync(["--config", config, "--questions", questions, ...argv], { from: "user" });
}

interface Report {
  variants: {
    variant: string;
    questions: number;
    right: number;
    calls: number;
    won: [string, number][];
    unanswered: number;
  }[];
  againstBest: { other: string; better: number; worse: number };
  judge: { decidable: number; right: number; flips: number; pairs: number; verdicts: number };
  results: { variant: string; id: string; right: boolean; answer?: string }[];
}
const report = (): Report => JSON.parse(out) as Report;
const variant = (name: string): Report["variants"][number] | undefined =>
  report().variants.find((one) => one.variant === name);
const calls = (): number => Object.values(mocks).reduce((sum, mock) => sum + mock.calls.length, 0);

describe("gorkheavy eval", () => {
  test("asks every question in every way and tells what each way got right, and what it cost", async () => {
    await evaluate("--json", "--both-orders", "--threshold", "0.3");
    expect(report().variants.map((one) => [one.variant, one.right, one.questions])).toEqual([
      ["ensemble", 4, 4],
      ["no-rewrite", 4, 4],
      ["no-judge", expect.any(Number), 4],
      ["synthesis", expect.any(Number), 4],
      ["both-orders", 4, 4],
      ["routed@0.3", 4, 4],
      ["alone:expert", 4, 4],
      ["alone:half", 2, 4],
      ["alone:fool", 0, 4],
      ["alone:judge", 0, 4],
      ["alone:promptimizer", 0, 4],
    ]);
    expect(variant("ensemble")).toMatchObject({ won: [["expert", 4]], unanswered: 0 });
    expect(variant("alone:expert")?.calls).toBe(1);
    // The three other verdicts were the expert's, so it alone is asked.
    expect(variant("routed@0.3")).toMatchObject({ calls: 1, won: [["expert", 4]] });
    expect(variant("ensemble")?.calls).toBeGreaterThanOrEqual(5);
    expect(report().judge).toMatchObject({ decidable: 4, right: 4, flips: 0, pairs: 4, verdicts: 12 });
    expect(report().againstBest).toMatchObject({ other: "alone:expert", better: 0, worse: 0 });
    expect(process.exitCode).toBeUndefined();
  });

  test("prints tables that say the same", async () => {
    await evaluate("--only", "ensemble", "alone:fool");
    expect(out).toMatch(
      /\| ensemble \| 4 of 4 \| 100 % \(51 % to 100 %\) \| 0 \| \d+\.\d\d \| \d+\.\d\d \| \d+\.\d \| expert 4 \|/,
    );
    expect(out).toMatch(/\| alone:fool \| 0 of 4 \| 0 % \(0 % to 49 %\) \|/);
    expect(out).toContain("| ensemble | 4/4 |");
    expect(out).toContain(
      "The ensemble got 4 questions more right than the best single model (alone:fool), of 4: right where that was wrong 4 times, the other way round 0 times; so uneven a split comes by chance with 13 %.",
    );
    expect(out).toContain(
      "| chose a right answer where right and wrong ones stood before it | 4 of 4: 100 % (51 % to 100 %); blind choice",
    );
    expect(out).toContain("not measured; --both-orders does");
    expect(err).toContain("ensemble");
  });

  test("counts a judge that always says the first as flipping and biased", async () => {
    const judge = mocks["judge"];
    if (judge === undefined) throw new Error("no judge");
    judge.behaviour.answer = ({ prompt }) => JSON.stringify({ winner: /<answer ([A-H]) /.exec(prompt)?.[1] ?? "tie" });
    await evaluate("--json", "--both-orders", "--only", "ensemble", "both-orders");
    expect(report().judge).toMatchObject({ flips: 4, pairs: 4, verdicts: 12, first: 12 });
  });

  test("goes on where it was stopped, asks nothing twice, and ends up with the same", async () => {
    const dir = join(folder, "out");
    const expert = mocks["expert"];
    if (expert === undefined) throw new Error("no expert");
    const answer = expert.behaviour.answer;
    expert.behaviour.answer = (call) => {
      if (expert.calls.length === 3) process.emit("SIGINT");
      return answer(call);
    };
    const ways = ["--only", "ensemble", "alone:expert", "alone:half", "--out", dir, "--json"];
    await evaluate(...ways);
    expect(process.exitCode).toBe(130);
    expect(err).toMatch(/stopped after 2 of 12 questions; the same command goes on from here/);
    expect(report().results).toHaveLength(2);
    process.exitCode = undefined;
    out = "";
    // As a kill in the middle of a write leaves it.
    await appendFile(join(dir, "results.jsonl"), '{"v":1,"variant":"ensemble","id":"pe');
    const asked = expert.calls.length;
    await evaluateAgain(...ways);
    expect(report().results).toHaveLength(12);
    expect(expert.calls.length - asked).toBe(2 + 4);
    const lines = (await readFile(join(dir, "results.jsonl"), "utf8")).trimEnd().split("\n");
    expect(lines).toHaveLength(12);
    const whole = calls();
    out = "";
    await evaluateAgain(...ways);
    expect(calls()).toBe(whole);
    expect(variant("ensemble")).toMatchObject({ right: 4, questions: 4 });
    expect(process.exitCode).toBeUndefined();
  });

  test("writes verdicts that a router learns from", async () => {
    const file = join(folder, "verdicts.jsonl");
    await evaluate("--only", "ensemble", "--verdicts", file);
    const log = await VerdictLog.open({ file, bytes: 65_536, window: 100 });
    expect(log.remembered.map(({ seq, decision }) => [seq, decision.winner])).toEqual(
      [1, 2, 3, 4].map((seq) => [seq, "expert"]),
    );
    await log.close();
    await expect(evaluateAgain("--only", "ensemble", "--verdicts", file)).rejects.toThrow(
      /--verdicts .* a file that is not there yet/,
    );
  });

  test("says that nothing was measured where no model answers, and exits with 2", async () => {
    await Promise.all(Object.values(mocks).map((mock) => mock.close()));
    await evaluate("--only", "ensemble", "--limit", "1", "--json");
    expect(process.exitCode).toBe(2);
    expect(err).toMatch(/no question was answered; see that the models at http:\/\/127/);
    expect(report().variants).toMatchObject([{ variant: "ensemble", unanswered: 1, right: 0 }]);
  });

  test.each<[string, string[], RegExp]>([
    ["an unknown way", ["--only", "ensmble"], /--only: got ensmble; want some of ensemble, no-rewrite, no-judge/],
    ["a threshold beyond 1", ["--threshold", "1.5"], /--threshold: got 1.5, want a number from 0 to 1/],
    ["a limit of 0", ["--limit", "0"], /--limit: got 0, want a whole number/],
    [
      "questions that are not there",
      ["--questions", "/nowhere/q.jsonl"],
      /--questions \/nowhere\/q\.jsonl: cannot be read \(ENOENT\)/,
    ],
    [
      "a configuration that is not there",
      ["--config", "/nowhere/c.yaml"],
      /--config \/nowhere\/c\.yaml: cannot be read/,
    ],
  ])("refuses %s", async (_what, argv, message) => {
    await expect(evaluate(...argv)).rejects.toThrow(message);
  });

  test.each<[string, RegExp]>([
    ["{", /line 1: no JSON/],
    [JSON.stringify({ id: "A B", class: "c", question: "q", check: { kind: "unknown" } }), /line 1: id: want 1 to 64/],
    [JSON.stringify({ id: "a", class: "c", question: "q" }), /line 1: check: /],
    [
      JSON.stringify({ id: "a", class: "c", question: "q", check: { kind: "number", value: "4" } }),
      /line 1: check\.value: /,
    ],
    [JSON.stringify({ id: "a", class: "c", question: "q", check: { kind: "unknown" }, weight: 2 }), /line 1: .*weight/],
    [
      JSON.stringify({ id: "france", class: "c", question: "q", check: { kind: "unknown" } }),
      /line 2: id: france is on line 1 already/,
    ],
    ["# nothing but a word to the reader", /^(?!)/],
  ])("names the line and the field of a wrong question: %s", async (line, message) => {
    const file = join(folder, "questions.jsonl");
    await writeFile(file, `${line}\n`);
    if (line.startsWith("#")) {
      await evaluate("--only", "alone:expert", "--json");
      expect(report().results).toHaveLength(4);
    } else {
      await expect(evaluate()).rejects.toThrow(message);
    }
  });

  test("refuses a folder with the results of other members, and a line that is none", async () => {
    const dir = join(folder, "out");
    await evaluate("--only", "alone:expert", "--out", dir);
    await appendFile(join(dir, "results.jsonl"), '{"v":1}\n');
    await expect(evaluateAgain("--out", dir)).rejects.toThrow(/results\.jsonl, line 5: variant: /);
    const other = (await readFile(config, "utf8")).replace("expert:1b", "expert:2b");
    await writeFile(config, other);
    await expect(evaluateAgain("--out", dir)).rejects.toThrow(/holds results of other members/);
  });

  test("takes a limit evenly from all classes", async () => {
    const command = evalCommand().exitOverride();
    await command.parseAsync(["--config", config, "--only", "alone:fool", "--limit", "14", "--json"], { from: "user" });
    const byId = new Map(ownQuestions().map((question) => [question.id, question.class]));
    const classes = report().results.map(({ id }) => byId.get(id));
    for (const name of new Set(byId.values())) expect(classes.filter((one) => one === name)).toHaveLength(2);
  });
});

/** Again, with the questions that are there. */
async function evaluateAgain(...argv: string[]): Promise<void> {
  const command = evalCommand().exitOverride();
  await command.parseAsync(["--config", config, "--questions", join(folder, "questions.jsonl"), ...argv], {
    from: "user",
  });
}
