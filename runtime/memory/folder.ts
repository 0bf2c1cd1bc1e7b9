import { randomUUID } from "node:crypto";
import { link, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { codeOf } from "../support/error-code.ts";
import { explained, StoreUnavailable } from "./unavailable.ts";

const Holder = z.object({ pid: z.int(), startTicks: z.string(), token: z.string() });

/**
 * Holds a folder for this process by a file in it; what a dead process left is taken over.
 * @returns lets it go
 * @throws StoreUnavailable naming the process that holds it
 */
export async function holdFolder(directory: string, name: string): Promise<() => Promise<void>> {
  const path = join(directory, name);
  const mine = { pid: process.pid, startTicks: (await startTicksOf(process.pid)) ?? "", token: randomUUID() };
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      const file = await open(path, "wx", 0o600);
      await file.writeFile(JSON.stringify(mine));
      await file.close();
      held.add(mine.token);
      return async () => {
        held.delete(mine.token);
        await rm(path, { force: true });
      };
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw explained(error, { target: directory, setting: "store.directory" });
    }
    const holder = await holderOf(path);
    if (holder !== undefined && (await lives(holder))) {
      throw new StoreUnavailable(
        `${directory}: process ${holder.pid} uses this folder; stop it, or give this one another store.directory`,
      );
    }
    // Whoever renames it first may go on; the other finds nothing to rename and looks again.
    const aside = `${path}.${mine.token}`;
    try {
      await rename(path, aside);
    } catch {
      continue;
    }
    // Between the look and the rename a third one may have taken it: then it gets its file back.
    const taken = await holderOf(aside);
    if (taken !== undefined && (await lives(taken))) await link(aside, path).catch(() => undefined);
    await rm(aside, { force: true });
  }
  throw new StoreUnavailable(`${directory}: ${name} cannot be had; see store.directory`);
}

/** Locks that this process holds, so that a second one in the same process is seen too. */
const held = new Set<string>();

async function holderOf(path: string): Promise<z.output<typeof Holder> | undefined> {
  // A file that was just made is empty for a moment.
  for (let attempt = 0; attempt < 10; attempt++) {
    const text = await readFile(path, "utf8").catch(() => "");
    if (text !== "") {
      try {
        return Holder.parse(JSON.parse(text));
      } catch {
        return undefined;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return undefined;
}

async function lives(holder: z.output<typeof Holder>): Promise<boolean> {
  if (holder.pid === process.pid) return held.has(holder.token);
  const ticks = await startTicksOf(holder.pid);
  if (ticks !== undefined) return ticks === holder.startTicks || holder.startTicks === "";
  if (process.platform === "linux") return false;
  try {
    process.kill(holder.pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Start of a process in clock ticks since boot, so that a later one with the same id is told apart; undefined when there is none. Source: proc(5), field 22 of stat. */
async function startTicksOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields === undefined || fields[0] === "Z" ? undefined : fields[19];
}
