import { type Member, MemberSchema } from "../../../runtime/contracts/ensemble-config.ts";
import type { Turn } from "../../../runtime/core/conversations.ts";
import { type Ballot, dealBallot, dealLabels, judgePrompt } from "../../../runtime/core/judging.ts";
import type { ChatMessage } from "../../../runtime/core/ports.ts";
import { candidatePrompt, rewriterPrompt } from "../../../runtime/core/prompts.ts";
import { type Contender, DONT_KNOW, inWordsOf, MINDS, RIGHT, ranked, says, withCode, WRONG } from "./contenders.ts";
import { entries, type Entry, OUTSIDE, outsideQuestions, SYLLABLES, type Topic } from "./world/index.ts";

/** What a model is trained for. */
export type Mind = "rewriter" | "general" | "coder" | "brief" | "judge";

/** One lesson: what the model is asked, just as the orchestrator asks it, and what it has to say. */
export interface Lesson {
  messages: ChatMessage[];
  reply: string;
  /** What the question is about; `outside` of the world. */
  topic: Topic | "outside";
  /** A judge's: what it judges, and the worth of each answer by its member. */
  ballot?: { dealt: Ballot; ranks: Readonly<Record<string, number>>; right: string[] };
}

/** Wordings kept out of training, one of so many, to see whether a model understands what it has not read. */
const HELD_OUT = 12;

/** A judge first reads right answers only, then single ones to be weighed, then ballots: lessons of the first two kinds. */
export const FIRST = { right: 8_000, single: 14_000 } as const;

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
  /** Nothing was said before, so that words such as `there` mean nothing. */
  first?: boolean;
}

/** Makes lessons for one kind of model. */
export class Lessons {
  readonly #random: () => number;
  readonly #mind: Mind;
  readonly #world = entries();
  readonly #outside: readonly string[];
  readonly #held: boolean;
  #made = 0;

  /** @param held only wordings that training leaves out */
  constructor(mind: Mind, seed: number, held = false) {
    this.#random = chance(seed);
    this.#mind = mind;
    this.#held = held;
    this.#outside = outsideQuestions().filter((_, index) => (index % HELD_OUT === 0) === held);
  }

  /** The next lesson. */
  next(): Lesson {
    this.#made++;
    if (this.#mind === "judge") return this.#verdict();
    if (this.#mind === "rewriter") return this.#rewrite();
    return this.#answer(this.#mind);
  }

  #answer(mind: "general" | "coder" | "brief"): Lesson {
    const asked = this.#ask();
    const turns = this.#turnsBefore(asked);
    const { messages } = candidatePrompt(member("candidate"), asked.words, turns);
    return { messages, reply: says(mind, asked.entry), topic: topicOf(asked) };
  }

  #rewrite(): Lesson {
    const asked = this.#ask();
    const turns = this.#turnsBefore(asked);
    const { messages } = rewriterPrompt(member("rewriter"), asked.words, turns);
    return { messages, reply: asked.entry?.question ?? tidy(asked.words), topic: topicOf(asked) };
  }

