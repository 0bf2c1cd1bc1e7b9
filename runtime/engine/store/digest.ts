import { Fault } from "../../core/fault.ts";

/** Bytes in a store and elsewhere are named by `sha256:` and 64 hex digits in small letters, and by nothing else (CVE-2024-37032). */
const DIGEST = /^sha256:([0-9a-f]{64})$/;

/** The 64 hex digits of a digest. @param what names it in the message @throws Fault invalid_request */
export function hexOf(digest: string, what = "digest"): string {
  const hex = DIGEST.exec(digest)?.[1];
  if (hex === undefined)
    throw new Fault(
      "invalid_request",
      `${what}: got ${shown(digest)}, want sha256: and 64 hex digits in small letters`,
    );
  return hex;
}

/** Whether a text is a digest. */
export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** A text of others in a message: without control characters, and not longer than a line. */
export function shown(text: string): string {
  const clean = JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
  return clean.replaceAll(/[^\x20-\x7e…]/g, "?");
}
