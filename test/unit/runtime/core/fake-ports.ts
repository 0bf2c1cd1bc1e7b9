import type { ModelCall, Piece, Ports } from "../../../../runtime/core/ports.ts";

/** A generator of numbers from 0 to 1 that is the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** What a fake model does: says a text after so many ms of fake time, throws, or never ends. */
export type Act = { after: number; say: string; tokens?: number } | { after: number; fail: Error } | { hang: true };

/** Ports with a clock of their own, on which nothing waits for real. */
export interface FakeWorld {
  ports: Ports;
  calls: { call: ModelCall; atMs: number; aborted: boolean }[];
  now(): number;
}

interface Timer {
  at: number;
  fire: () => void;
}

/** A world in which each call acts as told. Its clock jumps to the next timer whenever nothing else can happen. */
export function fakeWorld(act: (call: ModelCall, number: number) => Act, seed = 1): FakeWorld {
  let clock = 0;
  let timers: Timer[] = [];
  let scheduled = false;
  const calls: FakeWorld["calls"] = [];
  const step = (): void => {
    scheduled = false;
    const next = timers.toSorted((a, b) => a.at - b.at)[0];
    if (next === undefined) return;
    timers = timers.filter((timer) => timer !== next);
    clock = Math.max(clock, next.at);
    next.fire();
    schedule();
  };
  // Only after all promises have settled may time go on.
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(step);
  };
  const timer = (ms: number, fire: () => void): (() => void) => {
    const one = { at: clock + ms, fire };
    timers.push(one);
    schedule();
    return () => {
      timers = timers.filter((other) => other !== one);
    };
  };
  const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
      timer(ms, resolve);
    });
  async function* call(made: ModelCall, signal: AbortSignal): AsyncIterable<Piece> {
    const record = { call: made, atMs: clock, aborted: false };
    signal.addEventListener("abort", () => {
      record.aborted = true;
    });
    const acted = act(made, calls.push(record) - 1);
    if ("hang" in acted) await new Promise(() => undefined);
    if ("after" in acted) await sleep(acted.after, signal);
    if ("fail" in acted) throw acted.fail;
    if (!("say" in acted)) return;
    yield { text: acted.say };
    yield { text: "", done: { reason: "stop", promptTokens: 5, answerTokens: acted.tokens ?? 3 } };
  }
  return { ports: { call, now: () => clock, random: seeded(seed), timer }, calls, now: () => clock };
}
