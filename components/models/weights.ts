import { z } from "zod";
import type { Resources } from "../../runtime/contracts/index.ts";
import { USUAL_PROFILES } from "../../runtime/contracts/index.ts";

/** Bytes of a MiB. */
const MIB = 1_048_576;

/**
 * What a model server takes beside the weights, MiB: the engine's two processes were seen with 110 and 90 MiB, the window of a small model
 * comes on top. A limit that leaves less is a pod that is killed while it loads (A80).
 */
export const SERVER_MIB = 256;

/** SHA-256 of the weights' file, as `sha256sum` prints it; `sha256:` before it is taken off. */
export const DigestSchema = z
  .string()
  .regex(/^(sha256:)?[0-9a-f]{64}$/, "want 64 lower-case hexadecimal digits, as sha256sum prints them")
  .transform((digest) => digest.replace(/^sha256:/, ""));

/** Where weights come from, as the engine's store reads it; nothing with a password, and no digest, which is a setting of its own. */
export const SourceSchema = z
  .string()
  .regex(
    /^(?!.*@sha256:)(https?:\/\/[^\s@]+|(oci:)?[A-Za-z0-9][\w.-]*(:\d+)?(\/[\w.-]+)*(@[\w.-]+)?(:[\w.-]+(\/[\w.-]+)*)?)$/,
    "want an http or https URL without a user, hf.co/org/repository[@revision][:file or quantization], oci:host/repository[:tag], or a model's name",
  );

/** Name of a profile that chooses among the quantizations that a place offers. */
export const QuantizationSchema = z.enum(Object.keys(USUAL_PROFILES));

/** What weights are asked for by: a name, and what is known of them beside it. */
export interface WeightsRef {
  /** `family:tag` */
  model: string;
  /** Absent: the place that the name itself means. */
  source?: string | undefined;
  /** SHA-256, 64 hexadecimal digits. */
  digest?: string | undefined;
  /** Absent: what the place offers first, or the name says. */
  quantization?: string | undefined;
}

/** What `gorkheavy models pull` is told of weights: `NAME[=SOURCE][@sha256:DIGEST]`, and a profile. */
export function renderPullArguments({ model, source, digest, quantization }: WeightsRef): string[] {
  const pin = digest === undefined ? "" : `@sha256:${digest}`;
  return [
    `${model}${source === undefined ? "" : `=${source}`}${pin}`,
    ...(quantization === undefined ? [] : ["--profile", quantization]),
  ];
}

/** Pure: which entries ask for other weights under a name that an earlier one has; a store keeps one model a name. */
export function contradictions(refs: readonly WeightsRef[]): { index: number; message: string }[] {
  return refs.flatMap((ref, index) => {
    const before = refs.slice(0, index).find(({ model }) => model === ref.model);
    const [one, other] = [before ?? ref, ref].map((each) => renderPullArguments(each).join(" "));
    if (one === undefined || one === other) return [];
    const both = `${one} and ${other ?? ""}`;
    return [{ index, message: `one name for two models, ${both}; give one of them another name` }];
  });
}

/** Where a download goes: an address where the source names one, else anywhere, and a TCP port. */
export interface Destination {
  /** IPv4 address; absent where only a name is known, since network policies know no names. */
  address?: string;
  port: number;
}

/** Pure: where the downloads of these sources go, each once. Names of registries mean HTTPS. */
export function destinationsOf(sources: readonly (string | undefined)[]): Destination[] {
  const found = new Map<string, Destination>();
  for (const source of sources) {
    const url = source !== undefined && /^https?:/.test(source) ? new URL(source) : undefined;
    const port = url === undefined || url.port === "" ? (url?.protocol === "http:" ? 80 : 443) : Number(url.port);
    const isAddress = url !== undefined && z.ipv4().safeParse(url.hostname).success;
    found.set(`${isAddress ? url.hostname : "*"}:${port}`, { ...(isAddress ? { address: url.hostname } : {}), port });
  }
  return [...found.values()];
}

/**
 * Whether weights of this size fit a container's limit.
 * @returns the refusal in words; undefined when they fit
 */
export function memoryProblem(sizeBytes: number, limits: Resources["limits"]): string | undefined {
  const weightsMib = Math.ceil(sizeBytes / MIB);
  const needed = weightsMib + SERVER_MIB;
  if (needed <= limits.memoryMib) return undefined;
  return (
    `the weights have ${weightsMib}Mi and the server needs ${SERVER_MIB}Mi beside them, the limit is ${limits.memoryMib}Mi: ` +
    `it would be OOMKilled while loading; raise limits.memoryMib to ${needed} at least, or take a smaller model or quantization`
  );
}
