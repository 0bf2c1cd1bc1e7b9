import type * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import type { CatalogueModel, ProfileName, Resources } from "../../runtime/contracts/index.ts";
import {
  CATALOGUE,
  MemberNameSchema,
  ModelRefSchema,
  ProfileNameSchema,
  ResourcesSchema,
} from "../../runtime/contracts/index.ts";
import { later } from "../args.ts";
import { ImageRefSchema, ollamaImageProblem } from "../image.ts";
import type { Backend } from "./backend.ts";
import { BackendSchema } from "./backend.ts";
import type { ModelStore } from "./model-store.ts";
import type { ProbeChoice } from "./probes.ts";
import { ProbesSchema } from "./probes.ts";
import { DigestSchema, memoryProblem, QuantizationSchema, SourceSchema } from "./weights.ts";

/** Bytes of a MB, the catalogue's unit of downloads. */
const MB = 1_000_000;

/** Graphics cards of one pod. */
export const GpuSchema = z.strictObject({
  count: z.int().min(1).max(64).default(1),
  resource: z
    .string()
    .regex(/^[a-z0-9.-]+\/[a-z0-9.-]+$/, "want a resource such as nvidia.com/gpu")
    .default("nvidia.com/gpu"),
  runtimeClass: MemberNameSchema.optional(),
});

/** Graphics cards of one pod. */
export interface GpuChoice {
  /** How many, 1 to 64. @default 1 */
  count?: number;
  /** Name under which the cluster's device plugin gives them out. @default "nvidia.com/gpu" */
  resource?: string;
  /** RuntimeClass that brings the driver into the pod; K3s calls NVIDIA's `nvidia`. @default - the node's own */
  runtimeClass?: string;
}

/** What {@link ModelArgs} accepts. */
export const ModelSchema = z
  .strictObject({
    name: MemberNameSchema.optional(),
    model: ModelRefSchema,
    source: SourceSchema.optional(),
    digest: DigestSchema.optional(),
    quantization: QuantizationSchema.optional(),
    sizeBytes: z.int().min(1).optional(),
    namespace: later("namespace", z.string().min(1)),
    image: ImageRefSchema,
    backend: BackendSchema.default("llama"),
    profile: ProfileNameSchema.default("default"),
    probes: ProbesSchema.optional(),
    replicas: z.int().min(0).max(64).default(1),
    resources: ResourcesSchema.optional(),
    gpu: GpuSchema.optional(),
    store: z.custom<ModelStore>().optional(),
  })
  .superRefine((args, ctx) => {
    const problem = args.backend === "ollama" ? ollamaImageProblem(args.image) : undefined;
    if (problem !== undefined) ctx.addIssue({ code: "custom", path: ["image"], message: problem });
    for (const { path, message } of problemsOf(args)) ctx.addIssue({ code: "custom", path, message });
  })
  .transform((args, ctx) => {
    const resources = args.resources ?? inCatalogue(args.model)?.resources;
    if (resources !== undefined) return { ...args, resources };
    ctx.addIssue({
      code: "custom",
      path: ["model"],
      message: `got ${args.model}, want one of ${CATALOGUE.map((entry) => entry.model).join(", ")}; for another model give its resources too`,
    });
    return z.NEVER;
  });
export type Spec = z.output<typeof ModelSchema>;

/** Arguments of `Model`. */
export interface ModelArgs {
  /** Name of its Deployment, Service and `app` label. @default - the component's own name */
  name?: string;
  /** Model to serve, `family:tag`. One of the catalogue's, or any other if `resources` are given. */
  model: string;
  /**
   * Where the weights come from, for `llama`: an http or https URL of a GGUF file, or a name such as `hf.co/org/repository:Q4_K_M`. For
   * `vllm` the repository on Hugging Face, `org/name` or `org/name@<commit>`. @default - the place that `model` itself means
   */
  source?: string;
  /** SHA-256 that the weights' file must have, 64 hexadecimal digits; for `llama` and `ollama`. @default - as the source says */
  digest?: string;
  /** Which of the quantizations that a place offers, for `llama`: `Q4_K_M`, `Q8_0` or `F16`. @default - what the name says */
  quantization?: string;
  /** Size of the weights, bytes: a limit that they cannot fit is refused at preview. @default - the catalogue's, else unchecked */
  sizeBytes?: number;
  /** Namespace, which must exist. */
  namespace: pulumi.Input<string>;
  /** Image with a tag other than `latest`, or a digest: our runtime, an Ollama server of 0.17.1 or newer for `ollama`, vLLM for `vllm`. */
  image: string;
  /** What answers. @default "llama" */
  backend?: Backend;
  /** How it is probed, spread and evicted. @default "default" */
  profile?: ProfileName;
  /** Probes that differ from the profile's. @default - none */
  probes?: ProbeChoice;
  /** Pods to keep running, 0 to 64. @default 1 */
  replicas?: number;
  /** Requests and limits of one pod; its threads follow the CPU limit. @default - the catalogue's figures for the model */
  resources?: Resources;
  /** Graphics cards of each pod, for `vllm` and `ollama`. @default - none */
  gpu?: GpuChoice;
  /** Where its weights are kept. @default - with the pod; each new pod downloads again */
  store?: ModelStore;
}

