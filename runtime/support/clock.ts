/** Milliseconds on a clock that only goes forward; no relation to the time of day. */
export function monotonicMs(): number {
  return performance.now();
}

/** Calls `fire` once after so many ms; the answer cancels it. */
export function timer(ms: number, fire: () => void): () => void {
  const handle = setTimeout(fire, Math.min(ms, 0x7fffffff));
  return () => {
    clearTimeout(handle);
  };
}

/** Waits so many ms, or less when the signal aborts; it then throws the signal's reason. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(handle);
      reject(signal?.reason instanceof Error ? signal.reason : new Error("aborted"));
    };
    if (signal?.aborted === true) {
      reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
      return;
    }
    const handle = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
