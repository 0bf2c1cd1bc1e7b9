import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import type { EnsembleConfigInput, ProfileName } from "../../runtime/contracts/index.ts";
import {
  AccessConfigSchema,
  DeadlinesSchema,
  ENSEMBLE_LABEL,
  MemberNameSchema,
  PROFILES,
  ProfileNameSchema,
  renderCpu,
  renderMemory,
  TAGS_PATH,
} from "../../runtime/contracts/index.ts";
import { childName, later, parseArgs } from "../args.ts";
import { ImageRefSchema, OLLAMA_IMAGE, OllamaImageSchema, VLLM_IMAGE } from "../image.ts";
import type { Backend } from "../models/backend.ts";
import { apiOf, BackendSchema } from "../models/backend.ts";
import { ModelPull } from "../models/model-pull.ts";
import type { StoreChoice } from "../models/model-store.ts";
import { ModelStore, StoreChoiceSchema } from "../models/model-store.ts";
import { Model } from "../models/model.ts";
import { destinationsOf } from "../models/weights.ts";
import type { ConversationStoreArgs } from "./conversation-store.ts";
import { ConversationStoreSchema, sealed } from "./conversation-store.ts";
import type { NodeCapacity } from "./fit.ts";
import { NodeCapacitySchema, planFit, renderMisfit } from "./fit.ts";
import { modelPolicy, orchestratorPolicy, weightsPolicy } from "./isolation.ts";
import type { OrchestratorArgs } from "./orchestrator.ts";
import { Orchestrator } from "./orchestrator.ts";
import type { MemberChoice, PlannedMember } from "./plan.ts";
import { configOf, memberProblems, MembersSchema, quotaOf, workloadsOf } from "./plan.ts";

/** What {@link EnsembleArgs.access} accepts. */
const AccessSchema = z.strictObject({
  anonymous: AccessConfigSchema.shape.anonymous.unwrap().optional(),
  keysSecret: later("access.keysSecret", z.string().min(1)).optional(),
  trustedProxies: AccessConfigSchema.shape.trustedProxies.unwrap().optional(),
});

/** What {@link Ensemble} accepts. */
export const EnsembleSchema = z
  .strictObject({
    image: ImageRefSchema,
    ollamaImage: OllamaImageSchema.default(OLLAMA_IMAGE),
    vllmImage: ImageRefSchema.default(VLLM_IMAGE),
    namespace: MemberNameSchema.default(ENSEMBLE_LABEL),
    createNamespace: z.boolean().default(true),
    profile: ProfileNameSchema.default("default"),
    backend: BackendSchema.default("llama"),
    members: MembersSchema.prefault({}),
    store: StoreChoiceSchema.optional(),
    conversationStore: ConversationStoreSchema.optional(),
    deadlines: DeadlinesSchema.optional(),
    nodes: z.array(NodeCapacitySchema).optional(),
    isolate: z.boolean().default(true),
    clients: z.array(z.cidrv4("want an address range such as 192.168.1.0/24")).default([]),
    quota: z.boolean().default(false),
    access: AccessSchema.prefault({}),
    serviceType: z.enum(["ClusterIP", "NodePort", "LoadBalancer"]).default("ClusterIP"),
  })
  .superRefine(({ nodes, members, profile, backend, store }, ctx) => {
    // A choice that could not be read was reported, and no member is planned then.
    if (!Array.isArray(members)) return;
    for (const { path, message } of memberProblems(members, { backend, profile, store })) {
      ctx.addIssue({ code: "custom", path: ["members", ...path], message });
    }
    if (nodes === undefined) return;
    const fit = planFit(nodes, workloadsOf(members), PROFILES[profile]);
    if (!fit.fits) ctx.addIssue({ code: "custom", path: ["nodes"], message: renderMisfit(fit) });
  });
type Spec = z.output<typeof EnsembleSchema>;

