import { rm } from "node:fs/promises";
import { stopDatacentre } from "../datacentre/start.ts";
import type { Lab } from "../lab.ts";
import { sweep } from "../nodes/cleanup.ts";
import { holdLab } from "./up.ts";
import { step, type Terminal } from "./terminal.ts";

/** Machines are only containers whose disks are thrown away: they need no shutdown of their own. */
const STOP_TIMEOUT_MS = 15_000;

/** Ends the lab, whatever state it is in, and removes everything of it but the caches. */
export async function down(lab: Lab, to: Terminal): Promise<void> {
  const unlock = await holdLab(lab, "npm run lab -- down");
  try {
    await step("down", to, async () => {
      await stopDatacentre(lab, STOP_TIMEOUT_MS);
      for (const removed of await sweep(lab.name, { stateDir: lab.stateDir })) to.say(`removed ${removed}`);
      await rm(lab.stateDir, { recursive: true, force: true });
      await rm(lab.runDir, { recursive: true, force: true });
    });
  } finally {
    await unlock();
  }
}
