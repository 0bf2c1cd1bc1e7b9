import type { ISql } from "postgres";
import type { Database, Sql } from "./database.ts";
import { codeOf } from "../support/error-code.ts";
import { StoreUnavailable } from "./unavailable.ts";

/** How a Postgres is reached. */
export interface PostgresOptions {
  url: string;
  connections: number;
  connectMs: number;
  /** Longest time of one statement on the server, ms. */
  statementMs: number;
}

/** Where a URL leads, without user and password: fit for logs. @param name of the variable that holds it @throws StoreUnavailable when it is no Postgres URL */
export function targetOf(url: string, name: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new StoreUnavailable(`${name}: not a URL, want postgres://user:password@host:5432/database`);
  }
  if (!/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new StoreUnavailable(
      `${name}: the URL begins with another scheme, want postgres://user:password@host:5432/database`,
    );
  }
  const socket = parsed.searchParams.get("host");
  return `${socket ?? parsed.host}${parsed.pathname}`;
}

/** A Postgres server. It connects with the first statement. Its library is loaded here: most services begin without it. */
export async function openPostgres(options: PostgresOptions): Promise<Database> {
  const { default: postgres } = await import("postgres");
  const client = postgres(options.url, {
    max: options.connections,
    connect_timeout: Math.max(1, Math.ceil(options.connectMs / 1000)),
    // Whoever tries again does so at his own pace.
    backoff: () => 0,
    fetch_types: false,
    onnotice: () => undefined,
    connection: {
      application_name: "gorkheavy",
      statement_timeout: options.statementMs,
      idle_in_transaction_session_timeout: options.statementMs * 2,
    },
  });
  const sqlOf =
    (runner: ISql): Sql =>
    async (text, ...values) => [...(await runner(text, ...values))];
  return {
    sql: sqlOf(client),
    begin: async <T>(work: Parameters<Database["begin"]>[0]): Promise<T> =>
      (await client.begin((transaction) =>
        work(
          (text, ...values) => orNever(sqlOf(transaction)(text, ...values)),
          async (text) => {
            await orNever(transaction.unsafe(text).simple());
          },
        ),
      )) as T,
    close: () => client.end({ timeout: 0 }),
  };
}

/**
 * A statement of a transaction, which does not settle when its connection is lost. The library would answer a failure with a ROLLBACK on the
 * connection that is gone, and that ends the whole process (porsager/postgres#1066, #1154, #1208; seen at 3.4.9). The transaction itself fails
 * all the same: the library watches the connection beside the work.
 */
async function orNever<T>(statement: PromiseLike<T>): Promise<T> {
  try {
    return await statement;
  } catch (error) {
    // Five characters with a digit (EPIPE has none), and not of a server that ends the connection, are a statement's own failure. Source:
    // PostgreSQL 15 manual, appendix A.
    if (/^(?!57P|08)(?=.*\d)[0-9A-Z]{5}$/.test(codeOf(error) ?? "")) throw error;
    return new Promise<never>(() => undefined);
  }
}
