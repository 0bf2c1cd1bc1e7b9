import { spawn } from "node:child_process";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Lab } from "../lab.ts";
import { readLock } from "../tools/lock.ts";
import { repositoryRoot } from "../tools/paths.ts";
import { type DatacentreConfig, datacentreConfigFile } from "./config.ts";
import { callControl, DatacentreStatus } from "./control.ts";

/** Boot of three Proxmox APIs and the network takes under two seconds; machines that come back after a crash a few more. */
const START_TIMEOUT_MS = 60_000;

/** The running datacentre's own words, or undefined when it is down. */
export async function datacentreStatus(lab: Lab): Promise<DatacentreStatus | undefined> {
  if (!(await readLock(lab.datacentreLock))) return undefined;
  return callControl(lab.controlSocket, "/status", DatacentreStatus).catch(() => undefined);
}

/**
 * Starts the datacentre as a process that outlives this command, and waits until it serves.
 * @throws Error with the last lines of its log
 */
export async function startDatacentre(lab: Lab, config: DatacentreConfig): Promise<DatacentreStatus> {
  await mkdir(lab.stateDir, { recursive: true, mode: 0o700 });
  await mkdir(lab.runDir, { recursive: true, mode: 0o700 });
  await writeFile(datacentreConfigFile(lab), JSON.stringify(config), { mode: 0o600 });
  const log = await open(lab.logFile, "a", 0o600);
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", join(repositoryRoot, "infra/lab/datacentre/main.ts"), lab.name],
    { detached: true, stdio: ["ignore", log.fd, log.fd], cwd: "/" },
  );
  let ended = false;
  child.on("exit", () => {
    ended = true;
  });
  child.unref();
  await log.close();
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline && !ended) {
    const status = await datacentreStatus(lab);
    if (status) return status;
    await delay(100);
  }
  const words = await readFile(lab.logFile, "utf8").catch(() => "");
  throw new Error(
    `The datacentre ${ended ? "ended" : `did not answer within ${START_TIMEOUT_MS / 1000} s`}. Last lines of ${lab.logFile}:\n${words.trim().split("\n").slice(-15).join("\n")}`,
  );
}

/** Ends the datacentre and with it its machines; false when it was not up. */
export async function stopDatacentre(lab: Lab, timeoutMs: number): Promise<boolean> {
  const holder = await readLock(lab.datacentreLock);
  if (!holder) return false;
  process.kill(holder.pid, "SIGTERM");
  const deadline = Date.now() + timeoutMs;
  while (Date.now() < deadline) {
    if (!(await readLock(lab.datacentreLock))) return true;
    await delay(100);
  }
  process.kill(holder.pid, "SIGKILL");
  return true;
}
