import { Fault } from "../../core/fault.ts";
import type { Entry, Lease, LiveCopy, Waiter } from "./entry.ts";
import type { Keeper } from "./keeper.ts";

/** Holds a copy for one request. @param keepAliveMs how long it stays after it; absent: as the engine is set */
export function holdCopy(keeper: Keeper, entry: Entry, copy: LiveCopy, keepAliveMs?: number): Lease {
  const model = copy.loaded;
  if (model === undefined) throw entry.notReady(keeper.clock.nowMs());
  copy.inFlight++;
  let released = false;
  const touch = (): void => {
    copy.lastTokenMs = keeper.clock.nowMs();
  };
  return {
    model,
    touch,
    release: () => {
      if (released) return;
      released = true;
      copy.inFlight--;
      touch();
      copy.keepAliveMs = keepAliveMs ?? keeper.rules.keepAliveMs;
      if (keepAliveMs !== undefined) copy.heldUntilMs = 0;
      if (copy.inFlight === 0) keeper.tick();
    },
  };
}

/**
 * Waits until a model takes requests, and then takes what `take` gives before anything else can happen to it.
 * @throws Fault model_failed when it cannot be loaded, model_loading when the time is over, cancelled
 */
export function waitFor<T>(
  keeper: Keeper,
  entry: Entry,
  waitMs: number,
  take: () => T,
  signal?: AbortSignal,
): Promise<T> {
  const { clock } = keeper;
  return new Promise((resolve, reject) => {
    let cancelTimer = (): void => undefined;
    const end = (): boolean => {
      cancelTimer();
      signal?.removeEventListener("abort", left);
      return entry.waiters.delete(waiter);
    };
    const waiter: Waiter = {
      sinceMs: clock.nowMs(),
      grant: () => {
        if (!end()) return;
        try {
          resolve(take());
        } catch (error) {
          reject(error instanceof Error ? error : new Error("failed"));
        }
      },
      fail: (fault) => {
        if (!end()) return;
        reject(fault);
        keeper.tick();
      },
    };
    const left = (): void => waiter.fail(new Fault("cancelled", "the client went away"));
    entry.waiters.add(waiter);
    if (signal?.aborted === true) {
      left();
      return;
    }
    signal?.addEventListener("abort", left, { once: true });
    if (Number.isFinite(waitMs)) {
      cancelTimer = clock.after(waitMs, () => {
        // Who is told to come back keeps the place in the queue.
        entry.told(waiter.sinceMs, clock.nowMs());
        waiter.fail(entry.notReady(clock.nowMs()));
      });
    }
    keeper.tick();
  });
}