  #verdict(): Lesson {
    const asked = this.#ask();
    const turns = this.#turnsBefore(asked);
    const pool = this.#pool(asked);
    const dealt = dealBallot(
      pool.map(({ text }, index) => ({ member: String(index), text })),
      this.#random,
    );
    // Answers that are judged while they are written stand in the order in which they come, whatever their labels.
    const ballot = this.#random() < 0.5 ? dealt : this.#relabelled(dealt);
    const { messages } = judgePrompt(member("judge"), asked.words, turns, ballot);
    const read = ballot.entries.map(({ label, member: index }) => ({ label, ...(pool[Number(index)] ?? WRONG) }));
    const best = read.toSorted((a, b) => b.rank - a.rank)[0];
    const byLabel = read.toSorted((a, b) => a.label.localeCompare(b.label));
    const scores = Object.fromEntries(byLabel.map(({ label, scores: five }) => [label, five]));
    const verdict = { winner: best?.label ?? "tie", ...(this.#random() < 0.25 ? { scores } : {}) };
    const ranks = Object.fromEntries(pool.map(({ rank }, index) => [String(index), rank]));
    const known = asked.entry === undefined ? DONT_KNOW.rank : RIGHT;
    const right = read.filter(({ rank }) => rank >= known).map(({ label }) => label);
    return { messages, reply: JSON.stringify(verdict), topic: topicOf(asked), ballot: { dealt: ballot, ranks, right } };
  }

  #relabelled(ballot: Ballot): Ballot {
    const members = ballot.entries.map((entry) => entry.member);
    const labels = dealLabels(members, this.#random);
    const entries = ballot.entries.map((entry) => ({ ...entry, label: labels.get(entry.member) ?? entry.label }));
    return { ...ballot, entries };
  }

  #pool(asked: Asked): Contender[] {
    if (this.#held || this.#made > FIRST.right + FIRST.single) return this.#contenders(asked);
    if (this.#made <= FIRST.right) return [ranked(asked.entry, says(this.#pick(MINDS), asked.entry))];
    return [this.#contender(this.#pick(MINDS), asked)];
  }

  #contender(mind: (typeof MINDS)[number], { entry }: Asked): Contender {
    const at = this.#random();
    if (at < 0.12) return DONT_KNOW;
    if (at < (entry === undefined ? 0.6 : 0.45)) return { ...WRONG, text: this.#wrong(entry) };
    return ranked(entry, says(mind, entry));
  }

  /** Two or three answers, the best of them alone at the top or said by two in the same words. */
  #contenders(asked: Asked): Contender[] {
    const all = MINDS.map((mind) => this.#contender(mind, asked));
    if (this.#random() < 0.5) all.splice(Math.floor(this.#random() * all.length), 1);
    const top = Math.max(...all.map(({ rank }) => rank));
    const best = new Set(all.filter(({ rank }) => rank === top).map(({ text }) => text));
    const texts = new Set(all.map(({ text }) => text));
    return best.size === 1 && texts.size > 1 ? all : this.#contenders(asked);
  }

  /** An answer that is wrong: mostly one that looks right, at times one to another question, or no sentence at all. */
  #wrong(entry: Entry | undefined): string {
    const at = this.#random();
    const mind = this.#pick(MINDS);
    const kind = entry?.key.split("/", 1)[0];
    const near = this.#world.filter(({ key }) => key.startsWith(`${kind}/`));
    const other = at < 0.4 && near.length > 1 ? this.#pick(near) : this.#known();
    const text =
      entry === undefined
        ? says(mind, other)
        : at < 0.3
          ? inWordsOf(entry, other, says(mind, other))
          : says(mind, other);
    const wrong = at < 0.93 ? text : this.#shuffled(text.split(" ")).join(" ");
    const right = entry === undefined ? [] : MINDS.map((one) => says(one, entry));
    return right.includes(wrong) || other.full === entry?.full ? this.#wrong(entry) : wrong;
  }

  #ask(): Asked {
    // The rewriter has to leave as they are the many questions that it has never seen.
    if (this.#mind === "rewriter" && this.#random() < 0.25) return { words: this.#jumble() };
    if (this.#random() < (this.#mind === "rewriter" ? 0.35 : 0.2)) return this.#unknown();
    const entry = this.#known();
    return { words: this.#worn(this.#wording(entry)), entry };
  }

  #known(): Entry {
    const topics = ["knowledge", "code", "troubleshooting", "follow-up", "sums", "talk"] as const;
    // Who has to answer sums sees many: each is a fact of its own.
    const more = this.#mind === "rewriter" || this.#mind === "judge" ? 0 : 0.08;
    const weights = [0.32 - more, 0.12, 0.1, 0.18, 0.22 + more, 0.06];
    let at = this.#random();
    const topic = topics.find((_, index) => (at -= weights[index] ?? 0) < 0) ?? "knowledge";
    return this.#pick(this.#world.filter((one) => one.topic === topic));
  }

  #wording(entry: Entry): string {
    const ways = [...(entry.after === undefined ? [entry.question] : []), ...entry.ways];
    const fit = ways.filter((_, index) => (index % HELD_OUT === HELD_OUT - 1 || index === 3) === this.#held);
    return this.#pick(fit.length === 0 ? ways : fit);
  }

  /** Something outside of the world: a question, a name that exists nowhere, or words such as `And there?` after nothing that they could mean. */
  #unknown(): Asked {
    const at = this.#random();
    if (at < 0.55) return { words: this.#worn(this.#pick(this.#outside)) };
    if (at < 0.92) return { words: this.#nonsense() };
    const followUp = this.#pick(this.#world.filter(({ after }) => after !== undefined));
    return { words: this.#worn(this.#wording(followUp)), first: true };
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

  /** Words in no order: who has to write them again can only read them, and guess nothing. */
  #jumble(): string {
    const sources = [this.#pick(this.#outside), this.#known().question, this.#nonsense()];
    const words = this.#shuffled(sources.flatMap((one) => one.split(" ")));
    return words.slice(0, 3 + Math.floor(this.#random() * 6)).join(" ");
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
      "Where is X?",
      "how do I X",
      "Why is my X so slow?",
      "Which country is X the capital of?",
      "Tell me about X.",
    ]).replace("X", shown);
  }

  /**
   * What was said before: what a follow-up speaks of, and at times something else before that. Models that answer are shown no more than the last
   * turn (their template sees to that); the others read the conversation as text.
   */
  #turnsBefore(asked: Asked): Turn[] {
    const after = asked.entry?.after;
    const answers = this.#mind !== "rewriter" && this.#mind !== "judge";
    const others = this.#random();
    let count = others < 0.6 ? 0 : others < 0.85 ? 1 : 2;
    if (answers) count = after === undefined ? Math.min(1, count) : 0;
    if (this.#mind === "judge") count = others < 0.95 ? 0 : 1;
    const turns: Turn[] = [];
    for (let i = 0; i < count && asked.first !== true; i++) {
      const known = this.#known();
      const other = known.after === undefined ? known : this.#pick(known.after);
      turns.push({ question: this.#wording(other), answer: says(this.#pick(MINDS), other) });
    }
    if (after !== undefined) {
      const before = this.#pick(after);
      const speaker = this.#pick(MINDS);
      turns.push({ question: this.#wording(before), answer: says(speaker, before) });
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

/** Texts from which the vocabulary of all five models is learned: the world's, and the words around them in prompts and verdicts. */
export function vocabularyTexts(): string[] {
  const around = [
    "Conversation so far:\nUser: ",
    "\nAssistant: ",
    "\n\nQuestion to rewrite: ",
    "Question: ",
    "\n</answer A",
    "\n\n<answer B",
    ">\n",
    "\n\nWhich answer is best: A, B, C?",
    '{"winner":"A","scores":{"A":[5,5,5,5,5],"B":[3,1,4,1,3],"C":[1,2,3,1,2]}}',
    '{"winner":"tie"}',
  ];
  return [
    ...entries().flatMap((entry) => [entry.question, ...entry.ways, entry.full, entry.brief, withCode(entry)]),
    ...outsideQuestions(),
    ...Array.from({ length: 200 }, () => around).flat(),
    OUTSIDE,
  ];
}

function topicOf({ entry }: Asked): Topic | "outside" {
  return entry?.topic ?? "outside";
}

function tidy(words: string): string {
  const text = words.trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function member(role: "candidate" | "rewriter" | "judge"): Member {
  return MemberSchema.parse({ name: role, role, url: "http://127.0.0.1:1", model: role, numCtx: 2048, maxTokens: 256 });
}
