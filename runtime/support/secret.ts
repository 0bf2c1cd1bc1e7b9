import { createHash, timingSafeEqual } from "node:crypto";

/** What is kept or looked up in place of a secret, 32 bytes. How long it takes to find one says nothing about the secret. */
export function digestOfSecret(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}

/** Whether a secret is the one of a digest. How long it takes says nothing about either. */
export function isSecretOf(secret: string, digest: Buffer): boolean {
  return timingSafeEqual(digestOfSecret(secret), digest);
}
