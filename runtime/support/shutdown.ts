import type { Logger } from "./log.ts";

/** Exit statuses of a process ended by a signal: 0, as a clean stop was asked for and done. */
const SIGNALS = ["SIGTERM", "SIGINT"] as const;

/**
 * Runs `stop` once at the first SIGTERM or SIGINT and then exits 0; a second signal exits at once with 130.
 * @returns takes the handlers off again.
 */
export function onShutdown(stop: (signal: string) => Promise<void>, log: Logger): () => void {
  let stopping = false;
  const handler = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(130);
    stopping = true;
    log.info({ signal }, "stopping");
    stop(signal).then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, "could not stop cleanly");
        process.exit(1);
      },
    );
  };
  for (const signal of SIGNALS) process.on(signal, handler);
  return () => {
    for (const signal of SIGNALS) process.off(signal, handler);
  };
}

/**
 * Time from saying not ready to taking no more connections, ms. In a cluster the Service needs it to take the pod out of its list;
 * elsewhere nobody waits for it. @param env KUBERNETES_SERVICE_HOST is set by the kubelet in every pod.
 */
export function lameDuckMs(env: Readonly<Record<string, string | undefined>>): number {
  return env["KUBERNETES_SERVICE_HOST"] === undefined ? 0 : 3_000;
}
