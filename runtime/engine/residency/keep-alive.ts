import { Fault } from "../../core/fault.ts";

/** Milliseconds of each unit of a Go duration. Source: Go's time.ParseDuration; Ollama reads `keep_alive` with it. */
const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

const PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y;

/**
 * How long a model stays in memory after its last token, ms, from what Ollama's `keep_alive` takes: seconds as a number (also in a string), a duration
 * such as `5m` or `1h30m`; 0 is "let go at once", negative is for ever (`Infinity`). Absent or null: undefined, the engine's own setting.
 * @throws Fault invalid_request with what it got and what is allowed
 */
export function keepAliveMs(given: unknown): number | undefined {
  if (given === undefined || given === null) return undefined;
  const ms =
    typeof given === "number" ? given * 1_000 : typeof given === "string" ? durationMs(given.trim()) : undefined;
  if (ms === undefined || Number.isNaN(ms)) {
    throw new Fault(
      "invalid_request",
      `keep_alive: got ${JSON.stringify(given)?.slice(0, 40) ?? typeof given}, want seconds as a number, or a duration such as "5m", "1h30m", "0" or "-1" (for ever)`,
    );
  }
  return ms < 0 ? Number.POSITIVE_INFINITY : ms;
}

/** A Go duration or a bare number of seconds, ms; undefined for what is neither. */
function durationMs(text: string): number | undefined {
  if (/^[+-]?\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000;
  const sign = text.startsWith("-") ? -1 : 1;
  const parts = text.replace(/^[+-]/, "");
  let ms = 0;
  let at = 0;
  while (at < parts.length) {
    PART.lastIndex = at;
    const found = PART.exec(parts);
    if (found === null) return undefined;
    ms += Number(found[1]) * (UNIT_MS[found[2] ?? ""] ?? Number.NaN);
    at = PART.lastIndex;
  }
  return at === 0 ? undefined : sign * ms;
}
