import { z } from "zod";
import type { EngineMessage } from "../backend.ts";
import { factFor, placeBefore, placeIn } from "./knowledge.ts";

/** What a scripted model plays, seen from what it is asked. */
export type ScriptedRole = "rewriter" | "judge" | "merger" | "coder" | "brief" | "general";

/** First words of the instructions that the orchestrator gives; kept apart from its code on purpose, as any model would only see text. */
const REWRITER = /^You rewrite questions\./;
const JUDGE = /^You judge answers\./;
const MERGER = /^You merge answers\./;

/** The role by the instruction, else by the model's name: coders write code, models below 1B are brief. */
export function roleOf(model: string, messages: readonly EngineMessage[]): ScriptedRole {
  const system = messages.find(({ role }) => role === "system")?.content ?? "";
  if (JUDGE.test(system)) return "judge";
  if (MERGER.test(system)) return "merger";
  if (REWRITER.test(system)) return "rewriter";
  if (/coder|code/i.test(model)) return "coder";
  if (/:(0\.\d+b|\d+m)\b/i.test(model)) return "brief";
  return "general";
}

/** The whole answer of a scripted model to such messages. Every answer but a verdict says that it is scripted, and by whom. */
export function play(model: string, messages: readonly EngineMessage[]): string {
  const role = roleOf(model, messages);
  const last = messages.findLast((message) => message.role === "user")?.content ?? "";
  if (role === "judge") return JSON.stringify(judge(last));
  const mark = ` (scripted ${model})`;
  if (role === "rewriter") return rewrite(last) + mark;
  if (role === "merger") return merge(last) + mark;
  return answer(role, last, conversationOf(messages)) + mark;
}

/** Earlier words of the conversation, the last question left out. */
function conversationOf(messages: readonly EngineMessage[]): string[] {
  const spoken = messages.filter(({ role }) => role !== "system");
  return spoken
    .slice(
      0,
      spoken.findLastIndex(({ role }) => role === "user"),
    )
    .map(({ content }) => content);
}

function answer(role: "coder" | "brief" | "general", question: string, before: readonly string[]): string {
  const fact = factFor(question, before);
  if (fact === undefined) {
    const asked = question.length > 120 ? `${question.slice(0, 120)}…` : question;
    return role === "brief"
      ? "I do not know; it is not in my script."
      : `I am a scripted model and my script does not cover this question: "${asked}"`;
  }
  const program = fact.code === undefined ? "" : `\n\`\`\`${fact.code.language}\n${fact.code.text}\n\`\`\`\n`;
  if (role === "brief") return fact.brief;
  if (role === "coder") return fact.code === undefined ? fact.brief : `${fact.brief}\n${program}`;
  return fact.code === undefined ? fact.full : `${fact.full} A coding model will show it better.`;
}

const QUESTION_TO_REWRITE = "Question to rewrite: ";

/** Rewrites for clarity: resolves a place that "its" stands for, spells contractions out and asks as an instruction. */
function rewrite(prompt: string): string {
  const at = prompt.lastIndexOf(QUESTION_TO_REWRITE);
  const question = (at === -1 ? prompt : prompt.slice(at + QUESTION_TO_REWRITE.length)).trim();
  const before = at === -1 ? "" : prompt.slice(0, at);
  if (/^what(?:'s|’s| is) the weather\??$/i.test(question)) return "Provide current weather conditions";
  const place = placeIn(question) === undefined ? placeBefore([before]) : undefined;
  const named =
    place === undefined ? question : question.replace(/\bits\b/i, `the`).replace(/\?*$/, ` of ${place.capital}?`);
  const resolved = place !== undefined && /\bits\b/i.test(question) ? named : question;
  return resolved
    .replace(/^what(?:'s|’s)\b/i, "What is")
    .replace(/^what is\s+/i, "State clearly: what is ")
    .replace(/^(?:can|could) you\s+/i, "Please ")
    .replace(/([^?.!])$/, "$1.");
}

const ANSWERS = /<answer ([A-Z]) ([0-9a-f]{8})>\n([\s\S]*?)\n<\/answer \1 \2>/g;

/** What the judge must be able to read of a ballot; a prompt without one is a tie without scores. */
const Ballot = z.array(z.object({ label: z.string(), text: z.string() })).min(1);

/**
 * Judges by a simple rule: knows the same little world, so an answer with its words is correct; code counts where code was asked for;
 * more is more complete; an answer that says it does not know is worth least. Ties stay ties.
 */
function judge(prompt: string): { winner: string; scores: Record<string, number[]> } {
  const ballot = Ballot.safeParse([...prompt.matchAll(ANSWERS)].map((match) => ({ label: match[1], text: match[3] })));
  if (!ballot.success) return { winner: "tie", scores: {} };
  const question = /(?:^|\n)Question: ([\s\S]*?)\n\n<answer /.exec(prompt)?.[1] ?? "";
  const before = prompt.slice(0, Math.max(0, prompt.lastIndexOf(`Question: ${question}`)));
  const fact = factFor(question, [before]);
  const rows = ballot.data.map(({ label, text }) => ({ label, scores: scoresFor(text, fact) }));
  const total = (row: { scores: number[] }): number => row.scores.reduce((sum, score) => sum + score, 0);
  const best = Math.max(...rows.map(total));
  const top = rows.filter((row) => total(row) === best);
  const winner = top.length === 1 ? (top[0]?.label ?? "tie") : "tie";
  return { winner, scores: Object.fromEntries(rows.map(({ label, scores }) => [label, scores])) };
}

/** Merges by taking the answer that it would choose, its own mark left out. */
function merge(prompt: string): string {
  const { winner, scores } = judge(prompt);
  const label = winner === "tie" ? Object.keys(scores)[0] : winner;
  const chosen =
    [...prompt.matchAll(ANSWERS)].find((match) => match[1] === label)?.[3] ?? "There was nothing to merge.";
  return chosen.replace(/\s*\(scripted [^)]*\)$/, "");
}

function scoresFor(text: string, fact: ReturnType<typeof factFor>): number[] {
  if (/does not cover|do not know/i.test(text)) return [1, 1, 3, 1, 2];
  const words = text.split(/\s+/).length;
  const knows =
    fact === undefined ? 3 : shares(text, `${fact.full} ${fact.brief} ${fact.code?.text ?? ""}`) >= 0.5 ? 5 : 2;
  const code = fact?.code === undefined ? 4 : text.includes("```") ? 5 : 2;
  const complete = Math.min(5, 1 + Math.floor(words / 4));
  return [knows, complete, words > 200 ? 3 : 4, code, fact?.topic === "conversation" ? knows : 4];
}

/** Share of the known words that a text has, of those it could have: 0 to 1. */
function shares(text: string, known: string): number {
  const own = new Set(text.toLowerCase().match(/[a-z0-9.]+/g) ?? []);
  const all = new Set(known.toLowerCase().match(/[a-z0-9.]+/g) ?? []);
  const meant = [...own].filter((word) => all.has(word)).length;
  return meant / Math.max(1, Math.min(own.size, all.size));
}
