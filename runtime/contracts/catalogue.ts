/**
 * The one table of the ensemble: five models, the orchestrator, what each asks of a node, and how each profile probes and spreads them.
 * Components, runtime, capacity check and tests read it; nobody repeats a figure of it.
 */
import { z } from "zod";
import { MemberRole } from "./ensemble-config.ts";

/** Port on which every model pod serves the Ollama API. Source: Ollama FAQ, `OLLAMA_HOST`. */
export const MODEL_PORT = 11434;

/** Port on which the orchestrator serves HTTP. */
export const ORCHESTRATOR_PORT = 8080;

/** Value of the label `ensemble` on every pod of the ensemble, in both profiles. */
export const ENSEMBLE_LABEL = "opus-ai-system";

/** Name of the orchestrator's Deployment and Service. */
export const ORCHESTRATOR_NAME = "opus-orchestrator";

/** The names of the profiles: `seed` is the original manifest, `default` mends what that one gets wrong. */
export const ProfileNameSchema = z.enum(["default", "seed"]);
export type ProfileName = z.output<typeof ProfileNameSchema>;

/** Every allowed profile name, for messages. */
export const PROFILE_NAMES: readonly ProfileName[] = ProfileNameSchema.options;

/** An amount of CPU and memory: what one pod asks for, or may use at most. */
export const QuantitySchema = z.strictObject({
  /** Thousandths of one CPU core. */
  cpuMillicores: z.int().min(1).max(1_000_000),
  /** Memory, MiB (1024² bytes). */
  memoryMib: z.int().min(1).max(16_777_216),
});
export type Quantity = z.output<typeof QuantitySchema>;

/** Requests (what the scheduler keeps free for the pod) and limits (where the kernel stops it). No limit is below its request. */
export const ResourcesSchema = z
  .strictObject({ requests: QuantitySchema, limits: QuantitySchema })
  .superRefine(({ requests, limits }, ctx) => {
    for (const field of ["cpuMillicores", "memoryMib"] as const) {
      if (limits[field] >= requests[field]) continue;
      ctx.addIssue({
        code: "custom",
        path: ["limits", field],
        message: `limit ${limits[field]} is below its request ${requests[field]}; raise the limit or lower the request`,
      });
    }
  });
export type Resources = z.output<typeof ResourcesSchema>;

/** A name that is also a Kubernetes object's name and a DNS label (RFC 1123). */
export const MemberNameSchema = z
  .string()
  .regex(
    /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/,
    "want lower-case letters, digits and '-', at most 63, starting with a letter",
  );

/** A model's reference in the Ollama library: `family:tag`, both parts given so that no moving `latest` slips in. */
export const ModelRefSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._/-]*:[A-Za-z0-9][A-Za-z0-9._-]*$/, "want 'family:tag', for example llama3.2:1b");

/** One model of the ensemble. */
export const CatalogueModelSchema = z.strictObject({
  /** Name of its Deployment, Service and `app` label; its address is `http://<name>:11434`. */
  name: MemberNameSchema,
  /** What it runs, `family:tag`. */
  model: ModelRefSchema,
  role: MemberRole,
  /** Which words it gets: the user's own, or the rewriter's. Source: the seed's code, where only qwen-small gets the rewrite. */
  prompt: z.enum(["raw", "rewritten"]).default("raw"),
  /** What it is good at, in a few words; shown to people. */
  purpose: z.string().min(1),
  /** Weights, millions of parameters. */
  parametersMillions: z.int().min(1),
  /** What a first pull brings over the network, MB (10⁶ bytes), by the seed's own list. */
  downloadMb: z.int().min(1),
  resources: ResourcesSchema,
});
export type CatalogueModel = z.output<typeof CatalogueModelSchema>;

/** Timing of one probe; Kubernetes' own fields and unit, seconds. */
export const ProbeTimingSchema = z.strictObject({
  /** Path of the GET on the pod's port; 200 means yes. */
  path: z.string().startsWith("/"),
  initialDelaySeconds: z.int().min(0),
  periodSeconds: z.int().min(1),
  failureThreshold: z.int().min(1),
  /** How long one answer may take. Kubernetes' default is 1 s, too short on a node whose cores are busy generating. */
  timeoutSeconds: z.int().min(1),
});
export type ProbeTiming = z.output<typeof ProbeTimingSchema>;

