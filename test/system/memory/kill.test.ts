import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { bundle } from "../../../runtime/bundle.mjs";
import { AskAnswer } from "../../../runtime/contracts/native.ts";
import { type CutPoint, type CuttingProxy, startCuttingProxy } from "../../support/cutting-proxy.ts";
import { type MockModel, startMockModel } from "../../support/mock-model.ts";
import { startPostgres, type TestPostgres } from "../../support/postgres.ts";

/** Pieces that go to Postgres, and come back, while one question with a key is claimed, answered and stored. */
const PIECES = 9;

/** Every point at which somebody dies: before and after each piece, in both directions, the service or the database. */
const POINTS = Array.from({ length: PIECES }, (_, at) => at + 1).flatMap((nth) =>
  (["request", "reply"] as const).flatMap((direction) =>
    [false, true].flatMap((passed) =>
      (["service", "postgres"] as const).map((victim) => ({
        victim,
        point: { direction, nth, passed } satisfies CutPoint,
      })),
    ),
  ),
);

/** One replica of the service with its own way to Postgres. */
interface Replica {
  url: string;
  proxy: CuttingProxy;
  process: ChildProcess | undefined;
  start(): Promise<void>;
  kill(): Promise<void>;
}

/** A reply as a client saw it. */
interface Seen {
  question: string;
  conversation: string;
  reply: string;
  remembered: boolean;
}

let directory: string;
let database: TestPostgres;
let model: MockModel;
let replicas: Replica[];
let answers = 0;
/** What the replicas logged. */
const log: string[] = [];
const Line = z.looseObject({ msg: z.string(), url: z.string().optional() });

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "gorkheavy-kill-"));
  database = await startPostgres();
  // No two answers are alike: a second one to the same question would be seen.
  model = await startMockModel("mock:1b", { answer: ({ prompt }) => `Answer ${++answers} to ${prompt}.` });
  const program = join(directory, "gorkheavy.mjs");
  await bundle(program);
  replicas = await Promise.all([0, 1, 2].map((number) => makeReplica(number, program)));
  await Promise.all(replicas.map((replica) => replica.start()));
}, 180_000);

afterAll(async () => {
  for (const replica of replicas ?? []) {
    await replica.kill();
    await replica.proxy.close();
  }
  await model?.close();
  await database?.close();
  await rm(directory, { recursive: true, force: true });
}, 60_000);

async function makeReplica(number: number, program: string): Promise<Replica> {
  const own = join(directory, `replica-${number}`);
  await mkdir(own);
  const config = join(own, "ensemble.yaml");
  const store = { kind: "postgres", directory: own, leaseMs: 1_000, waitMs: 4_000, recallMs: 2_000, connectMs: 3_000 };
  const members = [{ name: "llama", role: "candidate", url: model.url, model: "mock:1b" }];
  await writeFile(config, JSON.stringify({ members, store }));
  const proxy = await startCuttingProxy(database.socket);
  const replica: Replica = {
    url: "",
    proxy,
    process: undefined,
    start: async () => {
      const started = spawn(process.execPath, [program, "serve", "--config", config, "--port", "0"], {
        env: { GORKHEAVY_DATABASE_URL: database.url(proxy.port) },
        stdio: ["ignore", "ignore", "pipe"],
      });
      replica.process = started;
      for await (const line of createInterface({ input: started.stderr })) {
        log.push(line);
        const { msg, url } = Line.parse(JSON.parse(line));
        if (msg !== "listening" || url === undefined) continue;
        replica.url = url;
        break;
      }
      started.stderr.on("data", (piece: Buffer) => log.push(piece.toString()));
      started.stderr.resume();
    },
    kill: async () => {
      const victim = replica.process;
      if (victim === undefined || victim.exitCode !== null || victim.signalCode !== null) return;
      const gone = new Promise((resolve) => victim.once("exit", resolve));
      victim.kill("SIGKILL");
      await gone;
    },
  };
  return replica;
}

/** Waits until something is so; what throws is not so yet. */
async function until(so: () => Promise<boolean>, ms = 60_000): Promise<void> {
  const deadline = Date.now() + ms;
  for (;;) {
    const is = await so().catch(() => false);
    if (is) return;
    if (Date.now() > deadline) throw new Error(`not so within ${ms} ms`);
    await delay(25);
  }
}