/** Arguments of {@link Ensemble}. */
export interface EnsembleArgs {
  /** Image of our runtime, with a tag other than `latest`, or a digest. */
  image: string;
  /** Image of the Ollama server, for `backend: "ollama"`; its tag must say a release of 0.17.1 or newer. @default "docker.io/ollama/ollama:0.17.1" */
  ollamaImage?: string;
  /** Image of the vLLM server, for `backend: "vllm"`. @default "docker.io/vllm/vllm-openai:v0.11.0" */
  vllmImage?: string;
  /** Namespace that everything goes into. A change re-creates everything. @default "opus-ai-system" */
  namespace?: string;
  /** Whether to make that namespace; if not, it must exist. @default true */
  createNamespace?: boolean;
  /** `seed`: the original manifest's probes and spread. `default`: those that hold what the original promises. @default "default" */
  profile?: ProfileName;
  /** What answers in the model pods. @default "llama" */
  backend?: Backend;
  /** What differs from the catalogue, by member name: promptimizer, llama, qwen, qwen-small, judge. @default - nothing */
  members?: Record<string, MemberChoice>;
  /**
   * Where weights are kept. With `llama` a store that outlives pods is filled before the models start, on each of `nodes` that takes them.
   * @default - `{ kind: "node" }`; in the seed's profile `{ kind: "ephemeral" }`, as there
   */
  store?: StoreChoice;
  /** Postgres that keeps the conversations. @default - the service's memory: they are gone with its pod */
  conversationStore?: ConversationStoreArgs;
  /** How long each stage of a question may take, ms. @default - the orchestrator's own */
  deadlines?: EnsembleConfigInput["deadlines"];
  /** The cluster's machines. If given, an ensemble that does not fit them is refused at preview. @default - not checked */
  nodes?: NodeCapacity[];
  /** Whether network policies keep the models reachable by the orchestrator only. @default true */
  isolate?: boolean;
  /** Address ranges (CIDR) that may reach the service beside the pods of its namespace. @default - none */
  clients?: string[];
  /** Whether to limit the namespace to what the ensemble needs during a rollout. @default false */
  quota?: boolean;
  /** Who may ask. @default - `{ anonymous: "loopback" }`; in the seed's profile `{ anonymous: "everyone" }`, as there */
  access?: {
    /**
     * Who may ask without a key. `loopback`: `kubectl port-forward`, which enters the pod, and nothing else. `everyone`: whoever `isolate`
     * and `clients` let come that far. `nobody`: all need one. @default - "loopback", in the seed's profile "everyone"
     */
    anonymous?: "loopback" | "everyone" | "nobody";
    /** Secret with the clients' keys; see {@link OrchestratorArgs.keysSecret}. @default - none */
    keysSecret?: pulumi.Input<string>;
    /** Proxies whose `X-Forwarded-For` is believed: an ingress controller's pods, such as `10.42.0.0/16`. @default - none */
    trustedProxies?: string[];
  };
  /** How the service is reached; all but `ClusterIP` open it to your network, where `access` alone guards it. @default "ClusterIP" */
  serviceType?: OrchestratorArgs["serviceType"];
}

/** Five models and the service that asks them, from one Kubernetes provider in `opts` to a judged answer. */
export class Ensemble extends pulumi.ComponentResource {
  /** `http://opus-orchestrator.<namespace>.svc:8080`, in the cluster; resolves only after the service can answer. */
  readonly url: pulumi.Output<string>;
  /** Namespace that everything is in. */
  readonly namespace: pulumi.Output<string>;
  readonly #models: ReadonlyMap<string, Model>;
  readonly #orchestrator: Orchestrator;
  readonly #store: ModelStore;

