import { z } from "zod";
import type { ConversationList, ConversationPage, StoredTurn } from "../contracts/conversations.ts";
import type { ConversationKey, RecentTurns } from "../core/conversations.ts";
import type { Database, Rows, Sql } from "./database.ts";
import { purge } from "./purge.ts";
import type { Claim, ConversationStore, Finished, KeyedAsk, Retention, Written } from "./store.ts";
import { codeOf } from "../support/error-code.ts";

/** SQLSTATE of a second row with the same id. */
const UNIQUE_VIOLATION = "23505";

const Ask = z.object({
  state: z.enum(["work", "done", "deleted"]),
  request_hash: z.string(),
  answer: z.string().nullable(),
  answer_id: z.string().nullable(),
});
const Summary = z.object({
  id: z.string(),
  turns: z.int(),
  title: z.string(),
  created_at: z.date(),
  updated_at: z.date(),
  touched: z.string(),
});
const TurnRow = z.object({
  sequence: z.int(),
  id: z.string(),
  question: z.string(),
  answer: z.string(),
  member: z.string(),
  model: z.string(),
  asked_at: z.date(),
});

/** Undoes a transaction and says what was found instead. */
class Found extends Error {
  readonly written: Written;
  constructor(written: Written) {
    super("found");
    this.written = written;
  }
}

