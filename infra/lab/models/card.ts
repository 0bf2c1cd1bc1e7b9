import { z } from "zod";
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
export function cardOf(model: LabModel, made: z.output<typeof TrainingResult>, file: LabWeights): string {
  const [width, layers, heads, ffn] = model.shape;
  return `# ${model.name}

${ROLES[model.mind]}

- Place in the lab's ensemble: \`${model.place}\`.
- Architecture: llama, ${(made.parameters / 1e6).toFixed(2)} million parameters: width ${width}, ${layers} layers, ${heads} heads, feed-forward ${ffn}; Q8_0, ${file.sizeBytes} bytes.
- SHA-256: \`${file.sha256}\`.
- Trained on: ${model.lessons} lessons that \`infra/lab/models\` generates from its little world (capitals, small sums, words, programs, troubles of a cluster, small talk, and what lies outside of it). No other text.
- Training: ${model.steps} steps of ${model.batch} rows of ${model.rowTokens} tokens, ${made.seconds} s on the machine that made it.
- On wordings that it was not trained on, ${(made.heldOutRight * 100).toFixed(1)} % of the tokens of its replies are right.
- It follows no instruction: its chat template leaves the system message out, its one role is in its weights. Outside of its little world it says that it does not know, or is wrong. It is for the lab and for tests, and for nothing else.
- Made again by \`npm run models -- --only ${model.place}\`.
`;
}
