import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { z } from "zod";
import type { Database } from "./database.ts";
import { StoreUnavailable } from "./unavailable.ts";

/** One step of the schema: a file `NNNN-name.sql`. */
export interface Migration {
  version: number;
  name: string;
  text: string;
}

/** Set by the bundler, which has no files to read at run time. */
declare const GORKHEAVY_MIGRATIONS: readonly { name: string; text: string }[] | undefined;

/** Name of the advisory lock that lets one process at a time change the schema; any number, the same everywhere. */
const LOCK = 7_201_966_101;

/** All migrations of this program, in order. */
export async function ownMigrations(): Promise<Migration[]> {
  if (typeof GORKHEAVY_MIGRATIONS !== "undefined") return numberedOnes(GORKHEAVY_MIGRATIONS);
  const folder = new URL("./migrations/", import.meta.url);
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql"));
  return numberedOnes(
    await Promise.all(names.map(async (name) => ({ name, text: await readFile(new URL(name, folder), "utf8") }))),
  );
}

function numberedOnes(files: readonly { name: string; text: string }[]): Migration[] {
  return files
    .map(({ name, text }) => ({ version: Number(name.slice(0, 4)), name, text }))
    .toSorted((a, b) => a.version - b.version);
}

const Applied = z.array(z.object({ version: z.int(), name: z.string(), sha256: z.string() }));

/**
 * Brings the schema up to date, in one transaction under a lock: of three replicas that start at once, one does it.
 * @throws StoreUnavailable when the database was made by a newer program, or a migration was changed after it was applied
 */
export async function migrate(database: Database, migrations: readonly Migration[]): Promise<void> {
  await database.begin(async (sql, script) => {
    await sql`SELECT pg_advisory_xact_lock(${LOCK}::bigint)`;
    // Even IF NOT EXISTS wants the right to make one, which the user of a schema that is there need not have.
    const [there] = await sql`SELECT to_regnamespace('gorkheavy') IS NOT NULL AS made`;
    if (there?.["made"] !== true) await sql`CREATE SCHEMA gorkheavy`;
    await sql`CREATE TABLE IF NOT EXISTS gorkheavy.migrations (version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`;
    const applied = Applied.parse(await sql`SELECT version, name, sha256 FROM gorkheavy.migrations ORDER BY version`);
    const newest = migrations.at(-1)?.version ?? 0;
    for (const { version, name, sha256 } of applied) {
      if (version > newest) {
        throw new StoreUnavailable(
          `the database has schema ${version} (${name}), this program knows ${newest}; run a newer gorkheavy, or give another database`,
          { passing: false },
        );
      }
      const own = migrations.find((one) => one.version === version);
      if (own === undefined || digestOf(own.text) !== sha256) {
        throw new StoreUnavailable(
          `migration ${name} was applied to the database with another content than this program's; run the program that made it, or give another database`,
          { passing: false },
        );
      }
    }
    for (const { version, name, text } of migrations.slice(applied.length)) {
      await script(text);
      await sql`INSERT INTO gorkheavy.migrations (version, name, sha256) VALUES (${version}::integer, ${name}, ${digestOf(text)})`;
    }
  });
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
