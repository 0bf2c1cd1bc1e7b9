import type { Rows, Sql } from "./database.ts";
import type { Retention } from "./store.ts";

/** Days for which a deletion is remembered; what waits longer in an outbox than that is not thought of. */
const DELETION_DAYS = 90;

/** Most rows that one statement deletes: it ends well within the time of a statement, and holds few locks for a short time. */
export const PURGE_ROWS = 500;

/**
 * Deletes what is older than it should be kept, so many rows at a time: each statement is a transaction of its own, and what waits for the
 * database comes between two of them. Of several that do it at once, each takes rows that no other has.
 */
export async function purge(
  sql: Sql,
  { keyHours, keepDays, turnsPerConversation }: Retention,
  rows = PURGE_ROWS,
): Promise<void> {
  await inBatches(
    rows,
    () => sql`
      DELETE FROM gorkheavy.asks WHERE (user_id, key) IN (
        SELECT user_id, key FROM gorkheavy.asks
        WHERE claimed_at < now() - ${keyHours}::float8 * interval '1 hour' AND (state <> 'work' OR lease_until < now())
        LIMIT ${rows}::integer FOR UPDATE SKIP LOCKED)
      RETURNING 1 AS gone`,
  );
  await inBatches(
    rows,
    () => sql`
      DELETE FROM gorkheavy.deletions WHERE (user_id, conversation_id) IN (
        SELECT user_id, conversation_id FROM gorkheavy.deletions
        WHERE deleted_at < now() - ${DELETION_DAYS}::float8 * interval '1 day'
        LIMIT ${rows}::integer FOR UPDATE SKIP LOCKED)
      RETURNING 1 AS gone`,
  );
  if (keepDays !== undefined) {
    await inBatches(
      rows,
      () => sql`
        DELETE FROM gorkheavy.turns WHERE id IN (
          SELECT id FROM gorkheavy.turns WHERE asked_at < now() - ${keepDays}::float8 * interval '1 day'
          LIMIT ${rows}::integer FOR UPDATE SKIP LOCKED)
        RETURNING 1 AS gone`,
    );
  }
  if (turnsPerConversation !== undefined) {
    await inBatches(
      rows,
      () => sql`
        DELETE FROM gorkheavy.turns WHERE id IN (
          SELECT t.id FROM gorkheavy.turns t JOIN gorkheavy.conversations c ON t.user_id = c.user_id AND t.conversation_id = c.id
          WHERE t.sequence <= c.last_sequence - ${turnsPerConversation}::integer
          LIMIT ${rows}::integer FOR UPDATE OF t SKIP LOCKED)
        RETURNING 1 AS gone`,
    );
  }
  if (keepDays === undefined) return;
  await inBatches(
    rows,
    () => sql`
      DELETE FROM gorkheavy.conversations WHERE (user_id, id) IN (
        SELECT c.user_id, c.id FROM gorkheavy.conversations c
        WHERE c.updated_at < now() - ${keepDays}::float8 * interval '1 day'
          AND NOT EXISTS (SELECT 1 FROM gorkheavy.turns t WHERE t.user_id = c.user_id AND t.conversation_id = c.id)
        LIMIT ${rows}::integer FOR UPDATE OF c SKIP LOCKED)
      RETURNING 1 AS gone`,
  );
}

/** Runs a statement until it deletes less than a whole batch. */
async function inBatches(rows: number, batch: () => Promise<Rows>): Promise<void> {
  while ((await batch()).length >= rows);
}
