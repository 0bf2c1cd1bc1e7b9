// Every fault of a model server, in every role, at every time: the question ends in an answer or one typed error within its deadline, and
// nothing is left of it. A rejection that nobody handles fails the run by itself.
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FAULTS as CODES, type FaultCode } from "../../../../runtime/contracts/errors.ts";
import type { MemberApi } from "../../../../runtime/contracts/ensemble-config.ts";
import { AskAnswer, NativeError } from "../../../../runtime/contracts/native.ts";
import { MEMBERS, type MemberName } from "../../../support/ensemble.ts";
import {
  ANSWER_BYTES,
  ANSWERS,
  DEADLINES,
  type FaultyEnsemble,
  inFlight,
  openBreakers,
  startFaultyEnsemble,
  strike,
} from "../../../support/faults/faulty-ensemble.ts";
import { type FAULTS, isUnreachable, type Strike, STRIKES } from "../../../support/faults/matrix.ts";
import { callAsClient, type ClientApi } from "../../../support/faults/outcome.ts";

/** What a machine that does other things as well may take longer than the deadline, ms. */
const SLACK_MS = 5_000;
/** How long an ensemble may take to be well again, ms. */
const HEAL_MS = 20_000;
/** How long the ensembles may take to start and to stop, ms. */
const HOOK_MS = 120_000;
/**
 * Share of the cells of one member that may be tried twice. A machine that is busy with other things lets models miss their deadlines that
 * were not struck; what is wrong by itself is so in both tries, or in more cells than this.
 */
const SECOND_TRIES = 0.1;
const APIS = ["ollama", "openai"] as const;
/** Cells tried at once, each on an ensemble of its own. */
const AT_ONCE = 10;

const resources = (): string[] =>
  process.getActiveResourcesInfo().filter((one) => /TCP|Timeout|Immediate|GetAddrInfo/.test(one));

describe.each(APIS)("models that speak the %s API", (api) => {
  let pool: FaultyEnsemble[] = [];
  let before: string[] = [];
  beforeAll(async () => {
    before = resources();
    pool = await Promise.all(Array.from({ length: AT_ONCE }, () => startFaultyEnsemble(api)));
    await Promise.all(pool.map(heal));
  }, HOOK_MS);
  afterAll(async () => {
    await Promise.all(pool.map((one) => one.close()));
    // Whatever a cell had left would still be there: a socket, a timer, a look-up.
    for (let tries = 0; tries < 1_000 && resources().length > before.length; tries++) await delay(10);
    expect(resources().length, resources().join()).toBeLessThanOrEqual(before.length);
  }, HOOK_MS);

  test.each(MEMBERS)("the ensemble with %s failing", { timeout: 240_000 }, async (name) => {
    const problems = await everyStrike(pool, api, name, (ensemble, how) => askEnsemble(ensemble, name, how));
    expect(problems).toEqual([]);
  });

  describe.each(APIS)("one model through, to clients of the %s API", (client) => {
    test.each([true, false])("streamed: %s", { timeout: 240_000 }, async (stream) => {
      const problems = await everyStrike(pool, api, "llama", (ensemble, how) =>
        askModel(ensemble, "llama", how, client, stream),
      );
      expect(problems).toEqual([]);
    });
  });
});

/** Tries every strike on a member, some at once. @returns what was wrong, by cell */
async function everyStrike(
  pool: readonly FaultyEnsemble[],
  api: MemberApi,
  name: MemberName,
  ask: (ensemble: FaultyEnsemble, how: Strike) => Promise<string[]>,
): Promise<string[]> {
  const left = [...STRIKES];
  const problems: string[] = [];
  let secondTries = Math.floor(STRIKES.length * SECOND_TRIES);
  const once = async (how: Strike, ensemble: FaultyEnsemble): Promise<string[]> => {
    strike(ensemble, name, how);
    const found = await ask(ensemble, how);
    strike(ensemble, name, undefined);
    return [...found, ...(await leftovers(ensemble, name))];
  };
  const cell = async (how: Strike, ensemble: FaultyEnsemble): Promise<void> => {
    let found = await once(how, ensemble);
    if (found.length > 0 && secondTries-- > 0) found = await once(how, ensemble);
    problems.push(...found.map((what) => `${name}, ${how.fault}, ${how.phase}: ${what}`));
  };
  await Promise.all(
    pool.map(async (ensemble) => {
      for (let how = left.pop(); how !== undefined; how = left.pop()) {
        if (isUnreachable(how)) {
          const own = await startFaultyEnsemble(api, { name, fault: how.fault });
          await cell(how, own);
          await own.close();
        } else {
          await cell(how, ensemble);
          await heal(ensemble).catch(() => problems.push(`${name}, ${how?.fault}, ${how?.phase}: does not recover`));
        }
      }
    }),
  );
  return problems;
}