function inCatalogue(model: string): CatalogueModel | undefined {
  return CATALOGUE.find((entry) => entry.model === model);
}

/** What is asked of a model, as far as its parts have to agree. */
export interface ModelChoice {
  model: string;
  backend: Backend;
  profile: ProfileName;
  source?: string | undefined;
  digest?: string | undefined;
  quantization?: string | undefined;
  sizeBytes?: number | undefined;
  resources?: Resources | undefined;
  gpu?: unknown;
  probes?: z.output<typeof ProbesSchema> | undefined;
  store?: Pick<ModelStore, "kind"> | undefined;
}

/** What cannot be honoured together, each with what to do: a digest that nobody checks would be worse than none. */
export function problemsOf(choice: ModelChoice): { path: string[]; message: string }[] {
  const found: { path: string[]; message: string }[] = [];
  const { backend, source, digest, quantization, gpu, store } = choice;
  const refuse = (field: string, message: string): void => void found.push({ path: [field], message });
  if (backend === "llama" && digest === undefined && isUrl(source)) {
    refuse(
      "digest",
      `what is at ${source} may change: want the SHA-256 that its file must have, as sha256sum prints it`,
    );
  }
  if (quantization !== undefined && (backend !== "llama" || isUrl(source))) {
    const instead = isUrl(source) ? "a URL is one file" : `${backend} takes it from the model's own name`;
    refuse("quantization", `${instead}; take it out, or let llama choose in a repository`);
  }
  if (backend === "ollama" && source !== undefined) {
    refuse("source", "an Ollama server pulls a model by its own name; write the source into model");
  }
  if (backend === "vllm") found.push(...vllmProblems(choice));
  if (backend === "scripted" && (source ?? digest) !== undefined) {
    refuse(source === undefined ? "digest" : "source", "a script has no weights; take it out, or take another backend");
  }
  if (gpu !== undefined && (backend === "llama" || backend === "scripted")) {
    refuse("gpu", `the backend ${backend} computes on the CPU; take it out, or take the backend vllm or ollama`);
  }
  if (store?.kind === "image" && (backend === "ollama" || backend === "vllm")) {
    refuse("store", `${backend} writes into its store and an image cannot be written; take another kind of store`);
  }
  const memory = memoryProblemOf(choice);
  if (memory !== undefined) found.push({ path: ["resources", "limits", "memoryMib"], message: memory });
  return found;
}

function isUrl(source: string | undefined): source is string {
  return source !== undefined && /^https?:/.test(source);
}

function vllmProblems({ source, digest, profile, probes }: ModelChoice): { path: string[]; message: string }[] {
  const found: { path: string[]; message: string }[] = [];
  if (source === undefined || isUrl(source)) {
    const message = "vLLM wants a repository on Hugging Face: org/name, or org/name@commit";
    found.push({ path: ["source"], message });
  }
  if (digest !== undefined) {
    const message = "vLLM reads several files and checks no digest; pin them by their commit: source org/name@commit";
    found.push({ path: ["digest"], message });
  }
  if (profile === "seed" && probes?.startup === undefined) {
    const message = "the seed's probes would end vLLM while it loads; take the default profile, or give probes.startup";
    found.push({ path: ["profile"], message });
  }
  return found;
}

/** Weights on a graphics card are not in the pod's memory, and a script has none. */
function memoryProblemOf({ model, backend, sizeBytes, resources, gpu }: ModelChoice): string | undefined {
  const known = inCatalogue(model);
  const limits = (resources ?? known?.resources)?.limits;
  const bytes = sizeBytes ?? (known === undefined ? undefined : known.downloadMb * MB);
  if (limits === undefined || bytes === undefined || gpu !== undefined || backend === "scripted") return undefined;
  return memoryProblem(bytes, limits);
}
