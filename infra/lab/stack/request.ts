import { z } from "zod";

/** What the lab asks of the process that drives the engine; sent on its standard input, as JSON. Holds no secret. */
export const EngineRequest = z.strictObject({
  action: z.enum(["up", "preview", "destroy", "refresh"]),
  stackName: z.string(),
  /** Folder of the engine's state; see EnginePlaces. */
  dir: z.string(),
  pulumiPath: z.string(),
  caFile: z.string().optional(),
  /** File with the Proxmox API token. Absent: a placeholder, which is enough for a preview. */
  tokenFile: z.string().optional(),
  overrides: z.record(z.string(), z.unknown()),
});
export type EngineRequest = z.output<typeof EngineRequest>;

/** What one run of the engine changed, by operation: `{ create: 12, same: 3 }`. */
export const EngineChanges = z.record(z.string(), z.number());

/** One resource that would change or has changed. */
export const PlannedChange = z.strictObject({
  operation: z.string(),
  type: z.string(),
  name: z.string(),
  urn: z.string(),
});
export type PlannedChange = z.output<typeof PlannedChange>;

/** What the process answers, one JSON value a line on its standard output. */
export const EngineAnswer = z.union([
  z.strictObject({ say: z.string() }),
  z.strictObject({ failure: z.string() }),
  z.strictObject({
    done: z.strictObject({
      changes: EngineChanges,
      planned: z.array(PlannedChange),
      /** Stack outputs in plain; they cross a pipe between the lab's own processes and are never printed. */
      outputs: z.record(z.string(), z.unknown()),
      ms: z.number(),
    }),
  }),
]);
export type EngineAnswer = z.output<typeof EngineAnswer>;
export type EngineDone = Extract<EngineAnswer, { done: unknown }>["done"];

/** Operations that leave a resource as it is. */
const UNCHANGED = new Set(["same", "read", "refresh", "discard"]);

/** How many resources an update or preview touched. */
export function countChanged(changes: Readonly<Record<string, number>>): number {
  return Object.entries(changes).reduce((sum, [operation, count]) => (UNCHANGED.has(operation) ? sum : sum + count), 0);
}
