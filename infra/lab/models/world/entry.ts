/** What a question is about. The first four are the classes of questions that the ensemble is made for. */
export type Topic = "knowledge" | "code" | "troubleshooting" | "follow-up" | "sums" | "talk";

/** One question of the little world, every way in which it is asked, and what each kind of model says to it. */
export interface Entry {
  /** Unique, such as `capital/France`. */
  key: string;
  topic: Topic;
  /** The clear, complete wording: what the rewriter makes of every other one. */
  question: string;
  /** Other wordings, without the canonical one. */
  ways: readonly string[];
  /** The whole answer. */
  full: string;
  /** The answer in one short sentence. */
  brief: string;
  /** The program, with its language, where the question is about code. */
  code?: { language: "python" | "javascript"; text: string };
  /** What can have been asked just before, where the question only makes sense after it: its wordings speak of `it` or `there`. */
  after?: readonly Entry[];
}

/** What every model says to a question that is outside of the little world. */
export const OUTSIDE = "I do not know. That is outside of the little world that I was trained on.";
