import { z } from "zod";

const Millis = z.int().min(1).max(3_600_000);

/** The WebSocket `/horn`: who may connect, how long it remembers, and how much of it there may be at once. */
export const HornConfigSchema = z.strictObject({
  /** Origins of browsers' pages that may connect, such as `https://console.example`. Programs send no origin and are let in. */
  origins: z.array(z.url({ protocol: /^https?$/ }).transform((origin) => new URL(origin).origin)).default([]),
  /** Environment variable that holds the one token of all clients, in place of the keys and rules of `access`. Absent: those. Never the token itself. */
  tokenEnv: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/, "want the name of an environment variable such as HORN_TOKEN")
    .optional(),
  /** How long a question can be resumed after its socket has gone or its answer has ended, ms; then it is cancelled or forgotten. */
  resumeMs: Millis.default(60_000),
  /** Time for the first frame of a socket, ms. */
  helloMs: Millis.default(10_000),
  /** A socket that said nothing for so long is pinged; one that then says and takes nothing for as long again is cut, ms. */
  heartbeatMs: Millis.default(15_000),
  limits: z
    .strictObject({
      /** Sessions at once, those that wait for their client included; a further `hello` gets `overloaded`. */
      sessions: z.int().min(1).max(1_000_000).default(10_000),
      /** Questions of one session at once, those kept for resumption included; a further `ask` gets `overloaded`. */
      questionsPerSession: z.int().min(1).max(10_000).default(32),
      /** Sockets of one address at once, whether they said hello or not; further ones get 429. Behind a proxy all clients have its address. */
      socketsPerAddress: z.int().min(1).max(1_000_000).default(2_000),
      /** About how much may be kept for resumption in all, bytes; beyond it the answers that ended first are forgotten. */
      keptBytes: z.int().min(65_536).max(68_719_476_736).default(67_108_864),
    })
    .prefault({}),
});
/** The WebSocket `/horn`, defaults filled in. */
export type HornConfig = z.output<typeof HornConfigSchema>;
