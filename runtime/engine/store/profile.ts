import type { QuantizationProfile } from "../../contracts/quantization.ts";
import { Fault } from "../../core/fault.ts";

/** A file that a place offers. */
export interface Offered {
  /** Path in its repository. */
  path: string;
  bytes: number;
}

/** The quantization that a file's name says, in capitals; undefined when it says none. */
export function quantizationOf(path: string): string | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.gguf$/i, "");
  const found = /(?:^|[-_.])(I?Q[1-8](?:_[0-9A-Z]{1,3}){0,3}|TQ[12]_0|B?F16|F32|MXFP4)$/i.exec(name)?.[1];
  return found?.toUpperCase();
}

/** The profile of a name: one of the settings, letters' case aside. Undefined when there is none. */
export function profileNamed(
  profiles: Readonly<Record<string, QuantizationProfile>>,
  name: string,
): QuantizationProfile | undefined {
  const key = Object.keys(profiles).find((one) => one.toLowerCase() === name.toLowerCase());
  return key === undefined ? undefined : profiles[key];
}

/** Quantization that is taken when nobody names one, as Ollama does. Source: docs/import.md of ollama/ollama and Hugging Face's docs on Ollama. */
const USUAL = "Q4_K_M";

/**
 * Chooses one GGUF file of a repository.
 * @param pick a file's path, a profile's name, or a quantization. Absent: the only file, else the usual quantization
 * @throws Fault unknown_model naming what there is
 */
export function chooseGguf(
  offered: readonly Offered[],
  pick: string | undefined,
  profiles: Readonly<Record<string, QuantizationProfile>>,
  where: string,
): Offered {
  const files = offered.filter(({ path }) => /\.gguf$/i.test(path));
  const listed = files
    .map(({ path }) => path)
    .slice(0, 30)
    .join(", ");
  const none = (why: string): Fault =>
    new Fault("unknown_model", `${where}: ${why}; it has ${listed === "" ? "no GGUF file" : listed}`);
  const exact = offered.find(({ path }) => path === pick);
  const chosen = exact ?? byQuantization(files, pick, profiles);
  if (chosen === undefined)
    throw none(pick === undefined ? `no file of ${USUAL}, and several others` : `nothing for ${pick}`);
  if (/-\d{5}-of-\d{5}\.gguf$/i.test(chosen.path))
    throw new Fault(
      "not_supported",
      `${where}: ${chosen.path} is one part of several; merge them with llama-gguf-split first`,
    );
  return chosen;
}

function byQuantization(
  files: readonly Offered[],
  pick: string | undefined,
  profiles: Readonly<Record<string, QuantizationProfile>>,
): Offered | undefined {
  if (pick === undefined && files.length === 1) return files[0];
  const profile = pick === undefined ? undefined : profileNamed(profiles, pick);
  const wanted = profile?.quantizations ?? [(pick ?? USUAL).toUpperCase()];
  const most = profile?.maxBytes ?? Number.POSITIVE_INFINITY;
  for (const quantization of wanted) {
    const found = files.find(({ path, bytes }) => quantizationOf(path) === quantization && bytes <= most);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Tags under which a registry may have a tag's quantization, the likeliest first. */
export function tagsFor(tag: string, { quantizations, tags }: QuantizationProfile): string[] {
  return quantizations.flatMap((quantization) =>
    tags.map((pattern) => pattern.replaceAll("{tag}", tag).replaceAll("{quantization}", quantization.toLowerCase())),
  );
}
