import { z } from "zod";

/** The main API's WebSocket `/stream`: who may connect, and how much of it there may be at once. */
export const EngineStreamConfigSchema = z.strictObject({
  /** Origins of browsers' pages that may connect, such as `https://console.example`. Programs send no origin and are let in. */
  origins: z.array(z.url({ protocol: /^https?$/ }).transform((origin) => new URL(origin).origin)).default([]),
  /** A socket that said nothing for so long is pinged; one that then says and takes nothing for as long again is cut, ms. */
  heartbeatMs: z.int().min(1).max(3_600_000).default(15_000),
  /** Sockets at once; a further one gets 503. */
  sockets: z.int().min(1).max(1_000_000).default(1000),
  /** Generations at once on one socket; a further one is refused. */
  runs: z.int().min(1).max(10_000).default(16),
});
