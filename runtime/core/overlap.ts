import { estimateTokens } from "./budget.ts";
import type { Turn } from "./conversations.ts";
import { type Ballot, dealLabels, judgePrompt, nonceOf } from "./judging.ts";
import type { Member } from "../contracts/ensemble-config.ts";
import type { ModelCall, Ports } from "./ports.ts";
import { Fault } from "./fault.ts";
import { endOf, passageFor } from "./passage.ts";
import { unfitness } from "./sift.ts";
import { withoutThoughts } from "./words.ts";

/** Growth of the prompt, tokens, that is worth another call: below it the calls cost more than they save. */
const GROWTH_TOKENS = 24;

/** What a feed is about. */
export interface FeedParts {
  judge: Member;
  /** Members that may answer, in the plan's order. */
  candidates: readonly string[];
  question: { text: string; turns: readonly Turn[] };
  ports: Pick<Ports, "call" | "random" | "pods" | "traffic">;
  /** Of the question: the verdict's call must go to the pod that has read all this. */
  affinity: string;
}

/**
 * Feeds the judge while candidates still write: each call of one token makes its server read the prompt so far, and as the prompt only
 * ever grows at its end, the verdict's own call finds most of it read (a runner keeps what it has read of a growing prompt).
 * Labels are dealt at random before anybody has answered; answers stand in the order in which they were finished.
 * A feed that fails only makes the verdict as slow as without it.
 */
export class JudgeFeed {
  readonly #parts: FeedParts;
  readonly #nonce: string;
  readonly #labels: ReadonlyMap<string, string>;
  readonly #finished: { member: string; text: string }[] = [];
  readonly #ended = new Set<string>();
  readonly #writing = new Map<string, string>();
  readonly #stop = new AbortController();
  #feeding = false;
  #fedTokens = 0;
  #calls = 0;

  constructor(parts: FeedParts) {
    this.#parts = parts;
    this.#nonce = nonceOf(() => parts.ports.random());
    this.#labels = dealLabels(parts.candidates, () => parts.ports.random());
  }

  /** Has the judge read the conversation and the question, before anybody has answered. */
  start(): void {
    this.#feed();
  }

  /** Calls made to feed it. */
  get calls(): number {
    return this.#calls;
  }

  /** A candidate has written so much. */
  wrote(member: string, text: string): void {
    this.#writing.set(member, text);
    this.#feed();
  }

  /** A candidate has ended; `text` is undefined when it has no answer to judge. */
  finished(member: string, text: string | undefined): void {
    this.#ended.add(member);
    if (text !== undefined && unfitness({ member, text, cut: false }) === undefined)
      this.#finished.push({ member, text });
    this.#feed();
  }

  /** Ends the feeding and gives the ballot of those that are judged: what was fed comes first and in the order in which it was fed. */
  ballot(fit: readonly { member: string; text: string }[]): Ballot {
    this.close();
    const order = new Map(this.#finished.map(({ member }, index) => [member, index]));
    const rank = (member: string): number => order.get(member) ?? this.#finished.length;
    const entries = fit
      .toSorted((a, b) => rank(a.member) - rank(b.member))
      .flatMap(({ member, text }) => {
        const label = this.#labels.get(member);
        return label === undefined ? [] : [{ label, member, text }];
      });
    return { nonce: this.#nonce, entries, places: this.#parts.candidates.length };
  }

  /** Ends the feeding. */
  close(): void {
    this.#stop.abort();
  }

  /** Feeds what there is, one call at a time. */
  #feed(): void {
    if (this.#feeding || this.#stop.signal.aborted || this.#ended.size === this.#parts.candidates.length) return;
    const entries = this.#known();
    const { judge, question } = this.#parts;
    const ballot = { nonce: this.#nonce, entries, places: this.#parts.candidates.length };
    const { messages } = judgePrompt(judge, question.text, question.turns, ballot, "open");
    const tokens = messages.reduce((sum, { content }) => sum + estimateTokens(content), 0);
    if (tokens < this.#fedTokens + GROWTH_TOKENS) return;
    this.#fedTokens = tokens;
    this.#feeding = true;
    this.#calls++;
    this.#read({ member: judge, messages, maxTokens: 1, temperature: 0, affinity: this.#parts.affinity }).then(
      () => {
        this.#feeding = false;
        this.#feed();
      },
      () => this.close(),
    );
  }

  /** What the prompt can hold for good: the finished answers, and the words so far of the last one that still writes. */
  #known(): { label: string; member: string; text: string }[] {
    const open = this.#parts.candidates.filter((member) => !this.#ended.has(member));
    const [last] = open;
    const writing =
      open.length === 1 && last !== undefined
        ? [{ member: last, text: withoutThoughts(this.#writing.get(last) ?? "") }]
        : [];
    return [...this.#finished, ...writing.filter(({ text }) => text !== "")].flatMap(({ member, text }) => {
      const label = this.#labels.get(member);
      return label === undefined ? [] : [{ label, member, text }];
    });
  }

  async #read(call: ModelCall): Promise<void> {
    const found = await passageFor(call, this.#parts.ports);
    if (found instanceof Fault) throw found;
    const { passage } = found;
    const { signal } = this.#stop;
    try {
      if (signal.aborted) return;
      for await (const piece of this.#parts.ports.call(call, signal, passage.pod)) {
        if (piece.done === undefined) continue;
        passage.ended("ok");
        return;
      }
    } catch (error) {
      passage.ended(signal.aborted ? "abandoned" : endOf(error));
      throw error;
    } finally {
      passage.ended("abandoned");
    }
  }
}
