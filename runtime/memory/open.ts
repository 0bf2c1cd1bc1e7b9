import { homedir } from "node:os";
import { join } from "node:path";
import type { EnsembleConfig } from "../contracts/ensemble-config.ts";
import type { StoreSettings } from "../contracts/store-config.ts";
import { timer } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Database } from "./database.ts";
import { Memory, type MemoryParts, type TurnOutcome } from "./memory.ts";
import { migrate, ownMigrations } from "./migrations.ts";
import { openOutboxFile } from "./outbox-file.ts";
import { Outbox } from "./outbox.ts";
import { openPglite } from "./pglite.ts";
import { openPostgres, targetOf } from "./postgres.ts";
import { ProcessStore } from "./process-store.ts";
import { SqlStore } from "./sql-store.ts";
import { explained, StoreUnavailable } from "./unavailable.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** What a service gives its memory. */
export interface MemoryOptions {
  config: Pick<EnsembleConfig, "store" | "memory">;
  /** Environment: holds the Postgres URL. */
  env?: Env;
  log?: MemoryParts["log"];
  count?: (outcome: TurnOutcome) => void;
}

/** The memory that a configuration asks for; nothing is opened yet. @throws Error when the URL that it names is not there or is none */
export function memoryOf({ config, env = {}, log, count }: MemoryOptions): Memory {
  const { store: settings, memory: limits } = config;
  const url = urlOf(settings, env);
  const kind = settings.kind === "auto" ? (url === undefined ? "pglite" : "postgres") : settings.kind;
  const directory = settings.directory ?? defaultDirectory(env);
  const common = { settings, limits, log, count };
  const boxIn = (folder: string | undefined) => (): Promise<Outbox> => outboxIn(folder, settings, log);
  switch (kind) {
    case "process": {
      const bounds = { conversations: limits.conversations, turns: settings.turnsPerConversation };
      const place = { target: "this process", setting: "store.kind" };
      const open = async (): Promise<ProcessStore> => new ProcessStore(bounds);
      return new Memory({ ...common, kind, place, open, outbox: boxIn(undefined) });
    }
    case "pglite": {
      const place = { target: directory, setting: "store.directory" };
      const open = async (): Promise<SqlStore> => upToDate(await openPglite(directory));
      return new Memory({ ...common, kind, place, open, outbox: boxIn(directory) });
    }
    case "postgres": {
      const place = { target: targetOf(url ?? "", settings.urlEnv), setting: `store.urlEnv (${settings.urlEnv})` };
      const { connections, connectMs, writeMs } = settings;
      const statementMs = Math.max(connectMs, writeMs);
      const open = async (): Promise<SqlStore> => {
        const database = await openPostgres({ url: url ?? "", connections, connectMs, statementMs });
        return withinTime(upToDate(database), connectMs, database, place.target);
      };
      return new Memory({ ...common, kind, place, open, outbox: boxIn(settings.directory) });
    }
  }
}

/** A memory that is gone with the process. */
export function processMemory({ memory, store }: MemoryOptions["config"]): Memory {
  return memoryOf({ config: { memory, store: { ...store, kind: "process" } } });
}

function urlOf({ kind, urlEnv }: StoreSettings, env: Env): string | undefined {
  const url = env[urlEnv];
  if (url !== undefined && url !== "" && kind !== "process" && kind !== "pglite") {
    targetOf(url, urlEnv);
    return url;
  }
  if (kind === "postgres")
    throw new Error(
      `store.urlEnv: the environment variable ${urlEnv} is not set, and store.kind is postgres; set it to postgres://user:password@host:5432/database`,
    );
  return undefined;
}

/** Where data of a user's programs go. Source: XDG Base Directory Specification 0.8. */
function defaultDirectory(env: Env): string {
  const base = env["XDG_DATA_HOME"];
  return join(base === undefined || base === "" ? join(env["HOME"] ?? homedir(), ".local/share") : base, "gorkheavy");
}

async function upToDate(database: Database): Promise<SqlStore> {
  try {
    await migrate(database, await ownMigrations());
    return new SqlStore(database);
  } catch (error) {
    void database.close().catch(() => undefined);
    throw error;
  }
}

async function withinTime(
  opening: Promise<SqlStore>,
  ms: number,
  database: Database,
  target: string,
): Promise<SqlStore> {
  let cancel: () => void = () => undefined;
  const late = new Promise<never>((_, reject) => {
    cancel = timer(ms, () => {
      void database.close().catch(() => undefined);
      reject(new StoreUnavailable(`${target}: not ready within ${ms} ms (store.connectMs)`));
    });
  });
  opening.catch(() => undefined);
  try {
    return await Promise.race([opening, late]);
  } finally {
    cancel();
  }
}

/** The outbox, on disk where there is a folder that can be used; else in memory, which the log says. */
async function outboxIn(
  directory: string | undefined,
  { outboxBytes }: StoreSettings,
  log: Pick<Logger, "warn"> | undefined,
): Promise<Outbox> {
  if (directory === undefined) return new Outbox(outboxBytes);
  try {
    return new Outbox(outboxBytes, await openOutboxFile(directory));
  } catch (error) {
    const reason = explained(error, { target: directory, setting: "store.directory" }).message;
    log?.warn({ reason }, "turns that wait for the store are kept in memory only");
    return new Outbox(outboxBytes);
  }
}
