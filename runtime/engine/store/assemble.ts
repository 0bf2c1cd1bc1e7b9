import { readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { Fault } from "../../core/fault.ts";
import type { ModelFacts, ModelSettings } from "../library.ts";
import { inspectConfig, inspectWeights } from "./inspect.ts";
import type { StoreFolder } from "./layout.ts";
import { kindOf, LAYER, type Layer, type Manifest, MOST_TEXT_BYTES, weightsOf } from "./manifest.ts";

const Parameters = z.record(
  z.string().max(64),
  z.union([z.string(), z.number(), z.boolean(), z.array(z.union([z.string(), z.number()]))]),
);

/** What all layers of a model together say of it; its weights' headers are checked. @throws Fault bad_model */
export async function factsOf(
  folder: StoreFolder,
  manifest: Pick<Manifest, "layers">,
  where: string,
): Promise<ModelFacts & { digest: string }> {
  const weights = weightsOf(manifest, where);
  const looked: ModelFacts[] = [];
  for (const layer of weights) looked.push(await inspectWeights({ path: pathOf(folder, layer), layer, what: where }));
  const [first] = looked;
  if (first === undefined) throw new Fault("bad_model", `${where}: no weights`);
  const config = manifest.layers.find(({ title }) => title === "config.json");
  return {
    ...first,
    ...(config === undefined || first.format === "gguf" ? {} : await inspectConfig(pathOf(folder, config))),
    digest: weights[0].digest.slice("sha256:".length),
    sizeBytes: weights.reduce((sum, { size }) => sum + size, 0),
  };
}

/** What the layers that are texts say: system prompt, template, parameters, licence. Undefined when there are none. @throws Fault bad_model */
export async function settingsOf(
  folder: StoreFolder,
  { layers }: Pick<Manifest, "layers">,
  where: string,
): Promise<ModelSettings | undefined> {
  const settings: { -readonly [K in keyof ModelSettings]: ModelSettings[K] } = {};
  for (const layer of layers.filter((one) => kindOf(one) === "text")) {
    const { size } = await stat(pathOf(folder, layer));
    if (size > MOST_TEXT_BYTES)
      throw new Fault("bad_model", `${where}: a text of ${size} bytes, want at most ${MOST_TEXT_BYTES}`);
    const text = await readFile(pathOf(folder, layer), "utf8");
    if (layer.mediaType === LAYER.system) settings.system = text;
    else if (layer.mediaType === LAYER.template) settings.template = text;
    else if (layer.mediaType === LAYER.license)
      settings.license = settings.license === undefined ? text : `${settings.license}\n\n${text}`;
    else settings.parameters = parametersOf(text, where);
  }
  return Object.keys(settings).length === 0 ? undefined : settings;
}

function parametersOf(text: string, where: string): Record<string, unknown> {
  try {
    return Parameters.parse(JSON.parse(text));
  } catch (cause) {
    throw new Fault("bad_model", `${where}: its parameters are no JSON object of numbers, texts and lists`, { cause });
  }
}

/** Settings as layers' texts, by media type, so that other readers of the store understand them. */
export function settingsTexts({
  system,
  template,
  parameters,
  license,
}: ModelSettings): [mediaType: string, text: string][] {
  const all: [string, string | undefined][] = [
    [LAYER.template, template],
    [LAYER.system, system],
    [LAYER.params, parameters === undefined ? undefined : JSON.stringify(parameters)],
    [LAYER.license, license],
  ];
  return all.flatMap(([mediaType, text]): [string, string][] => (text === undefined ? [] : [[mediaType, text]]));
}

/** The config blob that Ollama wants beside the layers. Source: ollama/ollama server/model.go, ConfigV2. */
export function configText(facts: ModelFacts, layers: readonly Layer[]): string {
  return JSON.stringify({
    model_format: facts.format,
    model_family: facts.family,
    model_families: [facts.family],
    model_type: facts.parameterSize,
    file_type: facts.quantization,
    architecture: "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
  });
}

function pathOf(folder: StoreFolder, { digest }: Pick<Layer, "digest">): string {
  return folder.blob(digest.slice("sha256:".length));
}
