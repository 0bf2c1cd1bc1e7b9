import { z } from "zod";
import type { Measured } from "./measure.ts";
import type { LabModel } from "./minds.ts";
import type { LabWeights } from "./weights.ts";

/** What the trainer says at its end. */
export const TrainingResult = z.object({
  parameters: z.int(),
  /** Share of a reply's tokens that are right, on wordings that were not trained on; 0 to 1. */
  heldOutRight: z.number().min(0).max(1),
  seconds: z.number(),
});

const ROLES: Readonly<Record<LabModel["mind"], string>> = {
  rewriter:
    "Writes a question again, clear and complete, with names in place of words such as `it` that speak of the conversation.",
  general: "Answers whole questions of knowledge and of what goes wrong; shows no programs.",
  coder: "Answers with programs in Python and JavaScript, and all else in one sentence.",
  brief: "Answers everything in one short sentence; shows no programs.",
  judge: "Names the best of two or three answers by its label, as JSON, with scores where they are asked for.",
};

/** The card that lies beside a model's file: what it is, what it was made from, how good it is, and what it cannot do. */
export function cardOf(
  model: LabModel,
  made: z.output<typeof TrainingResult>,
  file: LabWeights,
  measured: Measured,
): string {
  const [width, layers, heads, ffn] = model.shape;
  return `# ${model.name}

${ROLES[model.mind]}

- Place in the lab's ensemble: \`${model.place}\`.
- Architecture: llama, ${(made.parameters / 1e6).toFixed(2)} million parameters: width ${width}, ${layers} layers, ${heads} heads, feed-forward ${ffn}; Q8_0, ${file.sizeBytes} bytes.
- SHA-256: \`${file.sha256}\`.
- Trained on: ${model.lessons} lessons that \`infra/lab/models\` generates from its little world (capitals, small sums, words, programs, troubles of a cluster, small talk, and what lies outside of it). No other text.
- Training: ${model.rounds.map(({ steps }) => steps).join(" and then ")} steps of ${model.batch} rows of ${model.rowTokens} tokens, ${made.seconds} s on two cores that were busy with other work too.
- Licence: as the repository, see \`LICENSE\`.
${figuresOf(measured, made.heldOutRight)}
- It follows no instruction: its chat template leaves the system message and all but the last turn out, its one role is in its weights. Outside of its little world it says that it does not know, or is wrong. It is for the lab and for tests, and for nothing else.
- Made again by \`npm run models -- --only ${model.place}\`.
`;
}

/** What a model did when it was asked through llama.cpp, as lines of its card. */
export function figuresOf({ asked, topics, falseIgnorance, judge }: Measured, heldOutRight?: number): string {
  const share = (some: number, all: number): string => `${some} of ${all} (${((100 * some) / all).toFixed(0)} %)`;
  const tokens =
    heldOutRight === undefined
      ? ""
      : `, and ${(heldOutRight * 100).toFixed(1)} % of its replies' tokens were right in training`;
  const lines = [
    `- Measured through the engine's llama.cpp at temperature 0, on ${asked} lessons in wordings that it was not trained on${tokens}:`,
  ];
  if (judge !== undefined) {
    const guessed = (chance: number, all: number): string => `${((100 * chance) / all).toFixed(0)} % by chance`;
    lines.push(
      `  - a label of its ballot named: ${share(judge.valid, asked)};`,
      `  - the best answer named: ${share(judge.best, asked)}, ${guessed(judge.bestByChance, asked)};`,
      `  - a right answer named where a wrong one stood beside it: ${share(judge.right, judge.mixed)}, ${guessed(judge.rightByChance, judge.mixed)}.`,
    );
    return lines.join("\n");
  }
  const all = [...topics].toSorted(([a], [b]) => a.localeCompare(b));
  const total = all.reduce((sum, [, { right }]) => sum + right, 0);
  lines.push(
    `  - word for word as it should be: ${share(total, asked)};`,
    ...all.map(([topic, one]) => `  - ${topic}: ${share(one.right, one.asked)};`),
  );
  if (falseIgnorance !== undefined) {
    const inside = asked - (topics.get("outside")?.asked ?? 0);
    lines.push(`  - said not to know what is in its world: ${share(falseIgnorance, inside)}.`);
  }
  return lines.join("\n");
}
