import type { EnsembleConfig } from "../../contracts/ensemble-config.ts";
import type { Memory } from "../../memory/memory.ts";
import type { Tracing } from "./port.ts";

/** Environment variable that names the collector. Source: OpenTelemetry specification, OTLP exporter configuration. */
const ENDPOINT_ENV = "OTEL_EXPORTER_OTLP_ENDPOINT";

/** Traces as configured; undefined where no collector is named, and then nothing of the libraries is loaded. */
export async function openTracing(
  { traces }: EnsembleConfig,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Tracing | undefined> {
  const endpoint = traces.endpoint ?? env[ENDPOINT_ENV]?.replace(/\/+$/, "");
  if (endpoint === undefined || endpoint === "") return undefined;
  const { OtlpTracing } = await import("./tracing.ts");
  return new OtlpTracing(endpoint, traces.prompts);
}

/** The same memory, with what it takes in the question's trace. */
export function tracedMemory(memory: Memory, tracing: Tracing): Memory {
  return new Proxy(memory, {
    get: (target, name) => {
      if (name === "recall")
        return (...args: Parameters<Memory["recall"]>) => tracing.step("recall", () => target.recall(...args));
      if (name === "finish")
        return (...args: Parameters<Memory["finish"]>) => tracing.step("remember", () => target.finish(...args));
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}
