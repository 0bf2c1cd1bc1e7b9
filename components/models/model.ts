import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import type { CatalogueModel, ProfileName, Resources } from "../../runtime/contracts/index.ts";
import {
  CATALOGUE,
  MemberNameSchema,
  ModelRefSchema,
  MODEL_PORT,
  PROFILES,
  ProfileNameSchema,
  ResourcesSchema,
} from "../../runtime/contracts/index.ts";
import { childName, later, parseArgs } from "../args.ts";
import { ImageRefSchema } from "../image.ts";
import { labelsFor, selectorFor } from "../labels.ts";
import { placementFor, podSecurity, renderResources } from "../placement.ts";
import type { Backend } from "./backend.ts";
import { BackendSchema, containersFor } from "./backend.ts";
import type { ModelStore, StoreVolume } from "./model-store.ts";

/** Longest wait for a model's pod to be ready, minutes: a first pull of 1.5 GB on a slow line, then the load. */
const READY_MINUTES = 20;

/** What {@link Model} accepts. */
export const ModelSchema = z
  .strictObject({
    name: MemberNameSchema.optional(),
    model: ModelRefSchema,
    namespace: later("namespace", z.string().min(1)),
    image: ImageRefSchema,
    backend: BackendSchema.default("scripted"),
    profile: ProfileNameSchema.default("default"),
    replicas: z.int().min(0).max(64).default(1),
    resources: ResourcesSchema.optional(),
    store: z.custom<ModelStore>().optional(),
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
type Spec = z.output<typeof ModelSchema>;

/** Arguments of {@link Model}. */
export interface ModelArgs {
  /** Name of its Deployment, Service and `app` label. @default - the component's own name */
  name?: string;
  /** Model to serve, `family:tag`. One of the catalogue's, or any other if `resources` are given. */
  model: string;
  /** Namespace, which must exist. */
  namespace: pulumi.Input<string>;
  /** Image with a tag other than `latest`, or a digest: our runtime for `scripted`, an Ollama server for `ollama`. */
  image: string;
  /** What answers. @default "scripted" */
  backend?: Backend;
  /** How it is probed, spread and evicted. @default "default" */
  profile?: ProfileName;
  /** Pods to keep running, 0 to 64. @default 1 */
  replicas?: number;
  /** Requests and limits of one pod. @default - the catalogue's figures for the model */
  resources?: Resources;
  /** Where its weights are kept. @default - with the pod; each new pod downloads again */
  store?: ModelStore;
}

/**
 * Serves one model in the cluster, behind `http://<name>:11434`. Needs a Kubernetes provider in `opts`.
 * What `opts.dependsOn` names is there before the first pod: Pulumi does not hand it down to children by itself.
 */
export class Model extends pulumi.ComponentResource {
  /** `http://<name>.<namespace>.svc:11434`; resolves only after a pod is ready. */
  readonly url: pulumi.Output<string>;
  /** `http://<name>:11434`, its address within its namespace; known at preview. */
  readonly address: string;
  /** `http://<name>-pods:11434`, a name that stands for each ready pod by itself; undefined where it has none. Known at preview. */
  readonly podsAddress: string | undefined;

  constructor(name: string, args: ModelArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:models:Model", name, args, opts);
    const spec = parseArgs(this, ModelSchema, args);
    const called = spec.name ?? MemberNameSchema.parse(name);

    const deployment = new k8s.apps.v1.Deployment(name, deploymentFor(called, spec), {
      parent: this,
      dependsOn: opts?.dependsOn,
      customTimeouts: { create: `${READY_MINUTES}m`, update: `${READY_MINUTES}m` },
    });
    // Beside the Deployment, not after it: the orchestrator's init container asks for the name while the models load.
    const service = new k8s.core.v1.Service(name, serviceFor(called, spec), {
      parent: this,
      dependsOn: opts?.dependsOn,
    });

    this.podsAddress = podsAddressOf(called, spec.profile);
    if (this.podsAddress !== undefined) {
      new k8s.core.v1.Service(childName(name, "pods"), headlessFor(called, spec), {
        parent: this,
        dependsOn: opts?.dependsOn,
      });
    }

    this.address = addressOf(called);
    this.url = pulumi
      .all([service.metadata.name, service.metadata.namespace, deployment.id])
      .apply(([host, namespace]) => `http://${host}.${namespace}.svc:${MODEL_PORT}`);
    this.registerOutputs({ url: this.url, address: this.address, podsAddress: this.podsAddress });
  }
}

/** Address of a model within its namespace. Source: the seed's `api_endpoints`. */
export function addressOf(name: string): string {
  return `http://${name}:${MODEL_PORT}`;
}

/** Longest name of a Service that a pods' name can be made from: a DNS label has 63 characters. */
const LONGEST_NAME = 63 - "-pods".length;

/**
 * Address of a model's pods within its namespace: its name stands for each ready pod by itself, so that a call can go to the pod that has read
 * its beginning, and to another one at once where one is dead; behind a ClusterIP such a call waits for the kernel's timeouts. Undefined in the
 * seed's profile, which has ClusterIP Services only, and for a name that leaves no room.
 */
export function podsAddressOf(name: string, profile: ProfileName): string | undefined {
  return profile === "seed" || name.length > LONGEST_NAME ? undefined : `http://${name}-pods:${MODEL_PORT}`;
}

function inCatalogue(model: string): CatalogueModel | undefined {
  return CATALOGUE.find((entry) => entry.model === model);
}

/** Pure: the Deployment of a model. */
function deploymentFor(name: string, spec: Spec): k8s.types.input.apps.v1.Deployment {
  const profile = PROFILES[spec.profile];
  const labels = labelsFor(name, "model");
  const resources = renderResources(spec.resources);
  const { init, main } = containersFor(spec.backend, {
    name,
    model: spec.model,
    image: spec.image,
    profile,
    cpuLimitMillicores: spec.resources.limits.cpuMillicores,
  });
  const ephemeral: StoreVolume = { emptyDir: {} };
  return {
    metadata: { name, namespace: spec.namespace, labels },
    spec: {
      replicas: spec.replicas,
      selector: { matchLabels: selectorFor(name) },
      // The new pod first: a model with one replica must not be away while it is exchanged.
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      // As long as the deadline of pulling and loading, or Kubernetes gives up on a Deployment that only downloads.
      progressDeadlineSeconds: READY_MINUTES * 60,
      template: {
        metadata: { labels, annotations: { "gorkheavy.dev/model": spec.model } },
        spec: {
          ...podSecurity(),
          ...placementFor(profile),
          // An init container's share counts like the main one's, so equal figures cost the scheduler nothing.
          ...(init.length === 0 ? {} : { initContainers: init.map((container) => ({ ...container, resources })) }),
          containers: [{ ...main, resources }],
          volumes: [
            { name: "models", ...(spec.store?.volume ?? ephemeral) },
            { name: "tmp", emptyDir: {} },
          ],
        },
      },
    },
  };
}

/** Pure: the Service of a model; inside the cluster only. */
function serviceFor(
  name: string,
  spec: Spec,
  headless?: { name: string; spec: { clusterIP: "None"; publishNotReadyAddresses: false } },
): k8s.types.input.core.v1.Service {
  return {
    metadata: {
      name: headless?.name ?? name,
      namespace: spec.namespace,
      labels: labelsFor(name, "model"),
      // Its pods take minutes to load and the Deployment already waits for them.
      annotations: { "pulumi.com/skipAwait": "true" },
    },
    spec: {
      type: "ClusterIP",
      ...headless?.spec,
      selector: selectorFor(name),
      ports: [{ name: "ollama", port: MODEL_PORT, targetPort: MODEL_PORT, protocol: "TCP" }],
    },
  };
}

/** Pure: the Service whose name stands for the pods themselves. */
function headlessFor(name: string, spec: Spec): k8s.types.input.core.v1.Service {
  return serviceFor(name, spec, {
    name: `${name}-pods`,
    // Only ready pods are behind the name, which is what the orchestrator should find.
    spec: { clusterIP: "None", publishNotReadyAddresses: false },
  });
}