/** A client that asks until it has an answer, at another replica each time. */
async function askUntilAnswered(first: number, conversation: string, question: string): Promise<Seen> {
  const deadline = Date.now() + 60_000;
  for (let attempt = 0; Date.now() < deadline; attempt++) {
    const replica = replicas[(first + attempt) % replicas.length];
    try {
      const response = await fetch(`${replica?.url}/ask`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": question },
        body: JSON.stringify({ question, conversation, user: "ann" }),
        signal: AbortSignal.timeout(15_000),
      });
      const body: unknown = await response.json();
      if (response.ok) {
        const { reply, remembered } = AskAnswer.parse(body);
        return { question, conversation, reply, remembered };
      }
    } catch {
      // The replica died; the next one is asked.
    }
    await delay(50);
  }
  throw new Error(`${question}: not answered within a minute`);
}

const Turn = z.object({ conversation_id: z.string(), sequence: z.number(), question: z.string(), answer: z.string() });

test(`the service and Postgres killed at ${POINTS.length} points: every turn once, in order, and none lost that a client saw`, async () => {
  const seen: Seen[] = [];
  let hits = 0;
  for (const [round, { victim, point }] of POINTS.entries()) {
    const armed = replicas[round % replicas.length];
    if (armed === undefined) throw new Error("no replica");
    const conversation = `c${round % 4}`;
    await until(async () => {
      const { store } = z
        .object({ store: z.object({ state: z.string() }) })
        .parse(await (await fetch(`${armed.url}/readyz`)).json());
      return store.state === "up";
    });
    let killed: Promise<void> | undefined;
    armed.proxy.arm(point, () => {
      hits++;
      killed = victim === "service" ? armed.kill() : database.kill();
    });
    const at = round % replicas.length;
    const revive = async (): Promise<void> => {
      await until(async () => killed !== undefined, 2_000).catch(() => armed.proxy.disarm());
      await killed;
      if (killed === undefined) return;
      if (victim === "service") await armed.start();
      else await database.start();
    };
    // Two clients send the same question to two replicas, a third one asks something else in the same conversation.
    const [, ...replies] = await Promise.all([
      revive(),
      askUntilAnswered(at, conversation, `question-${round}`),
      askUntilAnswered(at + 1, conversation, `question-${round}`),
      askUntilAnswered(at + 2, conversation, `other-${round}`),
    ]);
    seen.push(...replies);
  }
  await until(async () => {
    const states = await Promise.all(replicas.map(async ({ url }) => (await fetch(`${url}/readyz`)).json()));
    return states.every(
      (state) =>
        z.object({ store: z.object({ queued: z.literal(0), state: z.literal("up") }) }).safeParse(state).success,
    );
  });
  const sql = database.client();
  const rows = z
    .array(Turn)
    .parse(
      await sql`SELECT conversation_id, sequence, question, answer FROM gorkheavy.turns WHERE user_id = 'ann' ORDER BY conversation_id, sequence`,
    );
  await sql.end();

  const asked = [...new Set(seen.map(({ question }) => question))].toSorted();
  expect(rows.map(({ question }) => question).toSorted()).toEqual(asked);
  for (const conversation of ["c0", "c1", "c2", "c3"]) {
    const own = rows.filter(({ conversation_id }) => conversation_id === conversation);
    expect(own.map(({ sequence }) => sequence)).toEqual(own.map((_, index) => index + 1));
    // A question that was asked after another one's reply was seen, and stored, comes after it.
    const stored = new Set(seen.filter(({ remembered }) => remembered).map(({ question }) => question));
    const rounds = own
      .filter(({ question }) => stored.has(question))
      .map(({ question }) => Number(question.split("-")[1]));
    expect(rounds).toEqual(rounds.toSorted((a, b) => a - b));
  }
  const answerTo = new Map(rows.map(({ question, answer }) => [question, answer]));
  for (const { question, reply } of seen.filter(({ remembered }) => remembered)) {
    expect({ question, reply: answerTo.get(question) }).toEqual({ question, reply });
  }
  for (const { question } of seen.filter(({ remembered }) => !remembered)) {
    const replies = seen.filter((one) => one.question === question).map(({ reply }) => reply);
    expect(replies).toContain(answerTo.get(question));
  }
  expect(hits).toBeGreaterThanOrEqual(50);
  expect(log.join("\n")).not.toContain("not-a-real-secret");
}, 600_000);
