import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { stringify } from "yaml";
import { type KeyRecord, KeyRecordSchema, type KeysFile, KeysFileSchema } from "../../contracts/access-config.ts";
import { z } from "zod";
import { integer } from "../../support/options.ts";
import { KeysFileError, readKeysFile, refusalOf } from "./keyring.ts";
import { hashOfKey, makeKey } from "./secret.ts";

/** What is wanted of a new key. */
export interface NewKey {
  id: string;
  user?: string | undefined;
  models?: string[] | undefined;
  requestsPerMinute?: number | undefined;
  tokensPerDay?: number | undefined;
  expires?: string | undefined;
  admin?: boolean | undefined;
}

/** Adds a key to a keys file, which is made where there is none. @returns the key itself, which is kept nowhere. @throws KeysFileError */
export async function createKey(file: string, { id, user, ...rest }: NewKey): Promise<string> {
  const before = await keysOf(file);
  if (before.keys.some((one) => one.id === id))
    throw new KeysFileError(
      `keys file ${file}: has a key ${id} already; choose another id, since one that was revoked is not given out again`,
    );
  const key = makeKey(id);
  const record = KeyRecordSchema.safeParse({
    id,
    hash: hashOfKey(key),
    ...(user === undefined ? { users: "any" } : { user }),
    ...rest,
  });
  if (!record.success) throw new KeysFileError(`the key ${id}:\n${z.prettifyError(record.error)}`);
  await writeKeysFile(file, { keys: [...before.keys, record.data] });
  return key;
}

/** Marks a key as taken back. Its entry stays, so that its user stays its own. @throws KeysFileError when there is none of that id */
export async function revokeKey(file: string, id: string, now = new Date()): Promise<void> {
  const before = await readKeysFile(file);
  if (!before.keys.some((one) => one.id === id))
    throw new KeysFileError(`keys file ${file}: has no key ${id}; see: gorkheavy keys list --file ${file}`);
  const keys = before.keys.map((one) => (one.id === id ? { ...one, revoked: one.revoked ?? now.toISOString() } : one));
  await writeKeysFile(file, { keys });
}

async function keysOf(file: string): Promise<KeysFile> {
  try {
    return await readKeysFile(file);
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return { keys: [] };
    throw error;
  }
}

/** Writes the whole file beside the old one and puts it in its place: a reader sees the one or the other. Only its owner may read it. */
async function writeKeysFile(file: string, keys: KeysFile): Promise<void> {
  const text = stringify(KeysFileSchema.parse(keys), { aliasDuplicateObjects: false });
  const beside = join(dirname(file), `.${randomBytes(6).toString("hex")}.keys`);
  try {
    const handle = await open(beside, "wx", 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, file);
  } catch (cause) {
    await rm(beside, { force: true });
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "failed";
    throw new KeysFileError(
      `keys file ${file}: cannot be written (${code}); give a --file in a folder that you may write to`,
      { cause },
    );
  }
}

/** One line about a key; nothing of its hash. */
export function describeKey(key: KeyRecord, nowMs = Date.now()): string {
  const { id, user, models, requestsPerMinute, tokensPerDay, expires, admin } = key;
  const state = refusalOf(key, nowMs) === undefined ? "valid" : key.revoked === undefined ? "expired" : "revoked";
  return [
    id,
    state,
    user === undefined ? "any user" : `user ${user}`,
    models === undefined ? "all models" : models.join(","),
    requestsPerMinute === undefined ? "any number of requests" : `${requestsPerMinute} requests/min`,
    tokensPerDay === undefined ? "any number of tokens" : `${tokensPerDay} tokens/day`,
    expires === undefined ? "never expires" : `expires ${expires}`,
    ...(admin ? ["admin"] : []),
  ].join("\t");
}

/** `--expires`: a moment, or days from now such as `90d`. */
function moment(text: string): string {
  const days = /^(\d{1,5})d$/.exec(text)?.[1];
  if (days !== undefined) return new Date(Date.now() + Number(days) * 86_400_000).toISOString();
  const parsed = KeyRecordSchema.shape.expires.safeParse(text);
  if (parsed.success && parsed.data !== undefined) return parsed.data;
  throw new InvalidArgumentError(
    `--expires: got ${text}, want days such as 90d or a moment such as 2027-01-31T00:00:00Z.`,
  );
}

const FILE = ["--file <file>", "the keys file, as access.keysFile of the configuration names it"] as const;

/** `keys`: who may ask. */
export function keysCommand(): Command {
  return new Command("keys")
    .description("make, list and take back the keys of clients; only their hashes are kept")
    .addCommand(
      new Command("create")
        .description("make a key and print it: this once, and never again")
        .argument("<id>", "its name, such as anns-laptop")
        .requiredOption(...FILE)
        .option("--user <name>", "the only user it may ask as (default: any)")
        .option("--models <names>", "models it may ask for, comma-separated (default: all)", (text) => text.split(","))
        .option(
          "--requests-per-minute <number>",
          "most requests a minute (default: any)",
          integer("requests-per-minute", 1, 1_000_000),
        )
        .option(
          "--tokens-per-day <number>",
          "most tokens a day (default: any)",
          integer("tokens-per-day", 1, 1_000_000_000_000),
        )
        .option("--expires <when>", "days from now such as 90d, or a moment (default: never)", moment)
        .option("--admin", "it may do what changes the service itself")
        .action(async (id: string, { file, ...wanted }: Omit<NewKey, "id"> & { file: string }) => {
          process.stdout.write(`${await createKey(file, { id, ...wanted })}\n`);
        }),
    )
    .addCommand(
      new Command("list")
        .description("list the keys, without what could open anything")
        .requiredOption(...FILE)
        .action(async ({ file }: { file: string }) => {
          const { keys } = await readKeysFile(file);
          for (const key of keys) process.stdout.write(`${describeKey(key)}\n`);
        }),
    )
    .addCommand(
      new Command("revoke")
        .description("take a key back; running services see it within seconds")
        .argument("<id>")
        .requiredOption(...FILE)
        .action(async (id: string, { file }: { file: string }) => {
          await revokeKey(file, id);
        }),
    );
}
