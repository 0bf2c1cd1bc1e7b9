import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { AskAnswer, NativeError } from "../../../../runtime/contracts/native.ts";
import { MEMBERS, type MemberName, type MockEnsemble, startMockEnsemble } from "../../../support/ensemble.ts";
import { MOCK_FAULTS, type MockFault } from "../../../support/mock-model.ts";

const STAGE_MS = 400;
let ensemble: MockEnsemble;

beforeAll(async () => {
  const deadlines = {
    rewriteMs: STAGE_MS,
    candidatesMs: STAGE_MS * 2,
    judgeMs: STAGE_MS,
    totalMs: STAGE_MS * 4,
    connectMs: 200,
    healthMs: 200,
  };
  ensemble = await startMockEnsemble({}, { deadlines, limits: { answerBytes: 65_536 }, breaker: { failures: 1_000 } });
});
afterAll(() => ensemble.close());
afterEach(() => {
  for (const name of MEMBERS) ensemble.mocks[name].behaviour.fault = () => undefined;
});

const CANDIDATES: MemberName[] = ["llama", "qwen", "qwen-small"];

async function ask(question = "Why?") {
  const began = performance.now();
  const response = await fetch(`${ensemble.url}/ask`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ question }),
    signal: AbortSignal.timeout(STAGE_MS * 10),
  });
  return {
    status: response.status,
    body: await response.json(),
    ms: performance.now() - began,
    headers: response.headers,
  };
}

/** How a stage ends under each fault; the status of what is not judged is the same in every role. */
const ENDS: Record<MockFault, string[]> = {
  stall: ["timeout"],
  "stall-mid": ["cut", "dropped"],
  reset: ["failed"],
  "reset-mid": ["failed"],
  "eof-mid": ["failed"],
  "500": ["failed"],
  "503": ["failed"],
  "404": ["failed"],
  empty: ["ok", "dropped"],
  garbage: ["failed"],
  "garbage-mid": ["failed"],
  "wrong-shape": ["failed"],
  "half-json": ["failed"],
  "error-line": ["failed"],
  endless: ["cut", "dropped"],
};

describe.each(MEMBERS)("with %s failing", (name) => {
  test.each(MOCK_FAULTS)("by %s the ensemble answers within its time", async (fault) => {
    ensemble.mocks[name].behaviour.fault = () => fault;
    const { status, body, ms } = await ask();
    expect(status).toBe(200);
    const { reply, stages } = AskAnswer.parse(body);
    expect(reply).toMatch(/^An answer by /);
    // OpenAI streams are not broken by a foreign line, only by never ending.
    const ends =
      name === "qwen" && (fault === "garbage" || fault === "garbage-mid" || fault === "wrong-shape")
        ? ["failed"]
        : ENDS[fault];
    expect(ends).toContain(stages.find(({ member }) => member === name)?.status);
    expect(ms).toBeLessThan(STAGE_MS * 4);
  });
});

describe("with every candidate failing", () => {
  test.each(
    MOCK_FAULTS.filter((fault) => fault !== "stall-mid" && fault !== "endless"),
  )("by %s there is one typed error that names them", async (fault) => {
    for (const name of CANDIDATES) ensemble.mocks[name].behaviour.fault = () => fault;
    const { status, body, ms, headers } = await ask();
    expect(status).toBe(503);
    const { error } = NativeError.parse(body);
    expect(error.code).toBe("no_answer");
    for (const name of CANDIDATES) expect(error.message).toContain(name);
    expect(error.stages?.filter(({ stage }) => stage === "candidate")).toHaveLength(3);
    expect(headers.get("retry-after")).toBe("5");
    expect(ms).toBeLessThan(STAGE_MS * 4);
  });

  test.each([
    "stall-mid",
    "endless",
  ] as const)("by %s the unfinished words are used, as there are no others", async (fault) => {
    for (const name of CANDIDATES) ensemble.mocks[name].behaviour.fault = () => fault;
    const { status, body } = await ask();
    expect(status).toBe(200);
    expect(AskAnswer.parse(body).reply).toMatch(/^An/);
  });
});

describe("a broken connection", () => {
  test.each(["reset", "reset-mid", "eof-mid"] as const)("(%s) is tried once more on a fresh one", async (fault) => {
    const { llama } = ensemble.mocks;
    const before = llama.calls.length;
    llama.behaviour.fault = (_, number) => (number === before ? fault : undefined);
    const { body } = await ask();
    const { stages, decision } = AskAnswer.parse(body);
    expect(stages.find(({ member }) => member === "llama")).toMatchObject({ status: "ok", attempts: 2 });
    expect(decision.winner).toBe("llama");
  });
});

describe("cancellation", () => {
  test("closes the connections of all models within 50 ms of the client's going", async () => {
    for (const name of MEMBERS) ensemble.mocks[name].behaviour.fault = () => "stall";
    const before = CANDIDATES.slice(0, 2).map((name) => ensemble.mocks[name].calls.length);
    const client = new AbortController();
    const asked = fetch(`${ensemble.url}/ask`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"question":"Why?"}',
      signal: client.signal,
    }).catch((error: unknown) => error);
    await expect
      .poll(() => CANDIDATES.slice(0, 2).every((name, i) => ensemble.mocks[name].calls.length > (before[i] ?? 0)))
      .toBe(true);
    const left = performance.now();
    client.abort();
    await asked;
    for (const name of CANDIDATES.slice(0, 2)) {
      const call = ensemble.mocks[name].calls.at(-1);
      await expect.poll(() => call?.closedEarly, { interval: 2, timeout: 1_000 }).toBe(true);
      expect((call?.closedAtMs ?? Infinity) - left).toBeLessThan(50);
    }
    await expect.poll(() => ensemble.orchestrator.ensemble.inFlight).toBe(0);
  });
});