/** How a profile spreads the ensemble's pods over the nodes. */
export const SpreadSchema = z.strictObject({
  maxSkew: z.int().min(1),
  topologyKey: z.string().min(1),
  whenUnsatisfiable: z.enum(["DoNotSchedule", "ScheduleAnyway"]),
  /** `Honor`: a node whose taints the pod does not tolerate (a dead one) is no domain. Absent: Kubernetes' default, `Ignore`. */
  nodeTaintsPolicy: z.enum(["Honor", "Ignore"]).optional(),
});
export type Spread = z.output<typeof SpreadSchema>;

/** What a profile decides; the figures of the members are the same in all of them. */
export interface Profile {
  readonly name: ProfileName;
  readonly spread: Spread;
  /** Restarts a pod whose server no longer answers. */
  readonly liveness: ProbeTiming;
  /** Takes a pod out of its Service. */
  readonly readiness: ProbeTiming;
  /** Holds liveness and readiness back until it has been true once. Absent in `seed`. */
  readonly startup?: ProbeTiming;
  /** Path that the orchestrator's init container asks of every model before the service starts. */
  readonly waitPath: string;
  /** Pause between two rounds of asking, s. */
  readonly waitIntervalSeconds: number;
  /** Extra wait after the last model has answered, s. The seed's `sleep 30` made up for a check that could not see loading. */
  readonly waitExtraSeconds: number;
  /** Longest wait for all models before the init container fails with the names of those missing, s. Absent: for ever, as in the seed. */
  readonly waitDeadlineSeconds?: number;
  /** Time after which pods leave a node that no longer answers, s. Absent: Kubernetes' default, 300. */
  readonly evictAfterSeconds?: number;
  /** Whether models are told how many threads their CPU limit is worth. Ollama counts the host's cores (ollama#17916). */
  readonly threadsFollowCpuLimit: boolean;
}

/** Path that answers 200 as soon as the server runs, whether or not a model is there. Source: Ollama API. */
export const TAGS_PATH = "/api/tags";

/** Path that answers 200 as long as the server can do anything at all. Source: our engine (seed 002). */
export const ALIVE_PATH = "/health";

/** Path that answers 200 once the server listens, loaded or not. Source: our engine (seed 002). */
export const STARTED_PATH = "/api/health";

/** Path that answers 200 only while the pod's weights are loaded. Source: our engine. */
export const LOADED_PATH = "/models/health";

const large: Resources = {
  requests: { cpuMillicores: 400, memoryMib: 1024 },
  limits: { cpuMillicores: 900, memoryMib: 2048 },
};

/** The five models, in pipeline order. Source of every figure: Gorkheavy-Lite README, "Resource Summary" and "Disk I/O". */
export const CATALOGUE: readonly CatalogueModel[] = z
  .array(CatalogueModelSchema)
  .readonly()
  .parse([
    {
      name: "promptimizer",
      model: "granite4:350m",
      role: "rewriter",
      purpose: "rewrites the question",
      parametersMillions: 350,
      downloadMb: 400,
      resources: {
        requests: { cpuMillicores: 300, memoryMib: 512 },
        limits: { cpuMillicores: 800, memoryMib: 1536 },
      },
    },
    {
      name: "llama",
      model: "llama3.2:1b",
      role: "candidate",
      purpose: "general answers",
      parametersMillions: 1000,
      downloadMb: 1200,
      resources: large,
    },
    {
      name: "qwen",
      model: "qwen2.5-coder:1.5b",
      role: "candidate",
      purpose: "code",
      parametersMillions: 1500,
      downloadMb: 1500,
      resources: large,
    },
    {
      name: "qwen-small",
      model: "qwen3:0.6b",
      role: "candidate",
      prompt: "rewritten",
      purpose: "fast answers",
      parametersMillions: 600,
      downloadMb: 600,
      resources: {
        requests: { cpuMillicores: 250, memoryMib: 512 },
        limits: { cpuMillicores: 600, memoryMib: 1536 },
      },
    },
    {
      name: "judge",
      model: "gemma3:1b",
      role: "judge",
      purpose: "evaluates and selects",
      parametersMillions: 1000,
      downloadMb: 1200,
      resources: large,
    },
  ]);

