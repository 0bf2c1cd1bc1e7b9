import { z } from "zod";

/** One trace a question, sent to an OpenTelemetry collector. */
export const TracesConfigSchema = z.strictObject({
  /**
   * Address of the collector's OTLP over HTTP, such as `http://collector:4318`; `/v1/traces` is added. Absent: what the environment variable
   * OTEL_EXPORTER_OTLP_ENDPOINT says; without either nothing is traced, and nothing of it is loaded.
   */
  endpoint: z
    .url({ protocol: /^https?$/, error: "want an http or https URL such as http://collector:4318" })
    .transform((url) => url.replace(/\/+$/, ""))
    .optional(),
  /** Whether questions and answers are written into the traces. They are people's words. */
  prompts: z.boolean().default(false),
});
/** One trace a question, defaults filled in. */
export type TracesConfig = z.output<typeof TracesConfigSchema>;
