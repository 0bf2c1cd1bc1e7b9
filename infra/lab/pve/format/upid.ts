/** The name of a task: who asked which node for what, and when (pve-common, UPID.pm). */
export interface Upid {
  node: string;
  /** Process id of the worker; only its form matters here. */
  pid: number;
  /** Start time of that process in jiffies; here a counter that keeps names apart. */
  pstart: number;
  /** Seconds since 1970. */
  startTime: number;
  /** `qmstart`, `download`, … */
  type: string;
  /** What the task works on, a VM id or file name; may be empty, never holds `:` or `/`. */
  id: string;
  /** `root@pam`, or `root@pam!lab` for a token. */
  user: string;
}

const UPID =
  /^UPID:([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8}):([^:\s/]+):([^:\s/]*):([^:\s/]+):$/;

/** Reads a UPID; undefined when it is not one. */
export function parseUpid(text: string): Upid | undefined {
  const match = UPID.exec(text);
  if (match === null) return undefined;
  const [, node = "", pid = "", pstart = "", startTime = "", type = "", id = "", user = ""] = match;
  const hex = (digits: string) => Number.parseInt(digits, 16);
  return { node, pid: hex(pid), pstart: hex(pstart), startTime: hex(startTime), type, id, user };
}

/** Writes a UPID, with its trailing colon. */
export function renderUpid(upid: Upid): string {
  const hex = (value: number) => value.toString(16).toUpperCase().padStart(8, "0");
  return `UPID:${upid.node}:${hex(upid.pid)}:${hex(upid.pstart)}:${hex(upid.startTime)}:${upid.type}:${upid.id}:${upid.user}:`;
}
