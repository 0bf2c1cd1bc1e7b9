import type { OpenAiCompletionRequest } from "../../../contracts/openai-engine.ts";
import type { GenerateRequest } from "../../backend.ts";
import { keepAliveMs } from "../../residency/keep-alive.ts";
import type { LeaseOptions } from "../../residency/residency.ts";
import { given, stopsOf } from "../inference.ts";

/** The sampling fields that chat completions and completions share. */
type Sampled = Pick<
  OpenAiCompletionRequest,
  "temperature" | "top_p" | "presence_penalty" | "frequency_penalty" | "seed" | "stop" | "keep_alive"
>;

/** Sampling as a generation has it. */
export function samplingOf(request: Sampled): Partial<GenerateRequest> {
  return given({
    temperature: request.temperature,
    topP: request.top_p,
    presencePenalty: request.presence_penalty,
    frequencyPenalty: request.frequency_penalty,
    seed: request.seed,
    stop: stopsOf(request.stop),
  });
}

/** @throws Fault invalid_request for a `keep_alive` that is none */
export function leaseOf({ keep_alive }: Pick<Sampled, "keep_alive">): LeaseOptions {
  return given({ keepAliveMs: keepAliveMs(keep_alive) });
}

/** `response_format` as a generation has it. */
export function formatOf(
  format: { type: string; json_schema?: unknown } | null | undefined,
): Pick<GenerateRequest, "format"> {
  if (format?.type === "json_object") return { format: "json" };
  if (format?.type !== "json_schema") return {};
  return { format: (format.json_schema as { schema: Record<string, unknown> }).schema };
}
