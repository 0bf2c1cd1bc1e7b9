import { join } from "node:path";
import { z } from "zod";
import type { Lab } from "../lab.ts";
import { MachineStatus } from "./control.ts";

/** What the inner process tells the outer one. */
export const InsideStatus = z.strictObject({ machines: z.array(MachineStatus) });
export type InsideStatus = z.output<typeof InsideStatus>;

/** Socket of the inner process's control API. */
export function insideSocket(lab: Lab): string {
  return join(lab.runDir, "inside.sock");
}

/** Socket of the release server, which the inner process brings to the gateway's address. */
export function releaseSocket(lab: Lab): string {
  return join(lab.runDir, "release.sock");
}