  constructor(name: string, args: EnsembleArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:ensemble:Ensemble", name, sealed(args), opts);
    const spec = parseArgs(this, EnsembleSchema, args);

    const space = spec.createNamespace
      ? new k8s.core.v1.Namespace(name, namespaceFor(spec), { parent: this })
      : undefined;
    this.namespace = space === undefined ? pulumi.output(spec.namespace) : space.metadata.name;
    const fences = this.#fence(name, spec);
    const choice: StoreChoice = spec.store ?? { kind: spec.profile === "seed" ? "ephemeral" : "node" };
    this.#store = new ModelStore(childName(name, "store"), { ...choice, namespace: this.namespace }, { parent: this });
    const before = [...fences, ...this.#prePull(name, choice.kind, spec, fences)];
    this.#models = new Map(
      spec.members.map((member) => [member.name, this.#model(name, member, spec, before)] as const),
    );
    const { keysSecret, anonymous = spec.profile === "seed" ? "everyone" : "loopback", ...proxies } = spec.access;
    const access = { anonymous, ...proxies };
    this.#orchestrator = new Orchestrator(
      childName(name, "orchestrator"),
      {
        namespace: this.namespace,
        image: spec.image,
        profile: spec.profile,
        serviceType: spec.serviceType,
        config: { ...configOf(spec.members, spec.profile, spec.backend, spec.deadlines), access },
        ...(keysSecret === undefined ? {} : { keysSecret }),
        ...(spec.conversationStore === undefined ? {} : { conversationStore: spec.conversationStore }),
        ...waitPathOf(spec.backend),
      },
      { parent: this, dependsOn: fences },
    );
    this.url = this.#orchestrator.url;
    this.registerOutputs({ url: this.url, namespace: this.namespace });
  }

  /** The parts, for what the arguments do not reach. Models by member name. */
  get nodes(): { models: ReadonlyMap<string, Model>; orchestrator: Orchestrator; store: ModelStore } {
    return { models: this.#models, orchestrator: this.#orchestrator, store: this.#store };
  }

  /** What must be in place before a first pod runs. */
  #fence(name: string, spec: Spec): pulumi.Resource[] {
    const metadata = (token: string): k8s.types.input.meta.v1.ObjectMeta => ({
      name: token,
      namespace: this.namespace,
      labels: { ensemble: ENSEMBLE_LABEL },
    });
    const { port } = apiOf(spec.backend);
    const downloads = spec.backend === "scripted" ? [] : destinationsOf(sourcesOf(spec));
    const policies: [string, k8s.types.input.networking.v1.NetworkPolicySpec][] = [];
    if (spec.isolate) {
      const clients = spec.serviceType === "ClusterIP" ? spec.clients : "everybody";
      policies.push(["models-only-from-orchestrator", modelPolicy(port, downloads)]);
      if (spec.backend === "llama") policies.push(["weights", weightsPolicy(downloads)]);
      policies.push(["orchestrator", orchestratorPolicy(port, clients, spec.conversationStore?.port)]);
    }
    const fences: pulumi.Resource[] = policies.map(
      ([token, policy]) =>
        new k8s.networking.v1.NetworkPolicy(
          childName(name, `policy-${token}`),
          { metadata: metadata(token), spec: policy },
          { parent: this },
        ),
    );
    if (!spec.quota) return fences;
    const quota = { metadata: metadata("ensemble"), spec: { hard: renderQuota(spec.members) } };
    return [...fences, new k8s.core.v1.ResourceQuota(childName(name, "quota"), quota, { parent: this })];
  }

  /** Jobs that put the weights where the models will look for them; none where a pod brings its own. */
  #prePull(name: string, kind: StoreChoice["kind"], spec: Spec, fences: pulumi.Resource[]): pulumi.Resource[] {
    const workers = (spec.nodes ?? []).filter(({ role }) => role === "agent").map((node) => node.name);
    const models = spec.members
      .filter(({ replicas }) => replicas > 0)
      .map(({ model, source, digest, quantization }) => ({ model, source, digest, quantization }));
    const isFilled = kind === "claim" || (kind === "node" && workers.length > 0);
    if (spec.backend !== "llama" || !isFilled || models.length === 0) return [];
    const args = { namespace: this.namespace, image: spec.image, store: this.#store, models };
    return [
      new ModelPull(
        childName(name, "weights"),
        { ...args, ...(kind === "node" ? { nodes: workers } : {}) },
        { parent: this, dependsOn: fences },
      ),
    ];
  }

  #model(name: string, member: PlannedMember, spec: Spec, before: pulumi.Resource[]): Model {
    const images = { llama: spec.image, scripted: spec.image, ollama: spec.ollamaImage, vllm: spec.vllmImage };
    const { source, digest, quantization, sizeBytes, gpu } = member;
    return new Model(
      childName(name, member.name),
      {
        name: member.name,
        model: member.model,
        source,
        digest,
        quantization,
        sizeBytes,
        gpu,
        namespace: this.namespace,
        image: images[spec.backend],
        backend: spec.backend,
        profile: spec.profile,
        replicas: member.replicas,
        resources: member.resources,
        store: this.#store,
      },
      { parent: this, dependsOn: before },
    );
  }
}

/** Where the members' weights come from; undefined is the place that a name means. */
function sourcesOf({ members }: Spec): (string | undefined)[] {
  return members.filter(({ replicas }) => replicas > 0).map(({ source }) => source);
}

/** What the orchestrator asks before it starts, where that is another path than the profile's. */
function waitPathOf(backend: Backend): { waitPath?: string } {
  switch (backend) {
    case "llama":
    case "scripted":
      return {};
    case "ollama":
      // It cannot tell whether weights are loaded; its pod is only behind its Service once they are.
      return { waitPath: TAGS_PATH };
    case "vllm":
      return { waitPath: "/health" };
  }
}

/** Pure: the namespace, in which no pod may be more than `restricted` allows. */
function namespaceFor(spec: Spec): k8s.types.input.core.v1.Namespace {
  return {
    metadata: {
      name: spec.namespace,
      labels: {
        ensemble: ENSEMBLE_LABEL,
        "app.kubernetes.io/part-of": ENSEMBLE_LABEL,
        "app.kubernetes.io/managed-by": "gorkheavy",
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
      },
    },
  };
}

/** Pure: the quota's figures as Kubernetes names them. */
function renderQuota(members: readonly PlannedMember[]): Record<string, string> {
  const { requests, limits } = quotaOf(members);
  return {
    "requests.cpu": renderCpu(requests.cpuMillicores),
    "requests.memory": renderMemory(requests.memoryMib),
    "limits.cpu": renderCpu(limits.cpuMillicores),
    "limits.memory": renderMemory(limits.memoryMib),
  };
}
