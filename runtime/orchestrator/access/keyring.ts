import { readFile, stat } from "node:fs/promises";
import { parseDocument } from "yaml";
import { z } from "zod";
import { type KeyRecord, type KeysFile, KeysFileSchema } from "../../contracts/access-config.ts";
import { idOfKey, matches, withoutKeys } from "./secret.ts";

/** Largest keys file, bytes: some hundred thousand keys. */
const MOST_BYTES = 67_108_864;

/** Hash that no key has: what an unknown id is compared with, so that it takes as long as a known one. */
const NOBODYS_HASH = `sha256:${"0".repeat(64)}`;

/** A keys file that cannot be used; the message names it and what is wrong. */
export class KeysFileError extends Error {
  override readonly name = "KeysFileError";
}

/** Reads a keys file. @throws KeysFileError */
export async function readKeysFile(file: string): Promise<KeysFile> {
  let text: string;
  try {
    const { size } = await stat(file);
    if (size > MOST_BYTES) throw new KeysFileError(`keys file ${file}: got ${size} bytes, want at most ${MOST_BYTES}`);
    text = await readFile(file, "utf8");
  } catch (cause) {
    if (cause instanceof KeysFileError) throw cause;
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unreadable";
    throw new KeysFileError(
      `keys file ${file}: cannot be read (${code}); make one with: gorkheavy keys create ID --file ${file}`,
      { cause },
    );
  }
  return parseKeysFile(text, file);
}

/** Reads a keys file's text. @throws KeysFileError naming every bad field */
export function parseKeysFile(text: string, file: string): KeysFile {
  // The parser's own messages quote the line, which may hold what somebody took for a hash.
  const document = parseDocument(text, { logLevel: "silent", prettyErrors: false });
  if (document.errors.length > 0) throw new KeysFileError(`keys file ${file}: neither YAML nor JSON`);
  let raw: unknown;
  try {
    raw = document.toJS();
  } catch (cause) {
    throw new KeysFileError(`keys file ${file}: its aliases cannot be followed`, { cause });
  }
  const parsed = KeysFileSchema.safeParse(raw);
  if (!parsed.success) throw new KeysFileError(withoutKeys(`keys file ${file}:\n${z.prettifyError(parsed.error)}`));
  return parsed.data;
}

/** Keys that a keys file holds; all of them change at once. */
export class Keyring {
  #keys: ReadonlyMap<string, KeyRecord> = new Map();
  #users: ReadonlySet<string> = new Set();

  constructor(file: KeysFile = { keys: [] }) {
    this.replace(file);
  }

  /** Keys of it, refused ones included. */
  get size(): number {
    return this.#keys.size;
  }

  /** Takes the keys of another file in place of its own. */
  replace({ keys }: KeysFile): void {
    this.#keys = new Map(keys.map((key) => [key.id, key]));
    this.#users = new Set(keys.flatMap(({ user }) => user ?? []));
  }

  /** The record of a key; undefined when it is none of these. Whether it has expired is not looked at. */
  find(key: string): KeyRecord | undefined {
    const id = idOfKey(key);
    const record = id === undefined ? undefined : this.#keys.get(id);
    const right = matches(key, record?.hash ?? NOBODYS_HASH);
    return right ? record : undefined;
  }

  /** The record of an id as it is now. */
  byId(id: string): KeyRecord | undefined {
    return this.#keys.get(id);
  }

  /** Whether a key has this user for its own, so that nobody else may ask as him. */
  owns(user: string): boolean {
    return this.#users.has(user);
  }
}

/** Why a key may not be used at a moment; undefined when it may. @param nowMs time of day, ms */
export function refusalOf({ id, revoked, expires }: KeyRecord, nowMs: number): string | undefined {
  if (revoked !== undefined && Date.parse(revoked) <= nowMs) return `the key ${id} was revoked`;
  if (expires !== undefined && Date.parse(expires) <= nowMs) return `the key ${id} expired`;
  return undefined;
}
