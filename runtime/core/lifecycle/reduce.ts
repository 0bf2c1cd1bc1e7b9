import { EDGES, type LifecycleReason, type LifecycleState, NOWHERE } from "./table.ts";

/** What happened to a model, and why it goes on to another state. */
export interface LifecycleEvent {
  reason: LifecycleReason;
  /** What in particular, for people, such as a model's name or a signal's. */
  detail?: string;
}

/** Where a model stands, and what brought it there. */
export interface Lifecycle {
  readonly state: LifecycleState;
  /** Absent before the first event. */
  readonly by?: LifecycleEvent;
}

/** A model that nobody has asked for yet. */
export const NOT_YET: Lifecycle = { state: NOWHERE };

/** An event that its state does not know. */
export class LifecycleError extends Error {
  override readonly name = "LifecycleError";
}

/** By state, which reason leads where. */
const NEXT: ReadonlyMap<LifecycleState, ReadonlyMap<LifecycleReason, LifecycleState>> = tableOf();

function tableOf(): Map<LifecycleState, Map<LifecycleReason, LifecycleState>> {
  const next = new Map<LifecycleState, Map<LifecycleReason, LifecycleState>>();
  for (const [from, reason, to] of EDGES) {
    const row = next.get(from) ?? new Map<LifecycleReason, LifecycleState>();
    if (row.has(reason)) throw new LifecycleError(`${from} has two edges for ${reason}`);
    next.set(from, row.set(reason, to));
  }
  return next;
}

/** Reasons for which a state is left, in the table's order. */
export function reasonsFrom(state: LifecycleState): LifecycleReason[] {
  return [...(NEXT.get(state)?.keys() ?? [])];
}

/** The state after an event. @throws LifecycleError naming the state, the event and what the state knows */
export function advance(lifecycle: Lifecycle, event: LifecycleEvent): Lifecycle {
  const to = NEXT.get(lifecycle.state)?.get(event.reason);
  if (to === undefined) {
    const known = reasonsFrom(lifecycle.state).map((reason) => `"${reason}"`);
    throw new LifecycleError(
      `${lifecycle.state} does not know "${event.reason}"${event.detail === undefined ? "" : ` (${event.detail})`}, want ${known.join(" or ")}`,
    );
  }
  return { state: to, by: event };
}

/** The state after several events, one after the other. @throws LifecycleError at the first that its state does not know */
export function advanceAll(lifecycle: Lifecycle, events: readonly LifecycleEvent[]): Lifecycle {
  return events.reduce(advance, lifecycle);
}
