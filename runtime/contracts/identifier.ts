import { z } from "zod";

/** Identifier that a client chooses for its user or conversation. */
export const Identifier = z.string().regex(/^[A-Za-z0-9._:@-]{1,128}$/, "want 1 to 128 of A-Z, a-z, 0-9 and . _ : @ -");

/** Key under which a client may send the same question again and is answered once: 1 to 255 printable characters. */
export const IdempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, "want 1 to 255 printable characters without blanks, such as a UUID");