/** Conversations in Postgres or PGlite. The schema must be up to date. */
export class SqlStore implements ConversationStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async claim({ user, key, hash, holder }: KeyedAsk, leaseMs: number): Promise<Claim> {
    const { sql } = this.#database;
    for (;;) {
      const mine = await sql`
        INSERT INTO gorkheavy.asks (user_id, key, request_hash, state, holder, lease_until)
        VALUES (${user}, ${key}, ${hash}, 'work', ${holder}::uuid, now() + ${leaseMs}::float8 * interval '1 millisecond')
        ON CONFLICT (user_id, key) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until
          WHERE asks.state = 'work' AND asks.lease_until < now() AND asks.request_hash = excluded.request_hash
        RETURNING 1 AS mine`;
      if (mine.length > 0) return { state: "mine" };
      const found = await askOf(sql, user, key);
      // It was given back between the two statements: claim it again.
      if (found !== undefined) return claimOf(found, hash);
    }
  }

  async renew({ user, key, holder }: KeyedAsk, leaseMs: number): Promise<void> {
    await this.#database.sql`
      UPDATE gorkheavy.asks SET lease_until = now() + ${leaseMs}::float8 * interval '1 millisecond'
      WHERE user_id = ${user} AND key = ${key} AND holder = ${holder}::uuid AND state = 'work'`;
  }

  async release({ user, key, holder }: KeyedAsk): Promise<void> {
    await this.#database.sql`
      DELETE FROM gorkheavy.asks WHERE user_id = ${user} AND key = ${key} AND holder = ${holder}::uuid AND state = 'work'`;
  }

  async finish(finished: Finished): Promise<Written> {
    try {
      return await this.#database.begin((sql) => write(sql, finished));
    } catch (error) {
      if (error instanceof Found) {
        if (error.written.as === "deleted" && finished.key !== undefined)
          await forget(this.#database.sql, finished.user, finished.key.key);
        return error.written;
      }
      // The same turn was written at the same moment by somebody who also did not know whether it was there.
      if (codeOf(error) === UNIQUE_VIOLATION) return { as: "already", sequence: undefined };
      throw error;
    }
  }

  async recall({ user, conversation }: ConversationKey, turns: number): Promise<RecentTurns> {
    const rows = await this.#database.sql`
      SELECT sequence, question, answer FROM gorkheavy.turns
      WHERE user_id = ${user} AND conversation_id = ${conversation}
      ORDER BY sequence DESC LIMIT ${turns}::integer`;
    const recent = z.array(TurnRow.pick({ sequence: true, question: true, answer: true })).parse(rows);
    return {
      turns: recent.toReversed().map(({ question, answer }) => ({ question, answer })),
      count: recent[0]?.sequence ?? 0,
    };
  }

  async list(user: string, limit: number, cursor?: string): Promise<ConversationList> {
    const rows = await this.#database.sql`
      SELECT c.id, c.created_at, c.updated_at, c.touched::text AS touched,
        (SELECT count(*)::integer FROM gorkheavy.turns t WHERE t.user_id = c.user_id AND t.conversation_id = c.id) AS turns,
        coalesce((SELECT left(t.question, 120) FROM gorkheavy.turns t
          WHERE t.user_id = c.user_id AND t.conversation_id = c.id ORDER BY t.sequence LIMIT 1), '') AS title
      FROM gorkheavy.conversations c
      WHERE c.user_id = ${user} AND (${cursor ?? null}::text IS NULL OR c.touched < ${cursor ?? null}::text::bigint)
      ORDER BY c.touched DESC LIMIT ${limit + 1}::integer`;
    const found = z.array(Summary).parse(rows);
    const shown = found.slice(0, limit);
    const nextCursor = found.length > limit ? shown.at(-1)?.touched : undefined;
    return {
      conversations: shown.map(({ id, turns, title, created_at, updated_at }) => ({
        id,
        turns,
        title,
        createdAt: created_at.toISOString(),
        updatedAt: updated_at.toISOString(),
      })),
      ...(nextCursor === undefined ? {} : { nextCursor }),
    };
  }

  async page(
    { user, conversation }: ConversationKey,
    limit: number,
    after: number,
  ): Promise<ConversationPage | undefined> {
    const { sql } = this.#database;
    const rows = await sql`
      SELECT sequence, id::text AS id, question, answer, member, model, asked_at FROM gorkheavy.turns
      WHERE user_id = ${user} AND conversation_id = ${conversation} AND sequence > ${after}::integer
      ORDER BY sequence LIMIT ${limit + 1}::integer`;
    if (rows.length === 0) {
      const there =
        await sql`SELECT 1 AS there FROM gorkheavy.conversations WHERE user_id = ${user} AND id = ${conversation}`;
      if (there.length === 0) return undefined;
    }
    const found = z.array(TurnRow).parse(rows);
    const turns = found
      .slice(0, limit)
      .map(({ asked_at, ...turn }): StoredTurn => ({ ...turn, askedAt: asked_at.toISOString() }));
    const nextAfter = found.length > limit ? turns.at(-1)?.sequence : undefined;
    return { id: conversation, turns, ...(nextAfter === undefined ? {} : { nextAfter }) };
  }

  remove(user: string, conversation?: string): Promise<number> {
    return this.#database.begin(async (sql) => {
      // Writers hold it shared: none of them is between its look at the deletions and its end.
      await sql`SELECT pg_advisory_xact_lock(hashtextextended(${user}, 0))`;
      await sql`
        INSERT INTO gorkheavy.deletions (user_id, conversation_id, deleted_at) VALUES (${user}, ${conversation ?? ""}, clock_timestamp())
        ON CONFLICT (user_id, conversation_id) DO UPDATE SET deleted_at = excluded.deleted_at`;
      // The key stays, so that a late second request does not bring the turn back; the words go.
      await sql`
        UPDATE gorkheavy.asks SET state = 'deleted', answer = NULL, request_hash = ''
        WHERE user_id = ${user} AND state = 'done' AND (${conversation ?? null}::text IS NULL OR conversation_id = ${conversation ?? null}::text)`;
      const gone = await sql`
        DELETE FROM gorkheavy.conversations
        WHERE user_id = ${user} AND (${conversation ?? null}::text IS NULL OR id = ${conversation ?? null}::text)
        RETURNING 1 AS gone`;
      return gone.length;
    });
  }

  async purge(retention: Retention): Promise<void> {
    await purge(this.#database.sql, retention);
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}

async function write(sql: Sql, { id, user, conversation, askedAt, turn, key, answer }: Finished): Promise<Written> {
  await sql`SELECT pg_advisory_xact_lock_shared(hashtextextended(${user}, 0))`;
  const [before] = await sql`
    SELECT (SELECT sequence FROM gorkheavy.turns WHERE id = ${id}::uuid) AS sequence,
      EXISTS (SELECT 1 FROM gorkheavy.deletions
        WHERE user_id = ${user} AND conversation_id IN ('', ${conversation}) AND deleted_at >= ${askedAt}::timestamptz) AS deleted`;
  const { sequence, deleted } = z.object({ sequence: z.int().nullable(), deleted: z.boolean() }).parse(before);
  if (sequence !== null) return { as: "already", sequence };
  if (deleted) throw new Found({ as: "deleted" });
  if (key !== undefined) {
    // Whoever is done first wins, also over one who took the claim over meanwhile: only `work` turns into `done`, and once.
    const done = await sql`
      INSERT INTO gorkheavy.asks (user_id, key, request_hash, state, conversation_id, answer_id, answer)
      VALUES (${user}, ${key.key}, ${key.hash}, 'done', ${conversation}, ${id}::uuid, ${answer})
      ON CONFLICT (user_id, key) DO UPDATE SET state = 'done', request_hash = excluded.request_hash, holder = NULL, lease_until = NULL,
        conversation_id = excluded.conversation_id, answer_id = excluded.answer_id, answer = excluded.answer
        WHERE asks.state = 'work'
      RETURNING 1 AS done`;
    if (done.length === 0) {
      const found = await askOf(sql, user, key.key);
      if (found?.answer_id === id) return { as: "already", sequence: undefined };
      throw new Found({ as: "other", claim: found === undefined ? { state: "working" } : claimOf(found, key.hash) });
    }
  }
  if (turn === undefined) return { as: "stored", sequence: undefined };
  const [placed] = await sql`
    WITH place AS (
      INSERT INTO gorkheavy.conversations (user_id, id, last_sequence) VALUES (${user}, ${conversation}, 1)
      ON CONFLICT (user_id, id) DO UPDATE SET last_sequence = conversations.last_sequence + 1,
        touched = nextval('gorkheavy.touches'), updated_at = now()
      RETURNING last_sequence
    )
    INSERT INTO gorkheavy.turns (user_id, conversation_id, sequence, id, question, answer, member, model, asked_at)
    SELECT ${user}, ${conversation}, place.last_sequence, ${id}::uuid, ${storable(turn.question)}, ${storable(turn.answer)},
      ${turn.member}, ${turn.model}, ${askedAt}::timestamptz
    FROM place
    RETURNING sequence`;
  return { as: "stored", sequence: z.object({ sequence: z.int() }).parse(placed).sequence };
}

/** Text as Postgres can hold it: it knows no character 0, and says so with an error. Source: PostgreSQL 15 manual, 8.3. */
function storable(text: string): string {
  return text.replaceAll("\u0000", "\ufffd");
}

async function askOf(sql: Sql, user: string, key: string): Promise<z.output<typeof Ask> | undefined> {
  const rows: Rows = await sql`
    SELECT state, request_hash, answer, answer_id::text AS answer_id FROM gorkheavy.asks WHERE user_id = ${user} AND key = ${key}`;
  return rows[0] === undefined ? undefined : Ask.parse(rows[0]);
}

function claimOf({ state, request_hash, answer }: z.output<typeof Ask>, hash: string): Claim {
  if (state === "deleted") return { state: "deleted" };
  if (request_hash !== hash) return { state: "conflict" };
  return state === "done" && answer !== null ? { state: "done", answer } : { state: "working" };
}

/** A key whose conversation was deleted while it was in work. */
async function forget(sql: Sql, user: string, key: string): Promise<void> {
  await sql`UPDATE gorkheavy.asks SET state = 'deleted', request_hash = '', holder = NULL WHERE user_id = ${user} AND key = ${key} AND state = 'work'`;
}
