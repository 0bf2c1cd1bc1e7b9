/** The calls that run now, so that an interrupt can end them all. */
export interface RunningCalls {
  /** A signal that aborts on the timeout (0: none), on `closed`, and on abortAll. `done` forgets it and stops its clock. */
  start: (timeoutMs: number, closed: AbortSignal) => { signal: AbortSignal; done: () => void };
  abortAll: (reason: string) => void;
}

export function createRunningCalls(): RunningCalls {
  const controllers = new Set<AbortController>();
  return {
    start(timeoutMs, closed) {
      const controller = new AbortController();
      controllers.add(controller);
      const onClosed = (): void => controller.abort(closed.reason);
      closed.addEventListener("abort", onClosed, { once: true });
      const timer =
        timeoutMs > 0
          ? setTimeout(() => controller.abort(new Error(`timed out after ${timeoutMs / 1000} s`)), timeoutMs)
          : undefined;
      return {
        signal: controller.signal,
        done() {
          clearTimeout(timer);
          closed.removeEventListener("abort", onClosed);
          controllers.delete(controller);
        },
      };
    },
    abortAll(reason) {
      for (const controller of controllers) controller.abort(new Error(reason));
    },
  };
}
