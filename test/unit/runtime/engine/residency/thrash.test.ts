import fc from "fast-check";
import { expect, test } from "vitest";
import { Residency } from "../../../../../runtime/engine/residency/residency.ts";
import { createLogger } from "../../../../../runtime/support/log.ts";
import { fakeBackend, type FakeModel } from "../../../../support/fake-backend.ts";
import { FakeClock } from "../../../../support/fake-clock.ts";

const log = createLogger("test", "silent");
const NEVER = Number.POSITIVE_INFINITY;
const RUN_MS = 200_000;

interface Load {
  /** Models of which no two fit together. */
  models: number;
  dwellMs: number;
  fairnessMs: number;
  loadMs: number;
  /** Longest answer. */
  answerMs: number;
  /** Callers of each model, one question after the other. */
  callers: number;
  /** Pause of a caller between two questions; 0: some answer is always being written. */
  pauseMs: number;
}

/** What came of a load. */
interface Outcome {
  loads: number;
  longestWaitMs: number;
  answers: number[];
  mostHeld: number;
}

async function run({ models, dwellMs, fairnessMs, loadMs, answerMs, callers, pauseMs }: Load): Promise<Outcome> {
  const clock = new FakeClock();
  const names = Array.from({ length: models }, (_, at) => `m${at}`);
  const shelf = Object.fromEntries(
    names.map((name): [string, FakeModel] => [name, { digest: name, bytes: 6, loadMs }]),
  );
  const backend = fakeBackend(clock, shelf);
  const rules = { memoryBytes: 10, dwellMs, fairnessMs, waitMs: NEVER, keepAliveMs: NEVER };
  const residency = new Residency(backend, log, { clock, rules });
  const outcome: Outcome = { loads: 0, longestWaitMs: 0, answers: names.map(() => 0), mostHeld: 0 };
  let ended = false;
  const caller = async (at: number, number: number): Promise<void> => {
    await clock.sleep(number * 7);
    while (!ended) {
      const askedMs = clock.nowMs();
      const lease = await residency.lease(`m${at}`);
      outcome.longestWaitMs = Math.max(outcome.longestWaitMs, clock.nowMs() - askedMs);
      outcome.mostHeld = Math.max(outcome.mostHeld, backend.held());
      await clock.sleep(answerMs - ((number * 13) % Math.max(1, answerMs / 2)));
      lease.release();
      outcome.answers[at] = (outcome.answers[at] ?? 0) + 1;
      await clock.sleep(pauseMs);
    }
  };
  names.forEach((name, at) => {
    residency.register(name);
    for (let number = 0; number < callers; number++) caller(at, number).catch(() => undefined);
  });
  await clock.advance(RUN_MS);
  ended = true;
  outcome.loads = backend.events.filter(({ what }) => what === "load").length;
  await residency.close();
  return outcome;
}

/** What the rules promise: each model is there for its minimum after each load; who waits is next after at most the others. */
function promised({ models, dwellMs, fairnessMs, loadMs, answerMs }: Load): { loads: number; waitMs: number } {
  const turnMs = loadMs + Math.max(dwellMs, fairnessMs) + answerMs;
  return { loads: RUN_MS / (dwellMs + loadMs) + 2, waitMs: (models - 1) * turnMs + turnMs + loadMs };
}

test("two models that do not fit together, each always busy: few swaps, and nobody starves", async () => {
  const load: Load = {
    models: 2,
    dwellMs: 10_000,
    fairnessMs: 20_000,
    loadMs: 2_000,
    answerMs: 1_000,
    callers: 4,
    pauseMs: 0,
  };
  const { loads, longestWaitMs, answers, mostHeld } = await run(load);
  expect(mostHeld).toBeLessThanOrEqual(10);
  expect(loads).toBeGreaterThanOrEqual(6);
  // Whoever is always busy gives way only to fairness: a turn is 20 s and more.
  expect(loads).toBeLessThanOrEqual(RUN_MS / load.fairnessMs + 2);
  expect(longestWaitMs).toBeGreaterThan(20_000);
  expect(longestWaitMs).toBeLessThanOrEqual(promised(load).waitMs);
  // Each has its half.
  const [a = 0, b = 0] = answers;
  expect(Math.min(a, b) / Math.max(a, b)).toBeGreaterThan(0.7);
});

test("with pauses the idle one goes after its minimum, so turns are shorter", async () => {
  const load: Load = {
    models: 2,
    dwellMs: 5_000,
    fairnessMs: 60_000,
    loadMs: 1_000,
    answerMs: 200,
    callers: 1,
    pauseMs: 300,
  };
  const { loads, longestWaitMs } = await run(load);
  expect(loads).toBeGreaterThan(RUN_MS / 10_000);
  expect(loads).toBeLessThanOrEqual(promised(load).loads);
  expect(longestWaitMs).toBeLessThan(10_000);
});

test("any load: swaps and waits stay under what the rules promise, and memory under the budget", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record<Load>({
        models: fc.integer({ min: 2, max: 4 }),
        dwellMs: fc.integer({ min: 1_000, max: 10_000 }),
        fairnessMs: fc.integer({ min: 1_000, max: 20_000 }),
        loadMs: fc.integer({ min: 4, max: 3_000 }),
        answerMs: fc.integer({ min: 50, max: 2_000 }),
        callers: fc.integer({ min: 1, max: 3 }),
        pauseMs: fc.constantFrom(1, 50, 1_000, 15_000),
      }),
      async (load) => {
        const { loads, longestWaitMs, answers, mostHeld } = await run(load);
        expect(mostHeld).toBeLessThanOrEqual(10);
        expect(loads).toBeLessThanOrEqual(promised(load).loads);
        expect(longestWaitMs).toBeLessThanOrEqual(promised(load).waitMs);
        expect(Math.min(...answers)).toBeGreaterThan(0);
      },
    ),
    { numRuns: 40 },
  );
}, 120_000);
