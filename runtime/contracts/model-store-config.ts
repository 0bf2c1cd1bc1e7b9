import { z } from "zod";
import { QuantizationProfilesSchema } from "./quantization.ts";

/** Folder of the store when nobody names one: where model pods mount theirs. */
export const STORE_PATH = "/models";

const Millis = z.int().min(1).max(3_600_000);
const Bytes = z.int().min(1);
const MIB = 1_048_576;

/** Name of an environment variable. */
const EnvName = z.string().regex(/^[A-Z][A-Z0-9_]*$/, "want the name of an environment variable such as HF_TOKEN");

/** An address to which paths are added. */
const BaseUrl = z
  .url({ protocol: /^https?$/, error: "want a URL such as https://registry.example.org" })
  .refine((url) => URL.canParse(url) && new URL(url).username === "", "want no user or password in it")
  .transform((url) => url.replace(/\/+$/, ""));

/** How one host of models is spoken to. */
export const ModelHostSchema = z.strictObject({
  /** Base address. Absent: `https://` and the host's name. Plain `http://` has to be said here. */
  url: BaseUrl.optional(),
  /** Environment variable with the token or password. Absent: nobody is named. */
  tokenEnv: EnvName.optional(),
  /** User of the token, for registries that want both. Absent: the token is sent alone, as Bearer. */
  username: z.string().min(1).max(256).optional(),
  /** Other hosts that may be given the password when the registry names them as its token service, such as `auth.docker.io`. */
  tokenHosts: z.array(z.string().min(1)).max(16).default([]),
});
/** How one host is spoken to, defaults filled in. */
export type ModelHost = z.output<typeof ModelHostSchema>;

/** Section `storage` of the engine's configuration: where models come from, and how much room they may take. */
export const ModelStoreSchema = z.strictObject({
  /** Most bytes of all blobs; models that were not used for longest go first, never one that is loaded or in `pinned`. Absent: the disk's size. */
  storeMaxBytes: Bytes.optional(),
  /** Bytes of the disk that a download leaves free. */
  reserveBytes: z
    .int()
    .min(0)
    .default(64 * MIB),
  /** Names that room is never made from. */
  pinned: z.array(z.string().min(1)).max(1_024).default([]),
  /** True: nothing is written, also where it could be. */
  readOnly: z.boolean().default(false),
  /** Host of names that name none. */
  registry: z.string().min(1).default("registry.ollama.ai"),
  /** Hosts of models that need an address, a token or plain HTTP, by the name that stands in front of the model's. */
  hosts: z.record(z.string().min(1), ModelHostSchema).default({}),
  /** Hugging Face, or a mirror that speaks its API. */
  hub: ModelHostSchema.prefault({ url: "https://huggingface.co", tokenEnv: "HF_TOKEN" }),
  /** Whether a plain HTTP(S) source must come with a digest. */
  webDigest: z.enum(["required", "optional"]).default("required"),
  /** Bytes asked for at a time; at most as many are fetched twice when a download is cut. */
  chunkBytes: z
    .int()
    .min(64 * 1024)
    .max(4_096 * MIB)
    .default(64 * MIB),
  /** Longest wait for a connection, ms. */
  connectMs: Millis.default(10_000),
  /** Longest silence of a source, ms. */
  stallMs: Millis.default(30_000),
  /** Failures in a row, without a byte between them, after which a download gives up. */
  retries: z.int().min(0).max(100).default(5),
  /** Days after which a download that nobody went on with is swept away. */
  partialDays: z.number().min(0).max(365).default(7),
  /** Whether a model's bytes are compared with its digest at the first load of a process; the load reads them anyway. */
  verifyAtLoad: z.boolean().default(true),
  /** Quantization profiles by name. */
  profiles: QuantizationProfilesSchema,
});
/** Section `storage`, defaults filled in. */
export type ModelStoreSettings = z.output<typeof ModelStoreSchema>;
/** Section `storage` as people write it. */
export type ModelStoreInput = z.input<typeof ModelStoreSchema>;
