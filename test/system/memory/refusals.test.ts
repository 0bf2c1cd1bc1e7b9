import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EnsembleConfigSchema } from "../../../runtime/contracts/ensemble-config.ts";
import { memoryOf } from "../../../runtime/memory/open.ts";
import { openPglite } from "../../../runtime/memory/pglite.ts";
import { startCuttingProxy } from "../../support/cutting-proxy.ts";
import { startPostgres, type TestPostgres } from "../../support/postgres.ts";

/** A password that no message may show. */
const PASSWORD = "canary-password-51c9";
/** PGlite's first start makes a whole database: seconds, more on a busy machine. */
const START_MS = 120_000;

let directory: string;
let database: TestPostgres;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "gorkheavy-refusals-"));
  database = await startPostgres();
  const sql = database.client();
  await sql`CREATE ROLE ann LOGIN PASSWORD 'another-one'`;
  const [file] = await sql<{ hba_file: string }[]>`SHOW hba_file`;
  await writeFile(file?.hba_file ?? "", "local all ann scram-sha-256\nlocal all all trust\n");
  await sql`SELECT pg_reload_conf()`;
  await sql.end();
}, START_MS);

afterAll(async () => {
  await database?.close();
  await rm(directory, { recursive: true, force: true });
}, START_MS);

/** Everything that a store says when it cannot be opened: to the caller, in its state and in the log. */
async function saidOf(store: Record<string, unknown>, url?: string): Promise<{ error: string; all: string }> {
  const { store: settings, memory: limits } = EnsembleConfigSchema.parse({
    members: [{ name: "llama", role: "candidate", url: "http://127.0.0.1:1", model: "mock:1b" }],
    store,
  });
  const lines: unknown[] = [];
  const log = { info: (...line: unknown[]) => lines.push(line), warn: (...line: unknown[]) => lines.push(line) };
  const memory = memoryOf({
    config: { store: settings, memory: limits },
    env: url === undefined ? {} : { GORKHEAVY_DATABASE_URL: url },
    log,
  });
  try {
    // Its time may be over before the store has begun; the reason comes then.
    await memory.list("ann", 10).catch(() => undefined);
    await expect.poll(() => memory.state.reason, { timeout: START_MS }).toBeDefined();
    const error = await memory.list("ann", 10).then(
      () => "no error",
      (thrown: unknown) => String(thrown),
    );
    return { error, all: JSON.stringify([error, memory.state, lines]) };
  } finally {
    await memory.close();
  }
}

test("a wrong password is said to be one, and not said", { timeout: START_MS }, async () => {
  const proxy = await startCuttingProxy(database.socket);
  try {
    const url = `postgres://ann:${PASSWORD}@127.0.0.1:${proxy.port}/gorkheavy`;
    const { error, all } = await saidOf({ kind: "postgres" }, url);
    expect(error).toContain(
      `127.0.0.1:${proxy.port}/gorkheavy: the server refuses user and password of the URL; see store.urlEnv (GORKHEAVY_DATABASE_URL)`,
    );
    expect(all).not.toContain(PASSWORD);
  } finally {
    await proxy.close();
  }
});

test("a database that is not there is named", { timeout: START_MS }, async () => {
  const proxy = await startCuttingProxy(database.socket);
  try {
    const { error } = await saidOf({ kind: "postgres" }, database.url(proxy.port).replace("/gorkheavy", "/elsewhere"));
    expect(error).toMatch(/\/elsewhere: there is no database of that name; .*store\.urlEnv/);
    expect(error).not.toContain("not-a-real-secret");
  } finally {
    await proxy.close();
  }
});

test("a host that nobody knows, and a port where nobody listens, are named", { timeout: START_MS }, async () => {
  // Source: RFC 6761, 6.4: `invalid` is never the name of a host.
  const unknown = await saidOf({ kind: "postgres" }, `postgres://ann:${PASSWORD}@db.invalid:5432/gorkheavy`);
  expect(unknown.error).toMatch(
    /db\.invalid:5432\/gorkheavy: (there is no host of that name|the host's name cannot be looked up now); see store\.urlEnv/,
  );
  const proxy = await startCuttingProxy(database.socket);
  await proxy.close();
  const silent = await saidOf({ kind: "postgres" }, `postgres://ann:${PASSWORD}@127.0.0.1:${proxy.port}/gorkheavy`);
  expect(silent.error).toMatch(/gorkheavy: nothing listens there; see store\.urlEnv/);
  expect(unknown.all + silent.all).not.toContain(PASSWORD);
});

test("a second process on a folder of PGlite is told which one has it", { timeout: START_MS }, async () => {
  const folder = join(directory, "held");
  const first = await openPglite(folder);
  try {
    const entry = new URL("../../../runtime/memory/pglite.ts", import.meta.url).href;
    const script = `const { openPglite } = await import(${JSON.stringify(entry)});
      await openPglite(${JSON.stringify(folder)}).then(() => console.log("opened"), (error) => console.log(error.message));
      process.exit(0);`;
    const second = await execa(process.execPath, ["--input-type=module", "-e", script]);
    expect(second.stdout).toBe(
      `${folder}: process ${process.pid} uses this folder; stop it, or give this one another store.directory`,
    );
    expect(await first.sql`SELECT 1 AS one`).toEqual([{ one: 1 }]);
  } finally {
    await first.close();
  }
});

test("damaged files of PGlite are said to be, and left as they are", { timeout: START_MS }, async () => {
  const folder = join(directory, "damaged");
  await (await openPglite(folder)).close();
  const before = await readdir(join(folder, "pglite"));
  await writeFile(join(folder, "pglite/global/pg_control"), "damaged");
  const { error } = await saidOf({ kind: "pglite", directory: folder });
  expect(error).toMatch(/pglite: PGlite cannot use this folder .*damaged.*move the folder away.*store\.directory/);
  expect(await readdir(join(folder, "pglite"))).toEqual(expect.arrayContaining(before));
});
