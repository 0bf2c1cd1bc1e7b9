import { createHash, timingSafeEqual } from "node:crypto";

/** An API token, taken apart. */
export interface ApiToken {
  /** `root@pam!lab`: what tasks name as their user. */
  id: string;
  /** The secret half. */
  secret: string;
}

const TOKEN =
  /^([^\s!@:/=]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+)=([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$/;

/** Reads `USER@REALM!TOKENID=UUID`. @throws Error that tells the form, never the text */
export function parseApiToken(text: string): ApiToken {
  const match = TOKEN.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) {
    const reasons = [
      text.includes("=") ? undefined : "it has no '='",
      text.includes("!") ? undefined : "it has no '!'",
      text.includes("@") ? undefined : "it has no '@'",
    ].filter((reason) => reason !== undefined);
    const why = reasons.length > 0 ? reasons.join(" and ") : "the part after '=' must be a UUID";
    throw new Error(
      `token: want USER@REALM!TOKENID=UUID (for example root@pam!lab=00000000-0000-4000-8000-000000000000), but ${why}; quote it for the shell`,
    );
  }
  return { id: match[1], secret: match[2] };
}

/** Compares two texts in a time that depends on neither. */
export function isSameSecret(given: string, expected: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
