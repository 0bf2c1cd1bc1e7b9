import { z } from "zod";

/** A Redis that all replicas share. While it does not answer, each replica works alone. */
export const RedisConfigSchema = z
  .strictObject({
    /** Address without a password, such as `redis://redis:6379/0` or `unix:///run/redis.sock`. */
    url: z
      .string()
      .regex(
        /^(rediss?|unix):\/\/[^@\s]+$/,
        "want redis://, rediss:// or unix:// and no password; with one, give urlEnv",
      )
      .optional(),
    /** Environment variable that holds the address, password included. Never the address itself. */
    urlEnv: z
      .string()
      .regex(/^[A-Z][A-Z0-9_]*$/, "want the name of an environment variable such as REDIS_URL")
      .optional(),
    /** Longest wait for one answer of it, ms; then the request goes on without. */
    commandMs: z.int().min(1).max(60_000).default(250),
    /** First words of all its keys, so that several ensembles can share it. */
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9:._-]{0,64}$/, "want up to 64 of A-Z, a-z, 0-9 and : . _ -")
      .default("gorkheavy:"),
  })
  .refine(({ url, urlEnv }) => (url === undefined) !== (urlEnv === undefined), { error: "want either url or urlEnv" });
/** A Redis that all replicas share. */
export type RedisConfig = z.output<typeof RedisConfigSchema>;
