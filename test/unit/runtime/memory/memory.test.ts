import { randomUUID } from "node:crypto";
import { appendFile, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { StoreSchema } from "../../../../runtime/contracts/store-config.ts";
import { Memory, type TurnOutcome } from "../../../../runtime/memory/memory.ts";
import { openOutboxFile } from "../../../../runtime/memory/outbox-file.ts";
import { Outbox } from "../../../../runtime/memory/outbox.ts";
import { ProcessStore } from "../../../../runtime/memory/process-store.ts";
import type { ConversationStore, Finished } from "../../../../runtime/memory/store.ts";
import { StoreRefused } from "../../../../runtime/memory/unavailable.ts";

let directory: string;
const opened: Memory[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "gorkheavy-memory-"));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((memory) => memory.close()));
  await rm(directory, { recursive: true, force: true });
});

/** A store that a test can take away. */
class Door {
  readonly inner = new ProcessStore({ conversations: 100 });
  state: "open" | "down" | "hangs" | "refuses" = "open";
  readonly outcomes: TurnOutcome[] = [];
  /** What a write waits for. */
  writing: Promise<void> = Promise.resolve();

  get store(): ConversationStore {
    return new Proxy<ConversationStore>(this.inner, {
      get: (target, name: keyof ConversationStore) => {
        // A promise would take it for one of its kind and call its `then`.
        if (!(name in target)) return undefined;
        return async (...args: never[]) => {
          if (name === "close") return undefined;
          if (this.state === "hangs") return new Promise(() => undefined);
          if (this.state === "down") throw Object.assign(new Error("gone"), { code: "ECONNREFUSED" });
          if (name === "finish") await this.writing;
          if (this.state === "refuses" && name === "finish")
            throw new StoreRefused("the store refused the data (SQLSTATE 22021)");
          return (target[name] as (...given: never[]) => Promise<unknown>).apply(target, args);
        };
      },
    });
  }

  memory(settings: Parameters<typeof StoreSchema.parse>[0] = {}, outbox = async () => new Outbox(1_000_000)): Memory {
    const memory = new Memory({
      kind: "postgres",
      place: { target: "db:5432/gorkheavy", setting: "store.urlEnv (GORKHEAVY_DATABASE_URL)" },
      open: async () => {
        if (this.state === "down") throw Object.assign(new Error("gone"), { code: "ECONNREFUSED" });
        return this.store;
      },
      settings: StoreSchema.parse({ recallMs: 100, writeMs: 100, waitMs: 300, ...(settings as object) }),
      limits: { turns: 5, conversations: 10 },
      outbox,
      count: (outcome) => this.outcomes.push(outcome),
    });
    opened.push(memory);
    return memory;
  }
}

function finished(question: string, more: Partial<Finished> = {}): Finished {
  return {
    id: randomUUID(),
    user: "ann",
    conversation: "c",
    askedAt: new Date().toISOString(),
    turn: { question, answer: `Answer to ${question}`, member: "llama", model: "m" },
    answer: "{}",
    ...more,
  };
}

const KEY = { user: "ann", conversation: "c" };
const queued = (reason: string): string => JSON.stringify({ queued: reason });

