import type { LabelProbability } from "./backend.ts";

/** The likeliest label; of equally likely ones the first. */
export function likeliest(labels: readonly LabelProbability[]): string {
  return labels.reduce((a, b) => (b.probability > a.probability ? b : a)).label;
}
