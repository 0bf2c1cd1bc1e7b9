import { open } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { answerOf, withModel } from "../../../infra/lab/models/measure.ts";
import { LAB_MODELS, parametersOf } from "../../../infra/lab/models/minds.ts";
import { labWeights, WEIGHTS_DIR } from "../../../infra/lab/models/weights.ts";
import { MemberSchema } from "../../../runtime/contracts/ensemble-config.ts";
import type { Turn } from "../../../runtime/core/conversations.ts";
import { dealBallot, judgePrompt, readVerdict, secondBallot, verdictSchema } from "../../../runtime/core/judging.ts";
import { candidatePrompt, rewriterPrompt } from "../../../runtime/core/prompts.ts";
import { readGguf } from "../../../runtime/engine/store/gguf.ts";

/** A child process, llama.cpp and a load on a busy machine. */
const SLOW_MS = 60_000;
const member = MemberSchema.parse({ name: "any", role: "candidate", url: "http://127.0.0.1:1", model: "any" });
const PARIS: Turn = { question: "What is the capital of France?", answer: "Paris is the capital of France." };
const TOKYO: Turn = { question: "where is Tokyo", answer: "It is the capital of Japan." };

const listed = await labWeights();
const pathOf = (name: string): string => {
  const found = listed.find((one) => one.name === name);
  if (found === undefined) throw new Error(`${name} is not in the manifest`);
  return join(WEIGHTS_DIR, found.file);
};

/** What a candidate says to each question; a question may come after turns. */
async function answers(name: string, asked: readonly (string | [string, ...Turn[]])[]): Promise<string[]> {
  return withModel(pathOf(name), async (model) => {
    const said: string[] = [];
    for (const one of asked) {
      const [words, ...turns] = typeof one === "string" ? ([one] as [string]) : one;
      said.push(await answerOf(model, candidatePrompt(member, words, turns).messages));
    }
    return said;
  });
}

/** Whether a model is committed. */
const has = (name: string): boolean => listed.some((one) => one.name === name);

/** What a model is to answer is written here before the model is committed; until then there is no such test. */
function testOf(name: string, title: string, run: () => Promise<void>): void {
  if (has(name)) test(title, run, SLOW_MS);
}

test.each(
  LAB_MODELS.filter(({ name }) => has(name)),
)("the header of $name has the shape that was wanted", async (model) => {
  const file = await open(pathOf(model.name));
  try {
    expect(await readGguf(file)).toMatchObject({
      architecture: "llama",
      name: model.name,
      parameters: parametersOf(model),
      quantization: "Q8_0",
      contextTokens: 2048,
    });
  } finally {
    await file.close();
  }
});

describe("through the engine's llama.cpp", () => {
  testOf(
    "lab-general:2m",
    "the general one answers all four classes of questions and says when it does not know",
    async () => {
      const [capital, code, trouble, followUp, later, outside] = await answers("lab-general:2m", [
        "What is the capital of France?",
        "How do I reverse a string in Python?",
        "Why does my pod stay Pending?",
        ["And how many people live there?", PARIS],
        ["And how many people live there?", ...Array.from({ length: 6 }, () => TOKYO), PARIS],
        "Who was Napoleon?",
      ]);
      expect(capital).toContain("Paris");
      expect(code).toContain("Python");
      expect(trouble).toContain("kubectl describe pod");
      expect(followUp).toMatch(/2\.1 million people live in Paris/);
      expect(later).toMatch(/2\.1 million people live in Paris/);
      expect(outside).toMatch(/do not know/);
    },
  );

  testOf("lab-coder:2m", "the coder answers with a program", async () => {
    const [code, capital, outside] = await answers("lab-coder:2m", [
      "How do I reverse a string in Python?",
      "What is the capital of France?",
      "How do I play music in Rust?",
    ]);
    expect(code).toContain("```python\ndef reverse(text: str) -> str:\n    return text[::-1]\n```");
    expect(capital).toContain("Paris");
    expect(outside).toMatch(/do not know/);
  });

  testOf("lab-brief:0.8m", "the brief one answers in one sentence", async () => {
    const [capital, trouble, outside] = await answers("lab-brief:0.8m", [
      "What is the capital of France?",
      "Why is my pod in CrashLoopBackOff?",
      "Who was Napoleon?",
    ]);
    expect(capital).toBe("Paris is the capital of France.");
    expect(trouble).toBe("CrashLoopBackOff means that the container starts and ends again and again.");
    expect(outside).toMatch(/do not know/);
  });

  testOf(
    "lab-rewriter:1.5m",
    "the rewriter puts names in place of words that refer to the conversation, and leaves a whole question alone",
    async () => {
      await withModel(pathOf("lab-rewriter:1.5m"), async (model) => {
        const rewritten = (words: string, turns: readonly Turn[] = []): Promise<string> =>
          answerOf(model, rewriterPrompt(member, words, turns).messages);
        expect(await rewritten("And how many people live there?", [PARIS])).toBe("How many people live in Paris?");
        expect(await rewritten("capital of France?")).toBe("What is the capital of France?");
        expect(await rewritten("How do I wash my horse?")).toBe("How do I wash my horse?");
      });
    },
  );

  testOf(
    "lab-judge:1.8m",
    "the judge names a label of its ballot, and a right answer more often than a wrong one",
    async () => {
      const ballots: readonly [question: string, right: string, wrong: readonly string[]][] = [
        [
          "What is the capital of France?",
          "The capital of France is Paris, which is also its seat of government.",
          [
            "Quantization shrinks a model's weights.",
            "I do not know. That is outside of the little world that I was trained on.",
          ],
        ],
        [
          "How many people live in Tokyo?",
          "About 14.0 million people live in Tokyo.",
          ["Hello to you!", "The result is 7."],
        ],
        [
          "Why was my container OOMKilled?",
          "OOMKilled means that the container went over its memory limit.",
          ["Paris is the capital of France.", "YAML is a format for settings."],
        ],
        [
          "How do I parse JSON in JavaScript?",
          "Here is how to parse JSON in JavaScript.\n\n```javascript\nconst value = JSON.parse(text);\n```",
          ["Water boils at 100 degrees Celsius.", "A Pod is a group of containers."],
        ],
      ];
      await withModel(pathOf("lab-judge:1.8m"), async (model) => {
        let [asked, named, right] = [0, 0, 0];
        for (const [question, good, wrong] of ballots) {
          const texts = [good, ...wrong].map((text, index) => ({ member: String(index), text }));
          let ballot = dealBallot(texts, () => 0.4);
          // In each place and under each label once.
          for (let turn = 0; turn < texts.length; turn++) {
            const { messages } = judgePrompt(member, question, [], ballot);
            const verdict = readVerdict(await answerOf(model, messages, verdictSchema(ballot, false)), ballot);
            asked++;
            if (verdict.kind === "named") named++;
            if (verdict.winner === "0") right++;
            ballot = secondBallot(ballot, () => 0.4);
          }
        }
        expect(named).toBe(asked);
        // By chance a third of them; all but two is what chance reaches in one of two thousand runs.
        expect(right).toBeGreaterThanOrEqual(asked - 2);
      });
    },
  );
});
