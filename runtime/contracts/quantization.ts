import { z } from "zod";

/** Name of a quantization as llama.cpp writes it, such as `Q4_K_M`, `IQ4_XS`, `F16`. Source: llama.cpp's tools/quantize, QUANT_OPTIONS. */
export const QuantizationName = z
  .string()
  .regex(/^(I?Q[1-8](_[0-9A-Z]{1,3}){0,3}|TQ[12]_0|B?F16|F32|MXFP4)$/, "want a name such as Q4_K_M, Q8_0 or F16");

/** What may stand for one use: which quantizations, and how a tag of a registry says them. */
export const QuantizationProfileSchema = z.strictObject({
  /** The one that is wanted most comes first. */
  quantizations: z.array(QuantizationName).min(1).max(16),
  /**
   * Tags under which a registry may have one, tried in their order: `{tag}` is the tag that was asked for, `{quantization}` the name in
   * small letters. Source: the tags of ollama.com's library, such as `1b-instruct-q8_0`, `1b-it-q8_0`, `0.6b-q8_0`.
   */
  tags: z
    .array(
      z.string().regex(/^[A-Za-z0-9._{}-]*\{quantization\}[A-Za-z0-9._{}-]*$/, "want a tag with {quantization} in it"),
    )
    .min(1)
    .max(16)
    .default(["{tag}-instruct-{quantization}", "{tag}-it-{quantization}", "{tag}-{quantization}"]),
  /** Largest file that may be chosen, bytes. Absent: any. */
  maxBytes: z.int().min(1).optional(),
});
/** A profile, defaults filled in. */
export type QuantizationProfile = z.output<typeof QuantizationProfileSchema>;

/** Profiles that need not be written down. */
export const USUAL_PROFILES: Readonly<Record<string, z.input<typeof QuantizationProfileSchema>>> = {
  Q4_K_M: { quantizations: ["Q4_K_M"] },
  Q8_0: { quantizations: ["Q8_0"] },
  F16: { quantizations: ["F16", "BF16"] },
};

/** Profiles by name: the usual ones, and those that a setting adds or replaces. */
export const QuantizationProfilesSchema = z
  .record(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, "want letters, digits and _ . -"),
    QuantizationProfileSchema,
  )
  .default({})
  .transform(
    (own): Readonly<Record<string, QuantizationProfile>> => ({
      ...Object.fromEntries(
        Object.entries(USUAL_PROFILES).map(([name, one]) => [name, QuantizationProfileSchema.parse(one)]),
      ),
      ...own,
    }),
  );
