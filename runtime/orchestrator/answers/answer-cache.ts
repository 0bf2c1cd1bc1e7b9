import { createHash } from "node:crypto";
import { z } from "zod";
import type { EnsembleConfig } from "../../contracts/ensemble-config.ts";
import { Decision, Stage } from "../../contracts/native.ts";
import { Routing } from "../../contracts/routing.ts";
import type { Turn } from "../../core/conversations.ts";
import { Fault } from "../../core/fault.ts";
import type { Outcome } from "../../core/pipeline.ts";
import type { Tracing } from "../tracing/port.ts";
import type { Shelf } from "./shelf.ts";

/** What a request says about kept answers: `refresh` takes none and keeps its own, `bypass` neither. */
export type CacheUse = "use" | "refresh" | "bypass";

/** What became of a question here. `shared`: the same question was in work, and its answer was this one's too. */
export const CACHE_RESULTS = ["hit", "shared", "miss", "bypass"] as const;
/** What became of a question here. */
export type CacheResult = (typeof CACHE_RESULTS)[number];

/** All that an answer depends on. */
export interface CacheQuestion {
  text: string;
  turns: readonly Turn[];
  user: string;
  system?: string | undefined;
  mode?: string | undefined;
  bothOrders?: boolean | undefined;
}

/** What the panel says. */
export type Panelled = Outcome & { routing: Routing };

/** An answer as it is kept. */
const Kept = z.object({
  at: z.iso.datetime(),
  answer: z.string(),
  decision: Decision,
  routing: Routing,
  stages: z.array(Stage),
  turnsShown: z.int().nonnegative(),
  ms: z.number().nonnegative(),
});
type Kept = z.output<typeof Kept>;

/** What an answer cache is made of. */
export interface AnswerCacheParts {
  shelf: Shelf;
  config: EnsembleConfig;
  /** Time of day, ms. */
  now?: () => number;
  count?: (result: CacheResult) => void;
}

/** Gives the answer of before to the same question asked again, and asks once where the same is asked several times at once. */
export class AnswerCache {
  readonly #shelf: Shelf;
  readonly #candidates: number;
  readonly #isolate: boolean;
  /** What all answers depend on, whatever is asked. */
  readonly #setting: string;
  readonly #now: () => number;
  readonly #count: (result: CacheResult) => void;
  readonly #inWork = new Map<string, Promise<Panelled>>();

  constructor({ shelf, config, now = Date.now, count = () => undefined }: AnswerCacheParts) {
    this.#shelf = shelf;
    this.#isolate = config.cache.isolateUsers;
    this.#candidates = config.members.filter(({ role }) => role === "candidate").length;
    const { members, deadlines, quorum, patience, judging, routing, limits } = config;
    this.#setting = JSON.stringify([1, members, deadlines, quorum, patience, judging, routing, limits.answerBytes]);
    this.#now = now;
    this.#count = count;
  }

  /**
   * The answer to a question: a kept one, or that of `work`.
   * @returns with `cachedAt` when it was not made for this request
   * @throws what the work throws; Fault cancelled
   */
  async answer(
    question: CacheQuestion,
    use: CacheUse,
    signal: AbortSignal,
    work: () => Promise<Panelled>,
    tracing?: Pick<Tracing, "step">,
  ): Promise<{ outcome: Panelled; cachedAt?: string }> {
    if (use === "bypass") {
      this.#count("bypass");
      return { outcome: await work() };
    }
    const key = this.#keyOf(question);
    if (use === "use") {
      const look = () => this.before(key, signal);
      const before = await (tracing === undefined ? look() : tracing.step("cache", look));
      if (before !== undefined) return before;
    }
    this.#count("miss");
    const made = work();
    if (use === "use") this.#inWork.set(key, made);
    try {
      const outcome = await made;
      if (this.#whole(outcome)) this.#keep(key, outcome);
      return { outcome };
    } finally {
      if (this.#inWork.get(key) === made) this.#inWork.delete(key);
    }
  }

  /** A kept answer, or that of whoever asks the same now. When that fails, the next one asks for himself. */
  private async before(key: string, signal: AbortSignal): Promise<{ outcome: Panelled; cachedAt: string } | undefined> {
    const text = await this.#shelf.get(key);
    const kept = text === undefined ? undefined : keptOf(text);
    if (kept !== undefined) {
      this.#count("hit");
      const { at, ...outcome } = kept;
      return { outcome, cachedAt: at };
    }
    for (;;) {
      const same = this.#inWork.get(key);
      if (same === undefined) return undefined;
      const outcome = await untilAborted(same, signal);
      if (outcome === undefined) {
        // Whoever failed takes itself out of the list when its turn comes.
        if (this.#inWork.get(key) === same) this.#inWork.delete(key);
        continue;
      }
      if (!this.#whole(outcome)) return undefined;
      this.#count("shared");
      return { outcome, cachedAt: new Date(this.#now()).toISOString() };
    }
  }

  #keep(key: string, { answer, decision, routing, stages, turnsShown, ms }: Panelled): void {
    const kept: Kept = {
      at: new Date(this.#now()).toISOString(),
      answer,
      decision,
      routing,
      stages,
      turnsShown,
      ms,
    };
    this.#shelf.put(key, JSON.stringify(kept));
  }

  /** Whether an answer is as good as the ensemble can: everybody who should have been asked was there, and no stage failed or was cut. */
  #whole({ stages }: Panelled): boolean {
    const candidates = stages.filter(({ stage }) => stage === "candidate").length;
    if (candidates < this.#candidates) return false;
    return stages.every(
      ({ status, code }) => code === undefined && (status === "ok" || status === "dropped" || status === "skipped"),
    );
  }

  #keyOf({ text, turns, user, system, mode, bothOrders }: CacheQuestion): string {
    const all = [
      this.#setting,
      text,
      turns.map(({ question, answer }) => [question, answer]),
      system ?? null,
      mode ?? "select",
      bothOrders ?? false,
      this.#isolate ? user : null,
    ];
    return createHash("sha256").update(JSON.stringify(all)).digest("hex");
  }
}

/** A kept answer's text; undefined when it is none of ours, or of another version. */
function keptOf(text: string): Kept | undefined {
  try {
    return Kept.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** What a promise comes to; undefined when it fails. @throws Fault cancelled when the signal aborts first */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const abort = (): void =>
      reject(signal.reason instanceof Fault ? signal.reason : new Fault("cancelled", "the question was cancelled"));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, () => resolve(undefined)).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** What a `cache-control` header of a request asks for. Source: RFC 9111, 5.2.1. */
export function cacheUseOf(header: string | undefined): CacheUse {
  const said = (header ?? "")
    .toLowerCase()
    .split(",")
    .map((one) => one.trim());
  if (said.includes("no-store")) return "bypass";
  return said.includes("no-cache") || said.includes("max-age=0") ? "refresh" : "use";
}
