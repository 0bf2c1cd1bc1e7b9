/** A value of a statement; it travels beside the text, never in it. */
export type SqlValue = string | number | boolean | null;

/** Rows as the database gave them. */
export type Rows = readonly Record<string, unknown>[];

/** Runs one statement: a template whose values become parameters, so that nothing a client says is ever part of the text. */
export type Sql = (text: TemplateStringsArray, ...values: SqlValue[]) => Promise<Rows>;

/** A Postgres, in another process or in this one. */
export interface Database {
  sql: Sql;
  /** Runs the work in one transaction; it is rolled back when the work throws. */
  begin<T>(work: (sql: Sql, script: Script) => Promise<T>): Promise<T>;
  /** Lets go of everything at once; what is in work fails. */
  close(): Promise<void>;
}

/** Runs a text of several statements; only for migrations, which are files of ours. */
export type Script = (text: string) => Promise<void>;

/** A statement's text with $1, $2 … for its values. */
export function numbered(text: TemplateStringsArray): string {
  return text.reduce((before, part, index) => `${before}$${index}${part}`);
}
