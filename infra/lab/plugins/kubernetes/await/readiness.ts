import type { JsonObject } from "../manifest.ts";
import type { Objects } from "../objects.ts";

/** Everything that a check of readiness may look at. */
export interface Waiting {
  objects: Objects;
  namespace: string | undefined;
  name: string;
  /** The object as it is now. */
  live: JsonObject;
  /** Time since the apply, ms; undefined in a refresh, which looks once and never waits. */
  elapsedMs: number | undefined;
  /** Notes that a check keeps from one look to the next; fresh for each wait. */
  notes: Map<string, string>;
  signal: AbortSignal | undefined;
}

/** What one look at an object told. */
export interface Readiness {
  isReady: boolean;
  /** True when waiting longer cannot help (a Job that failed). @default false */
  isHopeless?: boolean;
  /** One line on what is being waited for. */
  status: string;
  /** What is wrong, one line each; asked for only when it is shown. */
  problems(): Promise<string[]>;
}

/** A check of one kind. */
export type ReadinessCheck = (waiting: Waiting) => Promise<Readiness>;

/** Nothing to wait for. */
export const READY: Readiness = { isReady: true, status: "", problems: () => Promise.resolve([]) };

/** Not there yet, with a line that says what is missing. */
export function pending(status: string, ...problems: string[]): Readiness {
  return { isReady: false, status, problems: () => Promise.resolve(problems.length > 0 ? problems : [status]) };
}
