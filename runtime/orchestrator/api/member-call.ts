import { z } from "zod";
import type { Member } from "../../contracts/ensemble-config.ts";
import type { OllamaOptions } from "../../contracts/ollama.ts";
import type { ModelCall } from "../../core/ports.ts";

const Schema = z.record(z.string(), z.unknown());

/** JSON schema of a request; `json` asks for any object. Nothing for free text. */
export function formatOf(format: unknown): Pick<ModelCall, "format"> {
  if (format === "json") return { format: { type: "object" } };
  const schema = Schema.safeParse(format);
  return schema.success ? { format: schema.data } : {};
}

/** Length and temperature of one call to a member, the member's own length as the upper bound. */
export function samplingOf(
  member: Member,
  options: OllamaOptions | null | undefined,
): Pick<ModelCall, "maxTokens" | "temperature"> {
  const most = options?.num_predict;
  return {
    maxTokens: most === undefined || most < 1 ? member.maxTokens : Math.min(most, member.maxTokens),
    ...(options?.temperature === undefined ? {} : { temperature: options.temperature }),
  };
}
