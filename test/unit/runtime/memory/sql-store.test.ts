import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Database, Rows, Sql } from "../../../../runtime/memory/database.ts";
import { migrate, ownMigrations } from "../../../../runtime/memory/migrations.ts";
import { openPglite } from "../../../../runtime/memory/pglite.ts";
import { ProcessStore } from "../../../../runtime/memory/process-store.ts";
import { purge } from "../../../../runtime/memory/purge.ts";
import { SqlStore } from "../../../../runtime/memory/sql-store.ts";
import type { ConversationStore, Finished } from "../../../../runtime/memory/store.ts";

/** PGlite's first start makes a whole database: seconds, more on a busy machine. */
const START_MS = 120_000;

let directory: string;
let database: Database;
let sqlStore: SqlStore;
const stores: Record<string, () => ConversationStore> = {
  pglite: () => sqlStore,
  process: () => processStore,
};
const processStore = new ProcessStore({ conversations: 1_000 });

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "gorkheavy-pglite-"));
  database = await openPglite(directory);
  await migrate(database, await ownMigrations());
  sqlStore = new SqlStore(database);
}, START_MS);

afterAll(async () => {
  await database.close();
  await rm(directory, { recursive: true, force: true });
}, START_MS);

/** An answered question. */
function turn(user: string, conversation: string, question: string, more: Partial<Finished> = {}): Finished {
  return {
    id: randomUUID(),
    user,
    conversation,
    askedAt: new Date().toISOString(),
    turn: { question, answer: `Answer to ${question}`, member: "llama", model: "llama3.2:1b" },
    answer: JSON.stringify({ reply: `Answer to ${question}` }),
    ...more,
  };
}

