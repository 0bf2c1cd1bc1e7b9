import { z } from "zod";
import type {
  CatalogueModel,
  EnsembleConfigInput,
  ProfileName,
  Quantity,
  Resources,
} from "../../runtime/contracts/index.ts";
import {
  CATALOGUE,
  modelNamed,
  ModelRefSchema,
  ORCHESTRATOR_NAME,
  ORCHESTRATOR_PORT,
  ORCHESTRATOR_RESOURCES,
  PROFILES,
  QuantitySchema,
  ResourcesSchema,
  threadsFor,
  totalOf,
} from "../../runtime/contracts/index.ts";
import type { Backend } from "../models/backend.ts";
import { apiOf } from "../models/backend.ts";
import type { GpuChoice } from "../models/model-args.ts";
import { GpuSchema, problemsOf } from "../models/model-args.ts";
import type { StoreChoice } from "../models/model-store.ts";
import { addressOf, podsAddressOf } from "../models/model.ts";
import { contradictions, DigestSchema, QuantizationSchema, SourceSchema } from "../models/weights.ts";
import type { Workload } from "./fit.ts";

/** What may be chosen for one member; whatever is left out is the catalogue's. */
export const MemberChoiceSchema = z.strictObject({
  model: ModelRefSchema.optional(),
  source: SourceSchema.optional(),
  digest: DigestSchema.optional(),
  quantization: QuantizationSchema.optional(),
  sizeBytes: z.int().min(1).optional(),
  gpu: GpuSchema.optional(),
  replicas: z.int().min(0).max(64).optional(),
  resources: z
    .strictObject({ requests: QuantitySchema.partial().optional(), limits: QuantitySchema.partial().optional() })
    .optional(),
});

/** What may be chosen for one member of the ensemble. */
export interface MemberChoice {
  /** Model to run, `family:tag`. @default - the catalogue's for this member */
  model?: string;
  /** Where its weights come from; see `ModelArgs.source`. @default - the place that the model's name means */
  source?: string;
  /** SHA-256 that its weights must have, 64 hexadecimal digits. @default - as the source says */
  digest?: string;
  /** Which of the quantizations that a place offers; see `ModelArgs.quantization`. @default - what the name says */
  quantization?: string;
  /** Size of its weights, bytes. With it a model that is not in the catalogue runs with the place's own figures, if it fits. @default - the catalogue's */
  sizeBytes?: number;
  /** Graphics cards of each of its pods, for the backends `vllm` and `ollama`. @default - none */
  gpu?: GpuChoice;
  /** Pods, 0 to 64; with 0 the ensemble works without it. @default 1 */
  replicas?: number;
  /** Figures that differ from the catalogue's for the model, millicores and MiB. @default - none */
  resources?: { requests?: Partial<Quantity>; limits?: Partial<Quantity> };
}

/** Choices by member name. Every bad one is reported at its own path. */
export const MembersSchema = z.record(z.string(), MemberChoiceSchema).transform((choices, ctx) => {
  for (const name of Object.keys(choices)) {
    if (modelNamed(name) !== undefined) continue;
    ctx.addIssue({ code: "custom", path: [name], message: `want one of ${listOf((entry) => entry.name)}` });
  }
  return CATALOGUE.flatMap((entry): PlannedMember[] => {
    const choice = choices[entry.name] ?? {};
    const model = choice.model ?? entry.model;
    // Of weights whose size is known, whether they fit the place's figures can be told, and is, by their own component.
    const own = choice.sizeBytes === undefined ? undefined : entry.resources;
    const figures = mergeResources(
      CATALOGUE.find((known) => known.model === model)?.resources ?? own,
      choice.resources,
    );
    const parsed = ResourcesSchema.safeParse(figures);
    const { source, digest, quantization, sizeBytes, gpu, replicas = 1 } = choice;
    if (parsed.success)
      return [{ ...entry, model, source, digest, quantization, sizeBytes, gpu, resources: parsed.data, replicas }];
    if (CATALOGUE.every((known) => known.model !== model)) {
      ctx.addIssue({
        code: "custom",
        path: [entry.name, "model"],
        message: `want one of ${listOf((known) => known.model)}; for another model give its sizeBytes or all its resources too`,
      });
      return [];
    }
    for (const issue of parsed.error.issues) {
      ctx.addIssue({ code: "custom", path: [entry.name, "resources", ...issue.path], message: issue.message });
    }
    return [];
  });
});

/** A member with everything decided. */
export interface PlannedMember extends CatalogueModel {
  source: string | undefined;
  digest: string | undefined;
  quantization: string | undefined;
  /** Size of the weights where the choice says it, bytes. */
  sizeBytes: number | undefined;
  gpu: z.output<typeof GpuSchema> | undefined;
  replicas: number;
}

/** Pure: what of the members' choices cannot be honoured together, by its path from `members`. */
export function memberProblems(
  members: readonly PlannedMember[],
  common: { backend: Backend; profile: ProfileName; store?: StoreChoice | undefined },
): { path: string[]; message: string }[] {
  const own = members.flatMap((member) =>
    problemsOf({ ...member, ...common }).map(({ path, message }) => ({ path: [member.name, ...path], message })),
  );
  const shared = contradictions(members).map(({ index, message }) => ({
    path: [members[index]?.name ?? "", "model"],
    message,
  }));
  return [...own, ...shared];
}

/** Pure: the orchestrator's configuration for these members. Those without pods are left out. */
export function configOf(
  members: readonly PlannedMember[],
  profileName: ProfileName,
  backend: Backend,
  deadlines?: EnsembleConfigInput["deadlines"],
): EnsembleConfigInput {
  const profile = PROFILES[profileName];
  return {
    members: members
      .filter((member) => member.replicas > 0)
      .map(({ name, role, model, prompt, resources }) => ({
        name,
        role,
        model,
        prompt,
        url: addressOf(name, backend),
        podsUrl: podsAddressOf(name, profileName, backend),
        api: apiOf(backend).kind,
        ...(profile.threadsFollowCpuLimit ? { numThread: threadsFor(resources.limits.cpuMillicores) } : {}),
      })),
    ...(deadlines === undefined ? {} : { deadlines }),
    // PGlite would take more memory than the service has, and the pod no volume of its own. A conversationStore makes it postgres.
    store: { kind: "process" },
    listen: { host: "0.0.0.0", port: ORCHESTRATOR_PORT },
  };
}

/** Pure: every Deployment of the ensemble with what its pods ask for, the orchestrator's last. */
export function workloadsOf(members: readonly PlannedMember[]): Workload[] {
  return [
    ...members.map(({ name, replicas, resources }) => ({ name, replicas, requests: resources.requests })),
    { name: ORCHESTRATOR_NAME, replicas: 1, requests: ORCHESTRATOR_RESOURCES.requests },
  ];
}

/** Pure: what all pods may ask for and use, twice over, so that a rollout can run new pods beside old ones. */
export function quotaOf(members: readonly PlannedMember[]): Resources {
  const all = [
    ...members.flatMap(({ replicas, resources }) => Array<Resources>(replicas * 2).fill(resources)),
    ...Array<Resources>(2).fill(ORCHESTRATOR_RESOURCES),
  ];
  return { requests: totalOf(all.map((r) => r.requests)), limits: totalOf(all.map((r) => r.limits)) };
}

function mergeResources(base: Resources | undefined, choice: MemberChoice["resources"]): unknown {
  return {
    requests: { ...base?.requests, ...choice?.requests },
    limits: { ...base?.limits, ...choice?.limits },
  };
}

function listOf(field: (entry: CatalogueModel) => string): string {
  return CATALOGUE.map(field).join(", ");
}
