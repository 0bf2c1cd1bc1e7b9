import type { Mind } from "./lessons.ts";

/** One of the lab's own models: what it is for and how it is made. */
export interface LabModel {
  /** Name under which engines serve it, and of its file with `-` for `:`. */
  name: string;
  /** Its place in the ensemble, a name of the catalogue. */
  place: "promptimizer" | "llama" | "qwen" | "qwen-small" | "judge";
  mind: Mind;
  /** Width, layers, heads and width of the feed-forward part. */
  shape: readonly [width: number, layers: number, heads: number, ffn: number];
  /** Lessons that are made for it, and those of wordings it has never read. */
  lessons: number;
  /** Rounds of training, each from what the one before it has written: its steps, and the rate at its height. A round takes up the lessons where the last one left them. */
  rounds: readonly { steps: number; rate: number }[];
  /** Rows a step, and tokens a row. */
  batch: number;
  rowTokens: number;
  /** What a token of the prompt counts beside one of a reply of sixteen tokens. */
  promptWeight: number;
  /** 0: a reply counts by its length; 1: each reply counts the same, so that long programs do not push short facts out. */
  evenness: number;
}

/** Tokens that all five know. */
export const VOCABULARY = 1536;

/** The five models, small enough that two cores train each in two minutes (the brief one) to half an hour (the judge). */
export const LAB_MODELS: readonly LabModel[] = [
  {
    name: "lab-rewriter:1.5m",
    place: "promptimizer",
    mind: "rewriter",
    shape: [160, 4, 5, 448],
    lessons: 60_000,
    rounds: [{ steps: 3_000, rate: 2e-3 }],
    batch: 10,
    rowTokens: 192,
    promptWeight: 0.1,
    evenness: 1,
  },
  {
    name: "lab-general:2m",
    place: "llama",
    mind: "general",
    shape: [192, 4, 6, 512],
    lessons: 30_000,
    rounds: [{ steps: 2_000, rate: 2e-3 }],
    batch: 10,
    rowTokens: 192,
    promptWeight: 0.1,
    evenness: 1,
  },
  {
    name: "lab-coder:2m",
    place: "qwen",
    mind: "coder",
    shape: [192, 4, 6, 512],
    lessons: 30_000,
    rounds: [{ steps: 1_000, rate: 2e-3 }],
    batch: 8,
    rowTokens: 192,
    promptWeight: 0.1,
    evenness: 1,
  },
  {
    name: "lab-brief:0.8m",
    place: "qwen-small",
    mind: "brief",
    shape: [128, 3, 4, 352],
    lessons: 30_000,
    rounds: [{ steps: 1_000, rate: 2e-3 }],
    batch: 12,
    rowTokens: 128,
    promptWeight: 0.1,
    evenness: 1,
  },
  {
    name: "lab-judge:1.8m",
    place: "judge",
    mind: "judge",
    shape: [160, 5, 5, 448],
    lessons: 70_000,
    // What an answer is worth comes late in the first round, and which is best after that: when the rate is low already.
    rounds: [
      { steps: 4_000, rate: 2e-3 },
      { steps: 1_500, rate: 1e-3 },
    ],
    batch: 5,
    rowTokens: 328,
    promptWeight: 0.03,
    evenness: 0.5,
  },
];

/** File of a model, such as `lab-judge-1.8m.gguf`. */
export function fileOf({ name }: LabModel): string {
  return `${name.replace(":", "-")}.gguf`;
}

/** Numbers in a model: its vocabulary once, as words are read and written by the same table, and of each layer attention, the feed-forward part and two norms. */
export function parametersOf({ shape: [width, layers, , ffn] }: LabModel): number {
  return VOCABULARY * width + layers * (4 * width ** 2 + 3 * width * ffn + 2 * width) + width;
}