describe.each(Object.keys(stores))("conversations in %s", (name) => {
  const store = (): ConversationStore => stores[name]?.() ?? processStore;

  test("turns come back in order, the last ones only, and to their own user only", async () => {
    const [ann, bob] = [randomUUID(), randomUUID()];
    for (let at = 1; at <= 7; at++) await store().finish(turn(ann, "trip", `ann ${at}`));
    await store().finish(turn(bob, "trip", "bob 1"));
    const recalled = await store().recall({ user: ann, conversation: "trip" }, 5);
    expect(recalled.turns.map(({ question }) => question)).toEqual(["ann 3", "ann 4", "ann 5", "ann 6", "ann 7"]);
    expect(recalled.count).toBe(7);
    expect(await store().recall({ user: bob, conversation: "trip" }, 5)).toEqual({
      turns: [{ question: "bob 1", answer: "Answer to bob 1" }],
      count: 1,
    });
    expect(await store().recall({ user: bob, conversation: "other" }, 5)).toEqual({ turns: [], count: 0 });
  });

  test("a turn that is written twice is there once", async () => {
    const user = randomUUID();
    const one = turn(user, "c", "once");
    expect(await store().finish({ ...one, key: { key: "k", hash: "h" } })).toMatchObject({ as: "stored", sequence: 1 });
    expect(await store().finish({ ...one, key: { key: "k", hash: "h" } })).toMatchObject({ as: "already" });
    expect((await store().page({ user, conversation: "c" }, 10, 0))?.turns).toHaveLength(1);
  });

  test("a key is claimed by one, answered once, and not given to another request", async () => {
    const user = randomUUID();
    const ask = (hash: string) => ({ user, key: "k", hash, holder: randomUUID() });
    const first = ask("a");
    expect(await store().claim(first, 60_000)).toEqual({ state: "mine" });
    expect(await store().claim(ask("a"), 60_000)).toEqual({ state: "working" });
    expect(await store().claim(ask("b"), 60_000)).toEqual({ state: "conflict" });
    const done = turn(user, "c", "q", { key: { key: "k", hash: "a" }, answer: '{"reply":"one"}' });
    expect(await store().finish(done)).toMatchObject({ as: "stored" });
    expect(await store().claim(ask("a"), 60_000)).toEqual({ state: "done", answer: '{"reply":"one"}' });
    expect(await store().claim(ask("b"), 60_000)).toEqual({ state: "conflict" });
    const late = turn(user, "c", "q", { key: { key: "k", hash: "a" }, answer: '{"reply":"two"}' });
    expect(await store().finish(late)).toEqual({ as: "other", claim: { state: "done", answer: '{"reply":"one"}' } });
    expect((await store().page({ user, conversation: "c" }, 10, 0))?.turns).toHaveLength(1);
    const stranger = { user: randomUUID(), key: "k", hash: "b", holder: randomUUID() };
    expect(await store().claim(stranger, 60_000)).toEqual({ state: "mine" });
  });

  test("a claim that was given back, or whose holder is silent, can be had", async () => {
    const user = randomUUID();
    const ask = (key: string) => ({ user, key, hash: "h", holder: randomUUID() });
    const given = ask("given");
    await store().claim(given, 60_000);
    await store().release(given);
    expect(await store().claim(ask("given"), 60_000)).toEqual({ state: "mine" });
    await store().claim(ask("silent"), -1_000);
    expect(await store().claim(ask("silent"), 60_000)).toEqual({ state: "mine" });
    const alive = ask("alive");
    await store().claim(alive, -1_000);
    await store().renew(alive, 60_000);
    expect(await store().claim(ask("alive"), 60_000)).toEqual({ state: "working" });
  });

  test("many at once in one conversation all get a place, none the same", async () => {
    const user = randomUUID();
    await Promise.all(Array.from({ length: 20 }, (_, at) => store().finish(turn(user, "busy", `q ${at}`))));
    const page = await store().page({ user, conversation: "busy" }, 100, 0);
    expect(page?.turns.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
    expect(new Set(page?.turns.map(({ question }) => question)).size).toBe(20);
  });

  test("lists and pages go on where they ended", async () => {
    const user = randomUUID();
    for (const id of ["a", "b", "c", "d", "e"]) await store().finish(turn(user, id, `first of ${id}`));
    await store().finish(turn(user, "b", "second of b"));
    const first = await store().list(user, 3);
    expect(first.conversations.map(({ id, turns, title }) => [id, turns, title])).toEqual([
      ["b", 2, "first of b"],
      ["e", 1, "first of e"],
      ["d", 1, "first of d"],
    ]);
    const second = await store().list(user, 3, first.nextCursor);
    expect(second.conversations.map(({ id }) => id)).toEqual(["c", "a"]);
    expect(second.nextCursor).toBeUndefined();
    const page = await store().page({ user, conversation: "b" }, 1, 0);
    expect(page).toMatchObject({
      nextAfter: 1,
      turns: [{ question: "first of b", member: "llama", model: "llama3.2:1b" }],
    });
    expect((await store().page({ user, conversation: "b" }, 1, 1))?.nextAfter).toBeUndefined();
    expect(await store().page({ user, conversation: "none" }, 1, 0)).toBeUndefined();
  });

  test("deleting takes the words, keeps others' and does not let a key bring them back", async () => {
    const [ann, bob] = [randomUUID(), randomUUID()];
    await store().finish(turn(ann, "c", "secret", { key: { key: "k", hash: "h" } }));
    await store().finish(turn(ann, "d", "kept"));
    await store().finish(turn(bob, "c", "bob's"));
    expect(await store().remove(ann, "c")).toBe(1);
    expect(await store().remove(ann, "c")).toBe(0);
    expect(await store().page({ user: ann, conversation: "c" }, 10, 0)).toBeUndefined();
    expect(await store().claim({ user: ann, key: "k", hash: "h", holder: randomUUID() }, 1_000)).toEqual({
      state: "deleted",
    });
    expect((await store().recall({ user: ann, conversation: "d" }, 5)).turns).toHaveLength(1);
    expect(await store().remove(ann)).toBe(1);
    expect((await store().list(ann, 10)).conversations).toEqual([]);
    expect((await store().recall({ user: bob, conversation: "c" }, 5)).turns).toHaveLength(1);
  });

  test("any text comes back", async () => {
    const user = randomUUID();
    const odd = "'; DROP TABLE gorkheavy.turns; -- $1 \\ \" \u202e 🎺\n\t";
    await store().finish(turn(user, "odd", odd));
    expect((await store().recall({ user, conversation: "odd" }, 5)).turns[0]?.question).toBe(odd);
    await store().finish(turn(user, "odd", "nul \u0000 inside"));
    expect((await store().recall({ user, conversation: "odd" }, 1)).turns[0]?.question).toMatch(/^nul .{1} inside$/u);
  });
});

describe("conversations in SQL", () => {
  test("what was asked before a deletion is not written after it", async () => {
    const user = randomUUID();
    const before = turn(user, "c", "asked before", { key: { key: "k", hash: "h" } });
    await sqlStore.remove(user, "c");
    expect(await sqlStore.finish(before)).toEqual({ as: "deleted" });
    expect(await sqlStore.page({ user, conversation: "c" }, 10, 0)).toBeUndefined();
    const after = turn(user, "c", "asked after", { askedAt: new Date(Date.now() + 60_000).toISOString() });
    expect(await sqlStore.finish(after)).toMatchObject({ as: "stored", sequence: 1 });
  });

  test("a turn that fails half-way leaves nothing: no key, no place in the conversation", async () => {
    const user = randomUUID();
    const broken = turn(user, "c", "q", { key: { key: "k", hash: "h" } });
    if (broken.turn !== undefined) broken.turn.model = "\u0000";
    await expect(sqlStore.finish(broken)).rejects.toThrow();
    expect(await sqlStore.claim({ user, key: "k", hash: "h", holder: randomUUID() }, 1_000)).toEqual({ state: "mine" });
    expect(await sqlStore.page({ user, conversation: "c" }, 10, 0)).toBeUndefined();
  });

  test("the last turns are found by an index, also among many", async () => {
    await database.sql`
      INSERT INTO gorkheavy.conversations (user_id, id, last_sequence) SELECT 'many', 'c' || i, 100 FROM generate_series(1, 50) AS i`;
    await database.sql`
      INSERT INTO gorkheavy.turns (user_id, conversation_id, sequence, id, question, answer, member, model, asked_at)
      SELECT 'many', 'c' || i, s, gen_random_uuid(), 'q', 'a', 'm', 'm', now() FROM generate_series(1, 50) AS i, generate_series(1, 100) AS s`;
    await database.sql`ANALYZE gorkheavy.turns`;
    const plan = await database.sql`
      EXPLAIN (FORMAT JSON) SELECT question, answer FROM gorkheavy.turns
      WHERE user_id = ${"many"} AND conversation_id = ${"c7"} ORDER BY sequence DESC LIMIT ${5}::integer`;
    const text = JSON.stringify(plan);
    expect(text).toContain('"Index Scan"');
    expect(text).toContain('"turns_pkey"');
    expect(text).not.toContain("Seq Scan");
    expect(text).not.toContain('"Sort"');
  });

  test("retention deletes old turns, turns beyond the most, and old keys", async () => {
    const user = randomUUID();
    for (let at = 1; at <= 5; at++) await sqlStore.finish(turn(user, "long", `q ${at}`));
    await sqlStore.purge({ keyHours: 24, turnsPerConversation: 2 });
    expect((await sqlStore.page({ user, conversation: "long" }, 10, 0))?.turns.map(({ sequence }) => sequence)).toEqual(
      [4, 5],
    );
    await sqlStore.finish(turn(user, "old", "old", { askedAt: "2020-01-01T00:00:00Z", key: { key: "k", hash: "h" } }));
    await database.sql`UPDATE gorkheavy.conversations SET updated_at = '2020-01-01' WHERE user_id = ${user} AND id = 'old'`;
    await database.sql`UPDATE gorkheavy.asks SET claimed_at = '2020-01-01' WHERE user_id = ${user}`;
    await sqlStore.purge({ keyHours: 24, keepDays: 30 });
    expect((await sqlStore.list(user, 10)).conversations.map(({ id }) => id)).toEqual(["long"]);
    expect(await sqlStore.claim({ user, key: "k", hash: "other", holder: randomUUID() }, 1_000)).toEqual({
      state: "mine",
    });
  });

  test("retention deletes in batches, all that is due and nothing else", async () => {
    await database.sql`
      INSERT INTO gorkheavy.conversations (user_id, id, last_sequence, updated_at)
      SELECT 'due', 'c' || i, 10, '2020-01-01' FROM generate_series(1, 7) AS i`;
    await database.sql`
      INSERT INTO gorkheavy.turns (user_id, conversation_id, sequence, id, question, answer, member, model, asked_at)
      SELECT 'due', 'c' || i, s, gen_random_uuid(), 'q', 'a', 'm', 'm', CASE WHEN i = 7 AND s > 3 THEN now() ELSE '2020-01-01' END
      FROM generate_series(1, 7) AS i, generate_series(1, 10) AS s`;
    await database.sql`
      INSERT INTO gorkheavy.asks (user_id, key, request_hash, state, claimed_at)
      SELECT 'due', 'k' || i, 'h', 'done', CASE WHEN i > 9 THEN now() ELSE '2020-01-01' END FROM generate_series(1, 11) AS i`;
    await database.sql`
      INSERT INTO gorkheavy.deletions (user_id, conversation_id, deleted_at)
      SELECT 'due', 'd' || i, CASE WHEN i > 9 THEN now() ELSE '2020-01-01' END FROM generate_series(1, 11) AS i`;
    const batches: number[] = [];
    const counting: Sql = async (text, ...values) => {
      const rows = await database.sql(text, ...values);
      batches.push(rows.length);
      return rows;
    };
    await purge(counting, { keyHours: 24, keepDays: 30, turnsPerConversation: 2 }, 4);
    expect(Math.max(...batches)).toBe(4);
    const left = async (table: Promise<Rows>): Promise<unknown> => (await table)[0]?.["left"];
    expect(await left(database.sql`SELECT count(*)::int AS left FROM gorkheavy.asks WHERE user_id = 'due'`)).toBe(2);
    expect(await left(database.sql`SELECT count(*)::int AS left FROM gorkheavy.deletions WHERE user_id = 'due'`)).toBe(
      2,
    );
    expect(
      await database.sql`SELECT conversation_id, sequence FROM gorkheavy.turns WHERE user_id = 'due' ORDER BY sequence`,
    ).toEqual([
      { conversation_id: "c7", sequence: 9 },
      { conversation_id: "c7", sequence: 10 },
    ]);
    expect(await database.sql`SELECT id FROM gorkheavy.conversations WHERE user_id = 'due'`).toEqual([{ id: "c7" }]);
  });

  test("migrations are applied once, and neither a newer schema nor a changed file is taken", async () => {
    const own = await ownMigrations();
    await migrate(database, own);
    await expect(migrate(database, [])).rejects.toThrow(
      /the database has schema 1 .*, this program knows 0; run a newer/,
    );
    const changed = own.map((one) => ({ ...one, text: `${one.text}\n-- another` }));
    await expect(migrate(database, changed)).rejects.toThrow(/0001-conversations\.sql was applied .* another content/);
    const next = {
      version: own.length + 1,
      name: "9999-broken.sql",
      text: "CREATE TABLE gorkheavy.half (id int); SELECT broken",
    };
    await expect(migrate(database, [...own, next])).rejects.toThrow();
    expect(await database.sql`SELECT to_regclass('gorkheavy.half')::text AS half`).toEqual([{ half: null }]);
  });

  test("a folder is used by one at a time", async () => {
    await expect(openPglite(directory)).rejects.toThrow(/process \d+ uses this folder; .* store\.directory/);
  });
});
