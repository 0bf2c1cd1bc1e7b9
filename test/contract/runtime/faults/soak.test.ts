// Some thousand questions to one process while its models fail at random: each ends in an answer or one typed error, and nothing of them is left.
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { AskAnswer, NativeError } from "../../../../runtime/contracts/native.ts";
import { MEMBERS } from "../../../support/ensemble.ts";
import {
  DEADLINES,
  type FaultyEnsemble,
  inFlight,
  openBreakers,
  startFaultyEnsemble,
  strike,
} from "../../../support/faults/faulty-ensemble.ts";
import { isUnreachable, STRIKES } from "../../../support/faults/matrix.ts";
import { seeded } from "../../../unit/runtime/core/fake-ports.ts";

const QUESTIONS = 2_000;
/** Questions before the heap is looked at: caches and conversations kept are full by then. */
const WARM = 400;
const AT_ONCE = 30;
/** Questions between two looks at the heap. */
const ROUND = 400;
/** What a busy machine may take longer than the deadline, ms. */
const SLACK_MS = 10_000;
/**
 * Most growth of the heap a question, bytes, by the median slope of all pairs of rounds. A question that stayed would be several kilobytes: its
 * prompts and answers alone are three.
 */
const MOST_BYTES = 2_048;
const KEPT = STRIKES.filter((how) => !isUnreachable(how));

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;
const resources = (): string[] =>
  process.getActiveResourcesInfo().filter((one) => /TCP|Timeout|Immediate|GetAddrInfo/.test(one));

/** How one question ended: `answer`, the code of a typed error, `cancelled`, or what was wrong. */
async function ask(ensemble: FaultyEnsemble, cancelMs: number | undefined, at: number): Promise<string> {
  const patience = AbortSignal.timeout(DEADLINES.totalMs + SLACK_MS);
  const leave = new AbortController();
  const leaves = cancelMs === undefined ? undefined : setTimeout(() => leave.abort(), cancelMs);
  try {
    const response = await fetch(`${ensemble.url}/ask`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ question: `Why ${at}?` }),
      signal: AbortSignal.any([patience, leave.signal]),
    });
    const body: unknown = await response.json();
    if (response.status === 200) return AskAnswer.safeParse(body).success ? "answer" : "wrong: no answer of the API";
    const typed = NativeError.safeParse(body);
    return typed.success ? typed.data.error.code : `wrong: ${response.status} without a typed error`;
  } catch (error) {
    if (leave.signal.aborted) return "cancelled";
    return patience.aborted ? "wrong: hangs" : `wrong: ${String(error)}`;
  } finally {
    clearTimeout(leaves);
  }
}

/** Has a member chosen at random fail at random, or be well. */
function meddle(ensemble: FaultyEnsemble, random: () => number): void {
  for (const name of MEMBERS) if (random() < 0.5) strike(ensemble, name, undefined);
  const name = MEMBERS[Math.floor(random() * MEMBERS.length)];
  if (name !== undefined) strike(ensemble, name, KEPT[Math.floor(random() * KEPT.length)]);
}

/** The middle of the slopes between all pairs of values one apart (Theil and Sen): a single odd value does not sway it. */
function slope(values: readonly number[]): number {
  const slopes = values
    .flatMap((a, i) => values.slice(i + 1).map((b, j) => (b - a) / (j + 1)))
    .toSorted((a, b) => a - b);
  return slopes[Math.floor(slopes.length / 2)] ?? 0;
}

test("a process whose models fail at random for a long time", { timeout: 300_000 }, async () => {
  const before = resources().length;
  const random = seeded(11);
  // Few conversations are kept, so that these are not what grows.
  const ensemble = await startFaultyEnsemble("ollama", undefined, { memory: { conversations: 20 } });
  const ended = new Map<string, number>();
  const heaps: number[] = [];
  for (let asked = 0; asked < QUESTIONS; asked += ROUND) {
    let left = ROUND;
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (left-- > 0) {
          if (random() < 0.3) meddle(ensemble, random);
          const how = await ask(ensemble, random() < 0.05 ? random() * 100 : undefined, asked + left);
          ended.set(how, (ended.get(how) ?? 0) + 1);
        }
      }),
    );
    for (const name of MEMBERS) {
      strike(ensemble, name, undefined);
      // The mocks note every call, which is the test's own.
      ensemble.mocks[name].calls.length = 0;
    }
    const open = (): number => MEMBERS.reduce((sum, name) => sum + ensemble.faulty[name].struckOpen(), 0);
    for (let tries = 0; tries < 1_000; tries++) {
      if ((await inFlight(ensemble)).length === 0 && open() === 0) break;
      await delay(10);
    }
    expect(await inFlight(ensemble)).toEqual([]);
    expect(open()).toBe(0);
    gc();
    if (asked + ROUND >= WARM) heaps.push(process.memoryUsage().heapUsed);
  }
  const wrong = [...ended].filter(([how]) => how.startsWith("wrong") || how === "internal");
  expect(wrong).toEqual([]);
  expect(slope(heaps) / ROUND, `heaps: ${heaps.join()}`).toBeLessThan(MOST_BYTES);
  // Some answered though models fail all the time; how many is the machine's speed, as the deadlines are short.
  expect(ended.get("answer") ?? 0, JSON.stringify([...ended])).toBeGreaterThan(QUESTIONS / 20);
  // Well again, it answers and leaves nobody alone.
  for (let tries = 0; tries < 200; tries++) {
    await ask(ensemble, undefined, tries);
    if ((await openBreakers(ensemble)).length === 0) break;
  }
  expect(await openBreakers(ensemble)).toEqual([]);
  await ensemble.close();
  for (let tries = 0; tries < 1_000 && resources().length > before; tries++) await delay(10);
  expect(resources().length, resources().join()).toBeLessThanOrEqual(before);
});
