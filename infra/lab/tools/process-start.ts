import { readFile } from "node:fs/promises";

/** When a process began, by which one is told from a later one with the same id. */
export interface ProcessStart {
  /** Clock ticks after the host's boot. */
  ticks: number;
  /** It has ended, and only its parent has not asked for its status yet. */
  zombie: boolean;
}

/** When a process started; undefined when there is none of that id. Source: proc(5), fields 3 and 22 of stat. */
export async function processStart(pid: number): Promise<ProcessStart | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // The second field is the name in parentheses and may itself hold spaces and parentheses.
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  const ticks = fields?.[19];
  return ticks === undefined ? undefined : { ticks: Number(ticks), zombie: /^[ZX]$/.test(fields?.[0] ?? "") };
}
