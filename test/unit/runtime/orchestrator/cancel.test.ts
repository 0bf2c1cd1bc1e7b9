import { afterEach, describe, expect, test } from "vitest";
import type { EnsembleConfigInput } from "../../../../runtime/contracts/ensemble-config.ts";
import { type MemberName, type MockEnsemble, startMockEnsemble } from "../../../support/ensemble.ts";
import type { MockBehaviour } from "../../../support/mock-model.ts";

/** Longest time until a model's server sees the connection close, ms. The aim is 50, measured in the benchmark; a busy machine has more. */
const SEEN_MS = 2_000;

let running: MockEnsemble | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});

async function start(
  behaviours: Partial<Record<MemberName, Partial<MockBehaviour>>>,
  config: Omit<EnsembleConfigInput, "members"> = {},
) {
  running = await startMockEnsemble(behaviours, { judging: { overlap: false }, ...config });
  return running;
}

/** When a member's first call was closed by the service, `performance.now()`. */
async function closedAt(ensemble: MockEnsemble, member: MemberName): Promise<number> {
  await expect.poll(() => ensemble.mocks[member].calls[0]?.closedAtMs, { timeout: 10_000 }).toBeDefined();
  return ensemble.mocks[member].calls[0]?.closedAtMs ?? Number.NaN;
}

const ask = (ensemble: MockEnsemble, signal?: AbortSignal): Promise<Response> =>
  fetch(`${ensemble.url}/ask`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ question: "Why so?" }),
    ...(signal === undefined ? {} : { signal }),
  });

describe("a model's server sees its connection close", () => {
  test.each([["stall"], ["endless"]] as const)("when the client goes away (%s)", async (fault) => {
    const ensemble = await start({ llama: { fault: () => fault }, qwen: { fault: () => fault } });
    const client = new AbortController();
    const asked = ask(ensemble, client.signal).catch(() => undefined);
    await expect
      .poll(() => ensemble.mocks.llama.calls.length + ensemble.mocks.qwen.calls.length, { timeout: 10_000 })
      .toBe(2);
    const gone = performance.now();
    client.abort();
    for (const member of ["llama", "qwen"] as const)
      expect((await closedAt(ensemble, member)) - gone).toBeLessThan(SEEN_MS);
    await asked;
  });

  test("when its deadline has come", async () => {
    const candidatesMs = 300;
    const ensemble = await start({ llama: { fault: () => "stall" } }, { deadlines: { candidatesMs } });
    const began = performance.now();
    expect((await ask(ensemble)).status).toBe(200);
    expect((await closedAt(ensemble, "llama")) - began).toBeLessThan(candidatesMs + SEEN_MS);
  });

  test("when enough others have answered", async () => {
    const ensemble = await start({ llama: { fault: () => "stall" } }, { patience: { leastMs: 100, ratio: 0 } });
    const began = performance.now();
    expect((await ask(ensemble)).status).toBe(200);
    expect((await closedAt(ensemble, "llama")) - began).toBeLessThan(100 + SEEN_MS);
  });

  test("when a second call beside it was faster", async () => {
    const ensemble = await start(
      { llama: { fault: (_, number) => (number === 3 ? "stall" : undefined) } },
      {
        hedge: { samples: 1, budgetRatio: 1, percentile: 50 },
        deadlines: { candidatesMs: 30_000 },
        patience: { leastMs: 30_000, ratio: 0 },
      },
    );
    for (let i = 0; i < 4; i++) expect((await ask(ensemble)).status).toBe(200);
    const stalled = ensemble.mocks.llama.calls.filter(({ closedEarly }) => closedEarly);
    expect(stalled.length).toBeGreaterThanOrEqual(1);
  });
});
