import { z } from "zod";

/** Answers kept for the same question asked again, word for word. Off unless somebody wants it: small models may do better the second time. */
export const CacheConfigSchema = z.strictObject({
  /** `memory`: each replica keeps its own. `redis`: all replicas share one; needs `redis`. */
  store: z.enum(["off", "memory", "redis"]).default("off"),
  /** How long an answer is kept, ms. */
  ttlMs: z.int().min(1_000).max(2_592_000_000).default(3_600_000),
  /** Most that `memory` keeps, bytes; the answer not asked for longest goes first. */
  memoryBytes: z.int().min(65_536).max(68_719_476_736).default(33_554_432),
  /** Whether each user gets his own kept answers alone: how soon an answer comes tells what others have asked. */
  isolateUsers: z.boolean().default(true),
});
/** Answers kept for the same question, defaults filled in. */
export type CacheConfig = z.output<typeof CacheConfigSchema>;