/** Asks the ensemble while a member fails: the others answer. */
async function askEnsemble(ensemble: FaultyEnsemble, name: MemberName, how: Strike): Promise<string[]> {
  const began = performance.now();
  const signal = AbortSignal.timeout(DEADLINES.totalMs + SLACK_MS);
  let status: number;
  let body: unknown;
  try {
    const response = await fetch(`${ensemble.url}/ask`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ question: "Why?" }),
      signal,
    });
    status = response.status;
    body = await response.json();
  } catch (error) {
    return [signal.aborted ? "hangs" : `broke: ${String(error)}`];
  }
  const ms = performance.now() - began;
  const answer = AskAnswer.safeParse(body);
  if (status !== 200 || !answer.success) {
    const typed = NativeError.safeParse(body);
    return [`no answer: ${status} ${typed.success ? typed.data.error.message : JSON.stringify(body)}`];
  }
  const problems: string[] = [];
  const { reply, stages } = answer.data;
  const candidates = ["llama", "qwen", "qwen-small"] as const;
  if (!candidates.some((one) => isWhole(reply, one, how)))
    problems.push(`the reply is nobody's whole answer: ${reply}`);
  const stage = stages.find(({ member }) => member === name);
  if (stage?.status === "ok" && name !== "judge" && !isWhole(stage.text, name, how))
    problems.push(`taken as whole: ${stage.text.slice(0, 80)}`);
  if (stage?.status === "ok" && MUST_FAIL.has(how.fault)) problems.push("taken as well");
  if (stage !== undefined && (stage.status === "failed" || stage.status === "timeout")) {
    if (stage.code === undefined || stage.reason === undefined) problems.push(`${stage.status} without a typed reason`);
    const open = await openBreakers(ensemble);
    const failed = stages.filter((one) => one.status === "failed" || one.status === "timeout");
    const healthy = open.filter((one) => !failed.some(({ member }) => member === one));
    // Who was only slower than the others has not failed.
    const hurried = stage.reason?.includes("the others had answered") === true;
    if ((!open.includes(name) && !hurried) || healthy.length > 0)
      problems.push(`open breakers: ${open.join() || "none"}`);
  }
  if (ms > DEADLINES.totalMs + SLACK_MS) problems.push(`took ${ms} ms`);
  return problems;
}

/** Faults after which nothing of a stage can be right. Another model's name is none of them: servers know models by other names than their callers. */
const MUST_FAIL: ReadonlySet<string> = new Set<(typeof FAULTS)[number]>([
  "timeout",
  "reset_peer",
  "limit_data",
  "refuse",
  "500",
  "503",
  "half-json",
  "endless",
  "gzip-bomb",
  "dns",
]);

/** Whether words are all that a member said, or all that the wrong model said in its place. */
function isWhole(text: string, name: Exclude<MemberName, "judge">, how: Strike): boolean {
  return text === ANSWERS[name] || (how.fault === "wrong-model" && /^(The )?The first words ?$/.test(text));
}

/** Asks one model by its name while it fails: its whole answer, or one typed error. */
async function askModel(
  ensemble: FaultyEnsemble,
  name: "llama",
  how: Strike,
  api: ClientApi,
  stream: boolean,
): Promise<string[]> {
  const outcome = await callAsClient({
    baseUrl: ensemble.url,
    api,
    model: name,
    question: "Why?",
    stream,
    patienceMs: DEADLINES.totalMs + SLACK_MS,
  });
  if (outcome.kind === "answer") {
    // What never ends is ended at the longest answer, which the last part says by its reason.
    if (how.fault === "endless" && outcome.text.length >= ANSWER_BYTES / 2) return [];
    if (!isWhole(outcome.text, name, how)) return [`taken as whole: ${outcome.text.slice(0, 80)}`];
    return MUST_FAIL.has(how.fault) ? ["taken as well"] : [];
  }
  if (outcome.kind !== "error") return [`${outcome.kind}: ${JSON.stringify(outcome).slice(0, 300)}`];
  const problems: string[] = [];
  const code = CODES[outcome.code as FaultCode] as (typeof CODES)[FaultCode] | undefined;
  // A server's own error is passed on as it stands, its code too; ours have one of the table.
  if (code !== undefined && outcome.status !== 200 && outcome.status !== code.status)
    problems.push(`status ${outcome.status} with ${outcome.code}`);
  if (outcome.code === "internal") problems.push("internal");
  if (!stream && outcome.status === 200) problems.push("an error with status 200");
  if (outcome.message.length > 500 || /\bat .*\.ts:|node_modules/.test(outcome.message))
    problems.push(`message: ${outcome.message.slice(0, 200)}`);
  return problems;
}

/** What a cell left behind. */
async function leftovers(ensemble: FaultyEnsemble, name: MemberName): Promise<string[]> {
  const left = async (): Promise<string[]> => [
    ...(await inFlight(ensemble)).map((gauge) => `in flight: ${gauge}`),
    ...(ensemble.faulty[name].struckOpen() === 0 ? [] : [`${ensemble.faulty[name].struckOpen()} sockets open`]),
  ];
  let found = await left();
  for (let tries = 0; tries < 300 && found.length > 0; tries++) {
    await delay(10);
    found = await left();
  }
  return found;
}

/** Once the fault is over every member answers again and every breaker is closed. */
async function heal(ensemble: FaultyEnsemble): Promise<void> {
  const until = performance.now() + HEAL_MS;
  for (;;) {
    const response = await fetch(`${ensemble.url}/ask`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ question: "Why?" }),
    });
    const answer = AskAnswer.safeParse(await response.json());
    const well = answer.success && answer.data.stages.filter(({ status }) => status === "ok").length === MEMBERS.length;
    if (well && (await openBreakers(ensemble)).length === 0) return;
    if (performance.now() > until) throw new Error("does not recover");
    await delay(20);
  }
}
