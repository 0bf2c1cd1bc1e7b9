import type { OllamaModelDetails, OllamaPs, OllamaTags } from "../../../contracts/ollama.ts";
import type { LibraryEntry, ModelFacts } from "../../library.ts";
import type { ModelStatus } from "../../residency/status.ts";

/** What Ollama says of a model that is kept for ever: a time that nobody waits for. Source: the answer of ollama 0.17 to `keep_alive: -1`. */
const FOR_EVER = "2318-01-01T00:00:00Z";

function detailsOf(facts: ModelFacts | undefined): OllamaModelDetails {
  const family = facts?.family ?? "";
  return {
    parent_model: facts?.settings?.from ?? "",
    format: facts?.format ?? "",
    family,
    families: [family],
    parameter_size: facts?.parameterSize ?? "",
    quantization_level: facts?.quantization ?? "",
  };
}

/** `GET /api/tags`. */
export function tagsOf(models: readonly LibraryEntry[]): OllamaTags {
  return {
    models: models.map(({ name, facts, modifiedAt }) => ({
      name,
      model: name,
      modified_at: modifiedAt.toISOString(),
      size: facts.sizeBytes,
      // Not known of a local file before its first load has read it.
      digest: facts.digest ?? "",
      details: detailsOf(facts),
    })),
  };
}

/** `GET /api/ps`: what is in memory and has given a token. */
export function psOf(models: readonly ModelStatus[]): OllamaPs {
  return {
    models: models
      .filter(({ status }) => status.state === "ready")
      .map(({ name, facts, memoryBytes, expiresAtMs }) => ({
        name,
        model: name,
        size: memoryBytes,
        size_vram: 0,
        digest: facts?.digest ?? "",
        details: detailsOf(facts),
        expires_at: expiresAtMs === undefined ? FOR_EVER : new Date(expiresAtMs).toISOString(),
        context_length: facts?.contextTokens ?? 0,
      })),
  };
}

/** `POST /api/show`. */
export function showOf({ name, facts, modifiedAt }: LibraryEntry): Record<string, unknown> {
  const { system, template, parameters = {}, license, from } = facts.settings ?? {};
  return {
    ...(license === undefined ? {} : { license }),
    modelfile: modelfileOf(from ?? name, { system, template, parameters, license }),
    parameters: Object.entries(parameters)
      .flatMap(([key, value]) => [value].flat().map((one) => `${key} ${shown(one)}`))
      .join("\n"),
    template: template ?? "",
    ...(system === undefined ? {} : { system }),
    details: detailsOf(facts),
    model_info: {
      "general.architecture": facts.family,
      "general.file_type": facts.quantization,
      [`${facts.family}.context_length`]: facts.contextTokens,
    },
    capabilities: ["completion"],
    modified_at: modifiedAt.toISOString(),
  };
}

function modelfileOf(
  from: string,
  {
    system,
    template,
    parameters,
    license,
  }: {
    system: string | undefined;
    template: string | undefined;
    parameters: Readonly<Record<string, unknown>>;
    license: string | undefined;
  },
): string {
  const block = (word: string, text: string | undefined): string[] =>
    text === undefined ? [] : [`${word} """${text}"""`];
  return [
    `FROM ${from}`,
    ...block("TEMPLATE", template),
    ...block("SYSTEM", system),
    ...Object.entries(parameters).flatMap(([key, value]) =>
      [value].flat().map((one) => `PARAMETER ${key} ${shown(one)}`),
    ),
    ...block("LICENSE", license),
  ].join("\n");
}

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
