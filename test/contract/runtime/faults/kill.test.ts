// Models that die, hang or vanish in the middle of a question: the other two answer, soon.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AskAnswer } from "../../../../runtime/contracts/native.ts";
import { type MockEnsemble, startMockEnsemble } from "../../../support/ensemble.ts";
import { type BlackHole, startBlackHole } from "../../../support/faults/black-hole.ts";

/** How a model is lost: its process killed, its process stopped, or its machine off the network. */
const WAYS = ["SIGKILL", "SIGSTOP", "blackhole"] as const;
type Way = (typeof WAYS)[number];

/** Times in all, by way. */
const TIMES: Readonly<Record<Way, number>> = { SIGKILL: 60, SIGSTOP: 70, blackhole: 70 };
/** Ensembles at once, each with a victim of its own. */
const AT_ONCE = 5;
const PREFILL_MS = 60;
const TOKEN_MS = 10;
/** Silence after which a server is asked for a sign of life, and how long for that, ms. */
const SILENCE_MS = 300;
const HEALTH_MS = 500;
/** What a busy machine may take longer, ms. Far below the 60 s of a connection to a dead pod behind a Service's address. */
const SLACK_MS = 6_000;
const ANSWER = "Llama says a number of words that take it a while to say.";

/** One ensemble whose `llama` can be lost. */
interface Ward {
  ensemble: MockEnsemble;
  victim: ChildProcess;
  port: string;
  front: BlackHole;
}

let wards: Ward[] = [];
beforeAll(async () => {
  wards = await Promise.all(Array.from({ length: AT_ONCE }, startWard));
}, 60_000);
afterAll(async () => {
  await Promise.all(
    wards.map(async ({ ensemble, victim, front }) => {
      await ensemble.close();
      await front.close();
      victim.kill("SIGKILL");
    }),
  );
});

async function startVictim(port: string): Promise<{ victim: ChildProcess; url: string }> {
  const script = join(import.meta.dirname, "../../../support/faults/model-process.ts");
  const settings = ["llama:1b", port, ANSWER, String(PREFILL_MS), String(TOKEN_MS)];
  const victim = spawn(process.execPath, [script, ...settings], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(victim.stdout, "data")) as [Buffer];
  return { victim, url: line.toString().trim() };
}

async function startWard(): Promise<Ward> {
  const { victim, url } = await startVictim("0");
  const front = await startBlackHole(url);
  const usual = { prefillMs: PREFILL_MS, tokenMs: TOKEN_MS };
  const ensemble = await startMockEnsemble(
    { qwen: usual, "qwen-small": usual },
    {
      deadlines: { silenceMs: SILENCE_MS, healthMs: HEALTH_MS, connectMs: 500 },
      // It is left alone for a moment only, as the next round has it well again; and no other rule may end its stage first.
      breaker: { failures: 1, openMs: 1, longestMs: 1 },
      patience: { leastMs: 60_000 },
    },
    {},
    async (name) => (name === "llama" ? { url: front.url } : {}),
  );
  return { ensemble, victim, port: new URL(url).port, front };
}

/** What became of one question whose model was lost. */
interface Loss {
  /** From the loss to the answer of the others, ms. */
  ms: number;
  /** The model had not said all before it was lost. */
  felt: boolean;
}

/** Asks, loses the model so many ms later, and brings it back. @returns text for what was wrong */
async function lose(ward: Ward, way: Way, afterMs: number): Promise<Loss | string> {
  const asked = fetch(`${ward.ensemble.url}/ask`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"question":"Why?"}',
    signal: AbortSignal.timeout(30_000),
  }).then(async (response) => ({ status: response.status, body: await response.json() }));
  await delay(afterMs);
  const lost = performance.now();
  let back = async (): Promise<void> => undefined;
  if (way === "blackhole") {
    ward.front.silence(true);
    back = async () => ward.front.silence(false);
  } else if (way === "SIGSTOP") {
    ward.victim.kill("SIGSTOP");
    back = async () => void ward.victim.kill("SIGCONT");
  } else {
    const exit = once(ward.victim, "exit");
    ward.victim.kill("SIGKILL");
    back = async () => {
      await exit;
      ward.victim = (await startVictim(ward.port)).victim;
    };
  }
  try {
    const { status, body } = await asked;
    const ms = performance.now() - lost;
    const answer = AskAnswer.safeParse(body);
    if (!answer.success) return `${status} ${JSON.stringify(body).slice(0, 200)}`;
    const { reply, stages } = answer.data;
    const stage = stages.find(({ member }) => member === "llama");
    if (stage?.status === "ok") return stage.text === ANSWER ? { ms, felt: false } : `taken as whole: ${stage.text}`;
    const others = stages.filter(({ member, status: ended }) => member.startsWith("qwen") && ended === "ok");
    if (others.length === 0) return "of the other two none answered";
    return others.some(({ text }) => text === reply) ? { ms, felt: true } : `nobody's answer: ${reply}`;
  } catch (error) {
    return `hangs: ${String(error)}`;
  } finally {
    await back();
  }
}

test.each(WAYS)("%s", { timeout: 240_000 }, async (way) => {
  const took: number[] = [];
  const lost: boolean[] = [];
  const problems: string[] = [];
  let left = TIMES[way];
  await Promise.all(
    wards.map(async (ward) => {
      while (left-- > 0) {
        const result = await lose(ward, way, (left * 13) % (2 * PREFILL_MS));
        if (typeof result === "string") problems.push(result);
        else {
          took.push(result.ms);
          lost.push(result.felt);
        }
      }
    }),
  );
  expect(problems).toEqual([]);
  expect(took).toHaveLength(TIMES[way]);
  // It was lost before its end nearly always, or this would show nothing.
  expect(lost.filter(Boolean).length).toBeGreaterThan(0.8 * TIMES[way]);
  // Detection is bounded by the silence and the sign of life; the judge and the machine come on top.
  expect(Math.max(...took)).toBeLessThan(2 * (SILENCE_MS + HEALTH_MS) + SLACK_MS);
});
