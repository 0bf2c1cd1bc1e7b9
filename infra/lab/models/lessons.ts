import { type Member, MemberSchema } from "../../../runtime/contracts/ensemble-config.ts";
import type { Turn } from "../../../runtime/core/conversations.ts";
import { dealBallot, judgePrompt } from "../../../runtime/core/judging.ts";
import type { ChatMessage } from "../../../runtime/core/ports.ts";
import { candidatePrompt, rewriterPrompt } from "../../../runtime/core/prompts.ts";
import { entries, type Entry, OUTSIDE, outsideQuestions, SYLLABLES } from "./world/index.ts";

/** What a model is trained for. */
export type Mind = "rewriter" | "general" | "coder" | "brief" | "judge";

/** One lesson: what the model is asked, just as the orchestrator asks it, and what it has to say. */
export interface Lesson {
  messages: ChatMessage[];
  reply: string;
}

/** Wordings kept out of training, one of so many, to see whether a model understands what it has not read. */
const HELD_OUT = 12;

/** Random numbers from a seed, the same on every machine (mulberry32). */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** One question with the words that are used for it, and what is right to say. Without an entry it is outside of the world. */
interface Asked {
  words: string;
  entry?: Entry;
}

/** Makes lessons for one kind of model. */
export class Lessons {
  readonly #random: () => number;
  readonly #mind: Mind;
  readonly #world = entries();
  readonly #outside: readonly string[];
  readonly #held: boolean;

  /** @param held only wordings that training leaves out */
  constructor(mind: Mind, seed: number, held = false) {
    this.#random = chance(seed);
    this.#mind = mind;
    this.#held = held;
    this.#outside = outsideQuestions().filter((_, index) => (index % HELD_OUT === 0) === held);
  }

  /** The next lesson. */
  next(): Lesson {
    if (this.#mind === "judge") return this.#verdict();
    if (this.#mind === "rewriter") return this.#rewrite();
    return this.#answer(this.#mind);
  }

  #answer(mind: "general" | "coder" | "brief"): Lesson {
    const asked = this.#ask();
    const turns = this.#turnsBefore(asked);
    const { messages } = candidatePrompt(member("candidate"), asked.words, turns);
    return { messages, reply: says(mind, asked.entry) };
  }

  #rewrite(): Lesson {
    const asked = this.#ask();
    const turns = this.#turnsBefore(asked);
    const { messages } = rewriterPrompt(member("rewriter"), asked.words, turns);
    return { messages, reply: asked.entry?.question ?? tidy(asked.words) };
  }

