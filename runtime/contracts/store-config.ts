import { z } from "zod";

const Millis = z.int().min(1).max(3_600_000);

/** Where conversations are kept. */
export const StoreKind = z.enum(["auto", "postgres", "pglite", "process"]);
/** Where conversations are kept. */
export type StoreKind = z.output<typeof StoreKind>;

/** Environment variable that holds the Postgres URL unless the configuration names another. */
export const DATABASE_URL_ENV = "GORKHEAVY_DATABASE_URL";

/** Section `store` of the orchestrator's configuration: where conversations are kept, and what is done while that place is away. */
export const StoreSchema = z.strictObject({
  /**
   * `postgres`: the server that the variable `urlEnv` names; `pglite`: Postgres in this process, its files in `directory`; `process`: memory
   * alone, gone with the process. `auto`: Postgres where the variable is set, else PGlite.
   *
   * A killed process loses nothing with `postgres` and `pglite`. A power cut is another thing for `pglite`: it leaves its files to the operating
   * system, which writes them some seconds later (its file layer has no fsync at all, so no setting turns it on; seen at 0.5.16). The last
   * turns can be lost then, and in the worst case the files are damaged. Where that matters use `postgres`.
   */
  kind: StoreKind.default("auto"),
  /** Environment variable that holds the URL, `postgres://user:password@host:5432/database`. Never the URL itself: it has a password in it. */
  urlEnv: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/, "want the name of an environment variable such as GORKHEAVY_DATABASE_URL")
    .default(DATABASE_URL_ENV),
  /**
   * Folder of PGlite's files and of what waits to be written while Postgres is away. Absent: `$XDG_DATA_HOME/gorkheavy`, or
   * `~/.local/share/gorkheavy`; with `postgres`, what waits is then in memory only and is lost with the process.
   */
  directory: z.string().min(1).optional(),
  /** Connections to Postgres. */
  connections: z.int().min(1).max(100).default(4),
  /** Opening a connection, and each step of bringing the tables up to date. */
  connectMs: Millis.default(10_000),
  /** Longest wait for a conversation's last turns; after it the answer goes on without them. */
  recallMs: Millis.default(500),
  /** Longest wait for a turn to be written before its reply is sent; after it the turn waits in the outbox. */
  writeMs: Millis.default(2_000),
  /** Most bytes of turns that wait to be written; what comes then is not kept, and its reply says so. */
  outboxBytes: z.int().min(0).max(1_073_741_824).default(16_777_216),
  /** How long a claimed idempotency key is held without a sign of life of its holder. */
  leaseMs: z.int().min(500).max(600_000).default(10_000),
  /** How long a second request with the key of one in work waits for its answer before it is told to come back. */
  waitMs: Millis.default(30_000),
  /** How long an idempotency key and its answer are kept. */
  keyHours: z.int().min(1).max(8_760).default(24),
  /** Days after which a turn is deleted. Absent: never. */
  keepDays: z.int().min(1).max(36_500).optional(),
  /** Most turns of one conversation; the oldest are deleted. Absent: all are kept. */
  turnsPerConversation: z.int().min(1).max(1_000_000).optional(),
});
/** Section `store`, defaults filled in. */
export type StoreSettings = z.output<typeof StoreSchema>;
