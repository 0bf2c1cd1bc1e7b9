import { z } from "zod";
import { Fault } from "../../core/fault.ts";
import { jsonOf } from "../../support/json.ts";
import type { ModelFacts, ModelSettings } from "../library.ts";
import { isDigest, shown } from "./digest.ts";

/** Kinds of layers. Source: ollama/ollama server/images.go; `gguf` and `safetensors` as ORAS and others write them are recognised by name too. */
export const LAYER = {
  model: "application/vnd.ollama.image.model",
  system: "application/vnd.ollama.image.system",
  template: "application/vnd.ollama.image.template",
  params: "application/vnd.ollama.image.params",
  license: "application/vnd.ollama.image.license",
  safetensors: "application/vnd.gorkheavy.image.safetensors",
  config: "application/vnd.docker.container.image.v1+json",
} as const;

/** Manifests that are asked for. */
export const MANIFEST_TYPES = [
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
] as const;

/** Largest manifest, and largest layer that is a text, bytes. */
export const MOST_MANIFEST_BYTES = 4_194_304;
export const MOST_TEXT_BYTES = 1_048_576;

/** Annotation that names a layer's file. Source: the OCI image specification, annotations.md. */
const TITLE = "org.opencontainers.image.title";
const FACTS = "dev.gorkheavy.facts";
const SETTINGS = "dev.gorkheavy.settings";
const NAME = "dev.gorkheavy.name";
const SOURCE = "dev.gorkheavy.source";
const PULLED = "dev.gorkheavy.manifest";

const DescriptorSchema = z.looseObject({
  mediaType: z.string().min(1).max(256),
  digest: z.string().refine(isDigest, "want sha256: and 64 hex digits in small letters"),
  size: z.int().min(0),
  annotations: z.record(z.string(), z.string()).nullish(),
});

const ManifestSchema = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  config: DescriptorSchema,
  layers: z.array(DescriptorSchema).max(1_024),
  annotations: z.record(z.string(), z.string()).nullish(),
});

/** Bytes of a model and what they are. */
export interface Layer {
  mediaType: string;
  /** `sha256:` and 64 hex digits. */
  digest: string;
  size: number;
  /** File name, without any folder. Absent where nobody gave one. */
  title?: string;
}

/** What a manifest says. */
export interface Manifest {
  config: Layer;
  layers: Layer[];
  /** What this store wrote down of it. Each absent in others' manifests. */
  facts?: ModelFacts;
  settings?: ModelSettings;
  name?: string;
  source?: string;
  /** Digest of the registry's manifest that it was pulled by, 64 hex digits. */
  pulledHex?: string;
}

const SettingsSchema = z.strictObject({
  system: z.string().optional(),
  template: z.string().optional(),
  parameters: z.record(z.string(), z.unknown()).optional(),
  license: z.string().optional(),
  from: z.string().optional(),
}) satisfies z.ZodType<ModelSettings>;

const FactsSchema = z.strictObject({
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  sizeBytes: z.int().min(0),
  format: z.string(),
  family: z.string(),
  parameterSize: z.string(),
  quantization: z.string(),
  contextTokens: z.number(),
});

/**
 * Reads a manifest, one of a registry or one of the store.
 * @param where names it in the message
 * @throws Fault bad_model naming what is wrong
 */
export function parseManifest(text: string, where: string): Manifest {
  const raw = jsonOf(text);
  const parsed = ManifestSchema.safeParse(raw);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const at = issue === undefined || issue.path.length === 0 ? "" : `${issue.path.join(".")}: `;
    throw new Fault("bad_model", `manifest of ${where}: ${at}${issue?.message ?? "not JSON"}`);
  }
  const { config, layers, annotations } = parsed.data;
  const facts = FactsSchema.safeParse(jsonOf(annotations?.[FACTS] ?? ""));
  const settings = SettingsSchema.safeParse(jsonOf(annotations?.[SETTINGS] ?? ""));
  const name = annotations?.[NAME];
  const source = annotations?.[SOURCE];
  const pulledHex = annotations?.[PULLED];
  return {
    config: layerOf(config, where),
    layers: layers.map((layer) => layerOf(layer, where)),
    ...(facts.success ? { facts: facts.data } : {}),
    ...(settings.success ? { settings: settings.data } : {}),
    ...(name === undefined ? {} : { name }),
    ...(source === undefined ? {} : { source }),
    ...(pulledHex === undefined ? {} : { pulledHex }),
  };
}

function layerOf(descriptor: z.output<typeof DescriptorSchema>, where: string): Layer {
  const title = descriptor.annotations?.[TITLE];
  if (title !== undefined && !/^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/.test(title))
    throw new Fault("bad_model", `manifest of ${where}: a layer's file name is ${shown(title)}, want a plain name`);
  const { mediaType, digest, size } = descriptor;
  return { mediaType, digest, size, ...(title === undefined ? {} : { title }) };
}

/** A manifest's text for the store: one that Ollama can read too. */
export function renderManifest({ config, layers, facts, settings, name, source, pulledHex }: Manifest): string {
  const descriptor = ({ title, ...layer }: Layer): unknown => ({
    ...layer,
    ...(title === undefined ? {} : { annotations: { [TITLE]: title } }),
  });
  const annotations = {
    ...(name === undefined ? {} : { [NAME]: name }),
    ...(source === undefined ? {} : { [SOURCE]: source }),
    ...(pulledHex === undefined ? {} : { [PULLED]: pulledHex }),
    ...(facts === undefined ? {} : { [FACTS]: JSON.stringify({ ...facts, settings: undefined }) }),
    ...(settings === undefined ? {} : { [SETTINGS]: JSON.stringify(settings) }),
  };
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPES[0],
    config: descriptor(config),
    layers: layers.map(descriptor),
    annotations,
  });
}

/** What a layer holds, by its media type and its file's name. */
export function kindOf({ mediaType, title = "" }: Layer): "weights" | "text" | "other" {
  if (mediaType === LAYER.model || mediaType === LAYER.safetensors) return "weights";
  if (mediaType === LAYER.system || mediaType === LAYER.template) return "text";
  if (mediaType === LAYER.params || mediaType === LAYER.license) return "text";
  if (/gguf|safetensors/i.test(mediaType) || /\.(gguf|safetensors)$/i.test(title)) return "weights";
  return "other";
}

/** The layers with weights, in their order. @throws Fault bad_model when there is none */
export function weightsOf({ layers }: Pick<Manifest, "layers">, where: string): [Layer, ...Layer[]] {
  const [first, ...more] = layers.filter((layer) => kindOf(layer) === "weights");
  if (first === undefined)
    throw new Fault("bad_model", `manifest of ${where}: no layer holds a model in GGUF or safetensors`);
  return [first, ...more];
}