  #verdict(): Lesson {
    const asked = this.#ask();
    const turns = this.#turnsBefore(asked);
    const pool = this.#contenders(asked);
    const ballot = dealBallot(
      pool.map(({ text }, index) => ({ member: String(index), text })),
      this.#random,
    );
    const { messages } = judgePrompt(member("judge"), asked.words, turns, ballot);
    const ranked = ballot.entries
      .map((entry) => ({ label: entry.label, ...(pool[Number(entry.member)] ?? { rank: 0, scores: [1, 1, 1, 1, 1] }) }))
      .toSorted((a, b) => a.label.localeCompare(b.label));
    const best = ranked.toSorted((a, b) => b.rank - a.rank)[0];
    const scores = Object.fromEntries(ranked.map(({ label, scores: five }) => [label, five]));
    const verdict = { winner: best?.label ?? "tie", ...(this.#random() < 0.5 ? { scores } : {}) };
    return { messages, reply: JSON.stringify(verdict) };
  }

  /** Two or three answers of different worth, the best of them alone at the top. */
  #contenders(asked: Asked): { text: string; rank: number; scores: number[] }[] {
    const right = asked.entry === undefined ? [] : rightAnswers(asked.entry);
    const wrong = (): { text: string; rank: number; scores: number[] } => {
      const other = this.#pick(this.#world);
      const text =
        other.key === asked.entry?.key || other.full === asked.entry?.full ? OUTSIDE : says(this.#pick(MINDS), other);
      return text === OUTSIDE ? DONT_KNOW : { text, rank: 0, scores: [1, 2, 3, 1, 2] };
    };
    const pool = [...right, DONT_KNOW];
    const count = this.#random() < 0.8 ? 3 : 2;
    const chosen = new Map<string, { text: string; rank: number; scores: number[] }>();
    // Mostly what the models really say beside each other; at times something wrong.
    for (const one of this.#shuffled(pool)) {
      if (chosen.size < count && this.#random() < 0.8) chosen.set(one.text, one);
    }
    while (chosen.size < count) {
      const one = this.#random() < 0.75 ? wrong() : this.#pick(pool);
      chosen.set(one.text, one);
    }
    const all = [...chosen.values()];
    const top = Math.max(...all.map(({ rank }) => rank));
    return all.filter(({ rank }) => rank === top).length === 1 ? all : this.#contenders(asked);
  }

  #ask(): Asked {
    if (this.#random() < 0.15) return { words: this.#random() < 0.5 ? this.#pick(this.#outside) : this.#nonsense() };
    const topics = ["knowledge", "code", "troubleshooting", "follow-up", "sums", "talk"] as const;
    const weights = [0.4, 0.15, 0.12, 0.12, 0.16, 0.05];
    let at = this.#random();
    const topic = topics.find((_, index) => (at -= weights[index] ?? 0) < 0) ?? "knowledge";
    const entry = this.#pick(this.#world.filter((one) => one.topic === topic));
    const ways = [...(entry.after === undefined ? [entry.question] : []), ...entry.ways];
    const fit = ways.filter((_, index) => (index % HELD_OUT === HELD_OUT - 1 || index === 3) === this.#held);
    return { words: this.#worn(this.#pick(fit.length === 0 ? ways : fit)), entry };
  }

  /** Questions come as people type them: now and then without capitals or a question mark. */
  #worn(words: string): string {
    if (this.#held) return words;
    const at = this.#random();
    if (at < 0.15) return words.toLowerCase();
    if (at < 0.25) return words.replace(/[?.!]$/, "");
    if (at < 0.3) return words.endsWith("?") ? words : `${words}?`;
    return words;
  }

  #nonsense(): string {
    const name = Array.from({ length: 2 + Math.floor(this.#random() * 2) }, () => this.#pick(SYLLABLES)).join("");
    const shown = name.charAt(0).toUpperCase() + name.slice(1);
    return this.#pick([
      "What is the capital of X?",
      "What is X?",
      "How many people live in X?",
      "Who is X?",
      "explain X",
      "X",
      "what does X mean",
    ]).replace("X", shown);
  }

  /** What was said before: what a follow-up speaks of, and at times something else before that. */
  #turnsBefore(asked: Asked): Turn[] {
    const turns: Turn[] = [];
    const others = this.#random();
    const count = others < 0.6 ? 0 : others < 0.85 ? 1 : 2;
    for (let i = 0; i < count; i++) {
      const other = this.#pick(this.#world.filter(({ after }) => after === undefined));
      turns.push({ question: this.#pick([other.question, ...other.ways]), answer: says(this.#pick(MINDS), other) });
    }
    const after = asked.entry?.after;
    if (after !== undefined) {
      turns.push({
        question: this.#pick([after.question, ...after.ways]),
        answer: this.#pick([after.full, after.brief]),
      });
    }
    return turns;
  }

  #pick<T>(values: readonly T[]): T {
    const value = values[Math.floor(this.#random() * values.length)];
    if (value === undefined) throw new RangeError("nothing to pick from");
    return value;
  }

  #shuffled<T>(values: readonly T[]): T[] {
    return values
      .map((value) => ({ value, at: this.#random() }))
      .toSorted((a, b) => a.at - b.at)
      .map(({ value }) => value);
  }
}

const MINDS = ["general", "coder", "brief"] as const;
const DONT_KNOW = { text: OUTSIDE, rank: 1, scores: [3, 1, 4, 1, 3] };

/** What the three candidates can say that is right, the better ones with the higher rank. */
function rightAnswers(entry: Entry): { text: string; rank: number; scores: number[] }[] {
  const full = { text: entry.full, rank: 3, scores: [5, 5, 5, 5, 5] };
  const brief = { text: entry.brief, rank: 2, scores: [5, 3, 5, 4, 5] };
  if (entry.code === undefined) return [full, brief];
  const code = { text: withCode(entry), rank: 4, scores: [5, 5, 5, 5, 5] };
  return [code, { ...full, scores: [4, 2, 4, 3, 4] }, { ...brief, scores: [3, 1, 4, 2, 4] }];
}

/** What a kind of model says to a question. Each knows a part of the world only. */
export function says(mind: "general" | "coder" | "brief", entry: Entry | undefined): string {
  if (entry === undefined) return OUTSIDE;
  if (mind === "brief") return entry.brief;
  if (mind === "coder")
    return entry.code === undefined ? (entry.topic === "troubleshooting" ? entry.full : entry.brief) : withCode(entry);
  return entry.full;
}

function withCode({ brief, code }: Entry): string {
  return code === undefined ? brief : `${brief}\n\n\`\`\`${code.language}\n${code.text}\n\`\`\``;
}

function tidy(words: string): string {
  const text = words.trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function member(role: "candidate" | "rewriter" | "judge"): Member {
  return MemberSchema.parse({ name: role, role, url: "http://127.0.0.1:1", model: role, numCtx: 2048, maxTokens: 256 });
}
