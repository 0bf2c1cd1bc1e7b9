import { codeOf } from "../support/error-code.ts";

/** The store cannot be used now. The message is fit for clients and logs: it names the setting to look at, and holds no URL, user or password. */
export class StoreUnavailable extends Error {
  override readonly name = "StoreUnavailable";
  /** Whether trying again may help without anybody doing something. */
  readonly passing: boolean;

  constructor(message: string, options: { passing?: boolean; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.passing = options.passing ?? true;
  }
}

/** What a statement was refused for is in the data: trying it again, here or later, changes nothing. */
export class StoreRefused extends Error {
  override readonly name = "StoreRefused";
}

/** Where the store is and which settings lead there, for messages. */
export interface Place {
  /** Such as `db:5432/gorkheavy` or a folder. */
  target: string;
  /** Setting that names the place, such as `store.urlEnv (GORKHEAVY_DATABASE_URL)`. */
  setting: string;
}

/** SQLSTATEs of Postgres that people can do something about. Source: PostgreSQL 15 manual, appendix A. */
const ADVICE: Readonly<Record<string, string>> = {
  "28P01": "the server refuses user and password of the URL",
  "28000": "the server refuses this user; look at its pg_hba.conf",
  "3D000": "there is no database of that name; create it",
  "42501": "the user may not do that; grant it CREATE on the database",
  "53100": "the disk is full",
  "53200": "the server is out of memory",
  "53300": "the server has no free connection; lower store.connections or raise its max_connections",
  "57P01": "the server is stopping",
  "57P03": "the server is starting",
  "57014": "a statement took longer than store.writeMs allows",
  "25006": "the server only reads; give the URL of the primary",
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection broke",
  CONNECTION_CLOSED: "the connection broke",
  CONNECTION_ENDED: "the connection was given up",
  CONNECTION_DESTROYED: "the connection was given up",
  CONNECT_TIMEOUT: "no connection within store.connectMs",
  ENOTFOUND: "there is no host of that name",
  EAI_AGAIN: "the host's name cannot be looked up now",
  EHOSTUNREACH: "there is no way to that host",
  ENETUNREACH: "there is no way to that network",
  ENOENT: "there is no such socket or folder",
  EACCES: "no permission",
  ENOSPC: "the disk is full",
  EROFS: "the file system only reads",
};

/** An error of a database in words of ours: what cannot be said without its own words is not said, since those may hold data. */
export function explained(error: unknown, place: Place): StoreUnavailable | StoreRefused {
  if (error instanceof StoreUnavailable || error instanceof StoreRefused) return error;
  const code = codeOf(error);
  // Classes 22 and 23: data that a column cannot hold, or a broken constraint.
  if (code !== undefined && /^2[23]/.test(code))
    return new StoreRefused(`the store refused the data (SQLSTATE ${code})`, { cause: error });
  const why = ADVICE[code ?? ""] ?? `it failed (${code ?? (error instanceof Error ? error.name : "no error")})`;
  return new StoreUnavailable(`${place.target}: ${why}; see ${place.setting}`, { cause: error });
}
