import { readVerdict, verdictSchema } from "../../../runtime/core/judging.ts";
import type { GenerateRequest, LoadedModel } from "../../../runtime/engine/backend.ts";
import { llamaBackend } from "../../../runtime/engine/llama/backend.ts";
import { FileLibrary } from "../../../runtime/engine/store/file-library.ts";
import { RIGHT } from "./contenders.ts";
import { type Lesson, Lessons, type Mind } from "./lessons.ts";
import { OUTSIDE } from "./world/index.ts";

/** How often a model was right, on lessons in wordings that it was not trained on. */
export interface Measured {
  /** Lessons that it was asked. */
  asked: number;
  /** By what they were about: how many were asked, and how many were answered word for word as in the lesson. */
  topics: ReadonlyMap<string, { asked: number; right: number }>;
  /** A model that answers: questions of the world to which it said that it does not know. */
  falseIgnorance?: number;
  judge?: JudgeMeasured;
}

/** What a judge's verdicts are worth, from ballots with answers of different worth. */
export interface JudgeMeasured {
  /** Verdicts that name a label of their ballot. */
  valid: number;
  /** Verdicts that name the best answer, and how many somebody would name who guesses. */
  best: number;
  bestByChance: number;
  /** Ballots with a right answer beside a wrong one; verdicts there that name a right one; how many somebody would name who guesses. */
  mixed: number;
  right: number;
  rightByChance: number;
}

/** Lessons that a model is measured by. */
export const MEASURED_LESSONS = 200;
/** Another seed than the trainer's. */
const SEED = 13;

/** Opens a model's file with llama.cpp, asks, and closes it. */
export async function withModel<T>(path: string, use: (model: LoadedModel) => Promise<T>): Promise<T> {
  const backend = llamaBackend({
    library: new FileLibrary(new Map([["lab:1", path]])),
    threads: 1,
    contextTokens: 2048,
    slots: 1,
  });
  const model = await backend.load("lab:1", () => undefined, new AbortController().signal);
  try {
    return await use(model);
  } finally {
    await model.unload();
  }
}

/** A model's whole answer at temperature 0. */
export async function answerOf(
  model: LoadedModel,
  messages: GenerateRequest["messages"],
  format?: Record<string, unknown>,
): Promise<string> {
  let text = "";
  const request: GenerateRequest = {
    messages,
    temperature: 0,
    maxTokens: 256,
    ...(format === undefined ? {} : { format }),
  };
  for await (const piece of model.generate(request, new AbortController().signal)) text += piece.text;
  return text.trim();
}

/** Asks a model as the orchestrator does. @param count lessons */
export async function measure(
  model: LoadedModel,
  mind: Mind,
  count: number,
  missed: (lesson: Lesson, answer: string) => void = () => undefined,
): Promise<Measured> {
  const lessons = new Lessons(mind, SEED, true);
  const topics = new Map<string, { asked: number; right: number }>();
  const judge = { valid: 0, best: 0, bestByChance: 0, mixed: 0, right: 0, rightByChance: 0 };
  let falseIgnorance = 0;
  for (let i = 0; i < count; i++) {
    const lesson = lessons.next();
    const topic = topics.get(lesson.topic) ?? { asked: 0, right: 0 };
    topics.set(lesson.topic, topic);
    topic.asked++;
    let right: boolean;
    let answer: string;
    if (lesson.ballot === undefined) {
      answer = await answerOf(model, lesson.messages);
      right = answer === lesson.reply.trim();
      if (lesson.topic !== "outside" && answer === OUTSIDE) falseIgnorance++;
    } else {
      answer = await answerOf(model, lesson.messages, verdictSchema(lesson.ballot.dealt, false));
      right = countVerdict(judge, lesson.ballot, answer);
    }
    if (right) topic.right++;
    else missed(lesson, answer);
  }
  const answers = mind !== "judge" && mind !== "rewriter";
  return { asked: count, topics, ...(answers ? { falseIgnorance } : {}), ...(mind === "judge" ? { judge } : {}) };
}

/** Counts one verdict. @returns whether it names the best answer */
function countVerdict(judge: JudgeMeasured, { dealt, ranks }: NonNullable<Lesson["ballot"]>, answer: string): boolean {
  const { winner, kind } = readVerdict(answer, dealt);
  if (kind === "named") judge.valid++;
  const all = dealt.entries.map(({ member }) => ranks[member] ?? 0);
  const named = winner === undefined ? -1 : (ranks[winner] ?? 0);
  const top = Math.max(...all);
  const best = named === top;
  if (best) judge.best++;
  judge.bestByChance += all.filter((rank) => rank === top).length / all.length;
  const rightOnes = all.filter((rank) => rank >= RIGHT).length;
  if (rightOnes > 0 && all.some((rank) => rank === 0)) {
    judge.mixed++;
    if (named >= RIGHT) judge.right++;
    judge.rightByChance += rightOnes / all.length;
  }
  return best;
}