/** What the orchestrator's pod asks for and may use. Source: Gorkheavy-Lite README, "Resource Summary". */
export const ORCHESTRATOR_RESOURCES: Resources = {
  requests: { cpuMillicores: 100, memoryMib: 128 },
  limits: { cpuMillicores: 200, memoryMib: 256 },
};

/**
 * Flags of the Node that runs the orchestrator in its container. The old generation gets 144 MiB of the 256 MiB limit, the rest is code,
 * buffers and stacks. A young generation of at most 2 MiB a half space keeps memory under load some 80 MB lower (`npm run bench -- gateways`).
 */
export const ORCHESTRATOR_NODE_FLAGS: readonly string[] = ["--max-old-space-size=144", "--max-semi-space-size=2"];

const spread = {
  maxSkew: 1,
  topologyKey: "kubernetes.io/hostname",
  whenUnsatisfiable: "DoNotSchedule",
} as const satisfies Spread;

/** Both profiles by name. */
export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  seed: {
    name: "seed",
    spread,
    liveness: { path: TAGS_PATH, initialDelaySeconds: 60, periodSeconds: 10, failureThreshold: 3, timeoutSeconds: 1 },
    readiness: { path: TAGS_PATH, initialDelaySeconds: 45, periodSeconds: 5, failureThreshold: 3, timeoutSeconds: 1 },
    waitPath: TAGS_PATH,
    waitIntervalSeconds: 5,
    waitExtraSeconds: 30,
    threadsFollowCpuLimit: false,
  },
  default: {
    name: "default",
    spread: { ...spread, nodeTaintsPolicy: "Honor" },
    liveness: { path: ALIVE_PATH, initialDelaySeconds: 0, periodSeconds: 10, failureThreshold: 6, timeoutSeconds: 5 },
    readiness: { path: LOADED_PATH, initialDelaySeconds: 0, periodSeconds: 2, failureThreshold: 5, timeoutSeconds: 3 },
    // 1 s steps make a warm start quick; 900 of them leave a slow disk or a first pull a quarter of an hour.
    startup: { path: STARTED_PATH, initialDelaySeconds: 0, periodSeconds: 1, failureThreshold: 900, timeoutSeconds: 3 },
    waitPath: LOADED_PATH,
    waitIntervalSeconds: 1,
    waitExtraSeconds: 0,
    waitDeadlineSeconds: 900,
    evictAfterSeconds: 60,
    threadsFollowCpuLimit: true,
  },
};

/** The catalogue's model of that name, or undefined. */
export function modelNamed(name: string): CatalogueModel | undefined {
  return CATALOGUE.find((model) => model.name === name);
}

/** Sum of quantities; of none, zero. The one place where totals come from. */
export function totalOf(quantities: Iterable<Quantity>): Quantity {
  let cpuMillicores = 0;
  let memoryMib = 0;
  for (const quantity of quantities) {
    cpuMillicores += quantity.cpuMillicores;
    memoryMib += quantity.memoryMib;
  }
  return { cpuMillicores, memoryMib };
}

/**
 * What the whole ensemble asks for and may use, orchestrator included, one replica each: 1850m and 4224Mi requested, 4300m and 9472Mi at most.
 * The seed's "4.2 cores" and "9.8 GB" of limits are not the sums of its own table.
 */
export function ensembleTotals(): Resources {
  const all = [...CATALOGUE.map((model) => model.resources), ORCHESTRATOR_RESOURCES];
  return { requests: totalOf(all.map((r) => r.requests)), limits: totalOf(all.map((r) => r.limits)) };
}

/** Threads that a CPU limit is worth: whole cores, rounded down, at least 1 (more threads than cores are throttled against each other). */
export function threadsFor(cpuLimitMillicores: number): number {
  return Math.max(1, Math.floor(cpuLimitMillicores / 1000));
}

/** CPU in the form that the API server gives back, so that nothing differs at a second look: `400m`, `2`. */
export function renderCpu(cpuMillicores: number): string {
  return cpuMillicores % 1000 === 0 ? `${cpuMillicores / 1000}` : `${cpuMillicores}m`;
}

/** Memory in the form that the API server gives back: `512Mi`, `1536Mi` (for the seed's 1.5Gi), `2Gi`. */
export function renderMemory(memoryMib: number): string {
  return memoryMib % 1024 === 0 ? `${memoryMib / 1024}Gi` : `${memoryMib}Mi`;
}