async function until(so: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await so()); ) {
    if (Date.now() > deadline) throw new Error("not so in time");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("while the store is away turns wait, are recalled, and are written in order when it is back", async () => {
  const door = new Door();
  const memory = door.memory();
  expect(await memory.finish(finished("one"), queued)).toEqual({ kept: "stored" });
  door.state = "down";
  const kept = await memory.finish(finished("two"), queued);
  expect(kept).toEqual({
    kept: "queued",
    reason: "db:5432/gorkheavy: nothing listens there; see store.urlEnv (GORKHEAVY_DATABASE_URL)",
  });
  expect(await memory.finish(finished("three"), queued)).toMatchObject({ kept: "queued" });
  expect(memory.state).toMatchObject({ state: "down", queued: 2 });
  const recalled = await memory.recall(KEY);
  expect(recalled.problem).toMatch(/nothing listens there/);
  expect(recalled.turns.map(({ question }) => question)).toEqual(["one", "two", "three"]);
  door.state = "open";
  await until(() => memory.state.queued === 0);
  expect((await door.inner.page(KEY, 10, 0))?.turns.map(({ question }) => question)).toEqual(["one", "two", "three"]);
  expect(await memory.finish(finished("four"), queued)).toEqual({ kept: "stored" });
  expect((await memory.recall(KEY)).problem).toBeUndefined();
  expect(door.outcomes).toEqual(["stored", "queued", "queued", "stored", "stored", "stored"]);
});

test("what is shown begins at the same turn in the store, with those that wait, and while the store is away", async () => {
  const door = new Door();
  const memory = door.memory({ recallMs: 30_000, writeMs: 30_000 });
  const asked = async (): Promise<string[]> => (await memory.recall(KEY)).turns.map(({ question }) => question);
  for (let at = 1; at <= 8; at++) await memory.finish(finished(`${at}`), queued);
  expect(await asked()).toEqual(["1", "2", "3", "4", "5", "6", "7", "8"]);
  await memory.finish(finished("9"), queued);
  expect(await asked()).toEqual(["5", "6", "7", "8", "9"]);
  door.state = "down";
  for (const at of ["10", "11", "12"]) await memory.finish(finished(at), queued);
  expect(await asked()).toEqual(["5", "6", "7", "8", "9", "10", "11", "12"]);
  let write: () => void = () => undefined;
  door.writing = new Promise((resolve) => (write = resolve));
  door.state = "open";
  await until(() => memory.state.state === "up");
  expect(memory.state.queued).toBe(3);
  expect(await asked()).toEqual(["5", "6", "7", "8", "9", "10", "11", "12"]);
  write();
  await until(() => memory.state.queued === 0);
  await memory.finish(finished("13"), queued);
  expect(await asked()).toEqual(["9", "10", "11", "12", "13"]);
});

test("a store that hangs costs its time once, and then nothing until it is back", async () => {
  const door = new Door();
  const memory = door.memory();
  await memory.recall(KEY);
  door.state = "hangs";
  expect((await memory.recall(KEY)).problem).toMatch(/no answer within 100 ms \(store\.recallMs\)/);
  expect(memory.state.state).toBe("down");
  door.state = "open";
  await until(() => memory.state.state === "up");
});

test("what the store refuses is not tried for ever", async () => {
  const door = new Door();
  const memory = door.memory();
  await memory.recall(KEY);
  door.state = "refuses";
  expect(await memory.finish(finished("odd"), queued)).toEqual({
    kept: "not",
    reason: "the store refused the data (SQLSTATE 22021)",
  });
  expect(memory.state).toMatchObject({ state: "up", queued: 0 });
});

test("the outbox is bounded, and a turn that does not fit says so", async () => {
  const door = new Door();
  door.state = "down";
  const memory = door.memory({}, async () => new Outbox(600));
  expect(await memory.finish(finished("fits"), queued)).toMatchObject({ kept: "queued" });
  const kept = await memory.finish(finished("x".repeat(500)), queued);
  expect(kept).toMatchObject({ kept: "not" });
  expect(JSON.stringify(kept)).toContain("store.outboxBytes");
  expect(door.outcomes).toEqual(["queued", "full"]);
});

test("turns that wait on disk survive the process, those of dead ones are taken over, and a cut line is left out", async () => {
  const door = new Door();
  door.state = "down";
  const file = await openOutboxFile(directory);
  const beside = await openOutboxFile(directory);
  const [box, other] = [new Outbox(1_000_000, file), new Outbox(1_000_000, beside)];
  expect(await box.put(finished("first"))).toBe("durable");
  const gone = finished("gone");
  await box.put(gone);
  await box.done(gone.id);
  expect(await other.put(finished("second"))).toBe("durable");
  await box.close();
  await other.close();
  await appendFile(join(directory, "outbox-1.jsonl"), '{"op":"put","finished":{"id":"cut');
  const memory = door.memory({}, async () => new Outbox(1_000_000, await openOutboxFile(directory)));
  memory.wake();
  await until(() => memory.state.queued === 2);
  door.state = "open";
  await until(() => memory.state.queued === 0);
  expect((await door.inner.page(KEY, 10, 0))?.turns.map(({ question }) => question)).toEqual(["first", "second"]);
  await memory.close();
  expect((await readdir(directory)).filter((name) => name.endsWith(".jsonl"))).toEqual(["outbox-0.jsonl"]);
  expect(await readFile(join(directory, "outbox-0.jsonl"), "utf8")).toBe("");
});

test("deleting takes what waits too, and says when it cannot", async () => {
  const door = new Door();
  const memory = door.memory({}, async () => new Outbox(1_000_000, await openOutboxFile(directory)));
  door.state = "down";
  await memory.finish(finished("words to forget"), queued);
  await expect(memory.remove("ann", "c")).rejects.toMatchObject({ code: "store_unavailable", status: 503 });
  // The store comes back, but takes no turn: it still waits when it is deleted.
  door.inner.finish = () => new Promise(() => undefined);
  door.state = "open";
  await until(() =>
    memory.remove("ann", "c").then(
      (gone) => gone === 1,
      () => false,
    ),
  );
  expect(memory.state.queued).toBe(0);
  expect(await readFile(join(directory, "outbox-0.jsonl"), "utf8")).toBe("");
  door.state = "down";
  await memory.recall(KEY);
  expect((await memory.recall(KEY)).turns).toEqual([]);
});

test("of two with the same key one works, the other waits for its answer; another request is refused", async () => {
  const door = new Door();
  const memory = door.memory();
  const ask = { user: "ann", key: "k", hash: "h" };
  const signal = new AbortController().signal;
  const first = await memory.claim(ask, signal);
  if (!("end" in first)) throw new Error("not ours");
  await expect(memory.claim({ ...ask, hash: "other" }, signal)).rejects.toMatchObject({
    code: "idempotency_conflict",
    status: 409,
  });
  const second = memory.claim(ask, signal);
  await memory.finish(finished("q", { key: { key: "k", hash: "h" }, answer: '{"reply":"one"}' }), queued);
  await first.end(true);
  expect(await second).toEqual({ answer: '{"reply":"one"}' });
});

test("a second one that has waited long enough is told to come back; one whose first failed takes its place", async () => {
  const memory = new Door().memory();
  const ask = { user: "ann", key: "k", hash: "h" };
  const signal = new AbortController().signal;
  const first = await memory.claim(ask, signal);
  if (!("end" in first)) throw new Error("not ours");
  await expect(memory.claim(ask, signal)).rejects.toMatchObject({
    code: "idempotency_in_progress",
    retryAfterSeconds: 1,
  });
  const second = memory.claim(ask, signal);
  await first.end(false);
  expect(await second).toHaveProperty("end");
});

test("without the store a key still holds in this process, and its waiting answer is given again", async () => {
  const door = new Door();
  door.state = "down";
  const memory = door.memory();
  const ask = { user: "ann", key: "k", hash: "h" };
  const signal = new AbortController().signal;
  const first = await memory.claim(ask, signal);
  if (!("end" in first)) throw new Error("not ours");
  await memory.finish(finished("q", { key: { key: "k", hash: "h" } }), () => '{"reply":"waits"}');
  await first.end(true);
  expect(await memory.claim(ask, signal)).toEqual({ answer: '{"reply":"waits"}' });
  await expect(memory.claim({ ...ask, hash: "x" }, signal)).rejects.toMatchObject({ code: "idempotency_conflict" });
});
