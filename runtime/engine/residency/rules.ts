import type { Activity } from "../lifecycle.ts";
import type { Clock } from "./clock.ts";
import type { Rules } from "./policy.ts";

/** How models are kept in memory. All of it may change while they are. */
export interface ResidencyRules extends Omit<Rules, "budgetBytes"> {
  /** Time from a model's last token to being let go, ms; `Infinity` is for ever. A request's own `keep_alive` wins. */
  keepAliveMs: number;
  /** Longest wait of a request for a model that it makes load, ms. A model that loads since the engine starts is not waited for. */
  waitMs: number;
  /** Memory that all models together may take. Absent: what the container may have. */
  memoryBytes?: number;
}

/** As an engine keeps them when nothing is set. */
export const USUAL_RULES: ResidencyRules = {
  keepAliveMs: Number.POSITIVE_INFINITY,
  waitMs: 30_000,
  dwellMs: 10_000,
  fairnessMs: 20_000,
  replaceWithoutRoom: true,
};

/** What a residency is made of, beside its backend. */
export interface ResidencyOptions {
  rules?: Partial<ResidencyRules>;
  clock?: Clock;
  /** Memory that this process may have, bytes. Absent: no limit. */
  limitBytes?: number;
  /** Told when models come, go or are replaced; the answer says that it is over. */
  activity?: (activity: Activity, model: string) => () => void;
  /** Told whenever a model became ready or ceased to be. */
  changed?: () => void;
  /** Told of each request for a model, and whether it was in memory then. */
  used?: (model: string, ready: boolean) => void;
}
