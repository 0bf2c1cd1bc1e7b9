import { readFile } from "node:fs/promises";
import { z } from "zod";
import { EvalQuestion } from "../../contracts/eval.ts";
import own from "./questions.json" with { type: "json" };

/** A file of questions that cannot be used; the message names each line and field. */
export class QuestionsError extends Error {
  override readonly name = "QuestionsError";
}

/** Most faults that one error names. */
const MOST_NAMED = 10;

/** The sixty questions of the project, in their own order. */
export function ownQuestions(): EvalQuestion[] {
  return z.array(EvalQuestion).parse(own);
}

/** Reads a file of questions, one JSON object a line; empty lines and those that begin with `#` are left out. @throws QuestionsError */
export async function readQuestions(file: string): Promise<EvalQuestion[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unreadable";
    throw new QuestionsError(`--questions ${file}: cannot be read (${code}); give the path of a file of questions`, {
      cause,
    });
  }
  const questions: EvalQuestion[] = [];
  const faults: string[] = [];
  const seen = new Map<string, number>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const place = `line ${index + 1}`;
    const read = questionOf(line);
    if ("faults" in read) {
      faults.push(...read.faults.map((fault) => `${place}: ${fault}`));
      continue;
    }
    const before = seen.get(read.question.id);
    if (before !== undefined)
      faults.push(`${place}: id: ${read.question.id} is on line ${before} already; want another`);
    seen.set(read.question.id, index + 1);
    questions.push(read.question);
  }
  if (faults.length > 0) {
    const more = faults.length > MOST_NAMED ? `\nand ${faults.length - MOST_NAMED} more` : "";
    throw new QuestionsError(`--questions ${file}:\n${faults.slice(0, MOST_NAMED).join("\n")}${more}`);
  }
  if (questions.length === 0)
    throw new QuestionsError(
      `--questions ${file}: no question in it; want lines such as {"id":"sum","class":"reasoning","question":"What is 2 + 2?","check":{"kind":"number","value":4}}`,
    );
  return questions;
}

function questionOf(line: string): { question: EvalQuestion } | { faults: string[] } {
  let raw: unknown;
  try {
    raw = JSON.parse(line);
  } catch {
    return { faults: ["no JSON; want one JSON object a line"] };
  }
  const parsed = EvalQuestion.safeParse(raw);
  if (parsed.success) return { question: parsed.data };
  return { faults: parsed.error.issues.map(({ path, message }) => `${path.join(".") || "line"}: ${message}`) };
}
