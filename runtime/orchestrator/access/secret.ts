import { randomBytes } from "node:crypto";
import { digestOfSecret, isSecretOf } from "../../support/secret.ts";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** Digits that 32 bytes take in base 62: 62^43 is the first power above 2^256. */
const DIGITS = 43;

const SHAPE = /^gh_([a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?)_[0-9A-Za-z]{43}$/;

/** A new key: `gh_<id>_` and 32 random bytes in base 62. */
export function makeKey(id: string): string {
  let rest = BigInt(`0x${randomBytes(32).toString("hex")}`);
  let digits = "";
  for (let at = 0; at < DIGITS; at++) {
    digits = `${ALPHABET[Number(rest % 62n)] ?? "0"}${digits}`;
    rest /= 62n;
  }
  return `gh_${id}_${digits}`;
}

/** The id in a key; undefined when it has not the shape of one. */
export function idOfKey(key: string): string | undefined {
  return SHAPE.exec(key)?.[1];
}

/** A text with all keys in it made unreadable, for messages about what somebody put in the wrong place. */
export function withoutKeys(text: string): string {
  return text.replace(/gh_[a-z0-9-]+_[0-9A-Za-z]{20,}/g, "gh_…");
}

/** What is kept of a key in place of it. */
export function hashOfKey(key: string): string {
  return `sha256:${digestOfSecret(key).toString("hex")}`;
}

/** Whether a key is the one that a hash was made of. */
export function matches(key: string, hash: string): boolean {
  return isSecretOf(key, Buffer.from(hash.slice("sha256:".length), "hex"));
}

/** The key of an `authorization` header: undefined without one, the empty string for another scheme or none at all, which is a wrong key. */
export function bearerOf(authorization: string | undefined): string | undefined {
  if (authorization === undefined) return undefined;
  return /^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? "";
}
