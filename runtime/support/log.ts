import { pino, type Logger } from "pino";

export type { Logger };

/** Levels that `--log-level` takes. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "silent"] as const;

/** A logger that writes JSON lines to stderr, so that stdout stays free for answers. Prompts and answers are never logged. */
export function createLogger(name: string, level: string): Logger {
  return pino({ name, level, base: { name } }, pino.destination({ dest: 2, sync: true }));
}
