import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { ProfileName } from "../../runtime/contracts/index.ts";
import { MemberNameSchema, PROFILES } from "../../runtime/contracts/index.ts";
import { childName, parseArgs } from "../args.ts";
import { labelsFor, selectorFor } from "../labels.ts";
import { placementFor, podSecurity, renderResources } from "../placement.ts";
import type { Backend, BackendContainers, BackendSpec } from "./backend.ts";
import { apiOf } from "./backend.ts";
import { engineContainers } from "./engine-container.ts";
import type { ModelArgs, Spec } from "./model-args.ts";
import { ModelSchema } from "./model-args.ts";
import type { StoreVolume } from "./model-store.ts";
import { ollamaContainers } from "./ollama-container.ts";
import { probesOf } from "./probes.ts";
import { vllmContainers } from "./vllm-container.ts";

/** Longest wait for a model's pod to be ready, minutes: a first pull of 1.5 GB on a slow line, then the load. */
export const READY_MINUTES = 20;

/**
 * Serves one model in the cluster, behind `http://<name>:11434`, vLLM behind `http://<name>:8000`. Needs a Kubernetes provider in `opts`.
 * What `opts.dependsOn` names is there before the first pod: Pulumi does not hand it down to children by itself.
 */
export class Model extends pulumi.ComponentResource {
  /** `http://<name>.<namespace>.svc` and the port; resolves only after a pod is ready. */
  readonly url: pulumi.Output<string>;
  /** `http://<name>` and the port, its address within its namespace; known at preview. */
  readonly address: string;
  /** `http://<name>-pods` and the port, a name that stands for each ready pod by itself; undefined where it has none. Known at preview. */
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

    this.podsAddress = podsAddressOf(called, spec.profile, spec.backend);
    if (this.podsAddress !== undefined) {
      new k8s.core.v1.Service(childName(name, "pods"), headlessFor(called, spec), {
        parent: this,
        dependsOn: opts?.dependsOn,
      });
    }

    this.address = addressOf(called, spec.backend);
    this.url = pulumi
      .all([service.metadata.name, service.metadata.namespace, deployment.id])
      .apply(([host, namespace]) => `http://${host}.${namespace}.svc:${apiOf(spec.backend).port}`);
    this.registerOutputs({ url: this.url, address: this.address, podsAddress: this.podsAddress });
  }
}

/** Address of a model within its namespace. Source: the seed's `api_endpoints`. */
export function addressOf(name: string, backend: Backend): string {
  return `http://${name}:${apiOf(backend).port}`;
}

/** Longest name of a Service that a pods' name can be made from: a DNS label has 63 characters. */
const LONGEST_NAME = 63 - "-pods".length;

/**
 * Address of a model's pods within its namespace: its name stands for each ready pod by itself, so that a call can go to the pod that has read
 * its beginning, and to another one at once where one is dead; behind a ClusterIP such a call waits for the kernel's timeouts. Undefined in the
 * seed's profile, which has ClusterIP Services only, and for a name that leaves no room.
 */
export function podsAddressOf(name: string, profile: ProfileName, backend: Backend): string | undefined {
  return profile === "seed" || name.length > LONGEST_NAME ? undefined : `http://${name}-pods:${apiOf(backend).port}`;
}

/** Pure: the containers that serve a model. */
function containersFor(spec: BackendSpec): BackendContainers {
  switch (spec.backend) {
    case "llama":
    case "scripted":
      return engineContainers(spec);
    case "ollama":
      return ollamaContainers(spec);
    case "vllm":
      return vllmContainers(spec);
  }
}

/** Pure: the Deployment of a model. */
function deploymentFor(name: string, spec: Spec): k8s.types.input.apps.v1.Deployment {
  const profile = PROFILES[spec.profile];
  const labels = labelsFor(name, "model");
  const { gpu } = spec;
  const resources = renderResources(spec.resources);
  const { init, main } = containersFor({
    ...spec,
    name,
    profile,
    probes: probesOf(profile, spec.probes),
    limits: spec.resources.limits,
    storeIsFixed: spec.store?.kind === "image",
    gpu,
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
        metadata: { labels, annotations: annotationsFor(spec) },
        spec: {
          ...podSecurity(),
          ...placementFor(profile, gpu?.resource),
          ...(gpu?.runtimeClass === undefined ? {} : { runtimeClassName: gpu.runtimeClass }),
          // An init container's share counts like the main one's, so equal figures cost the scheduler nothing.
          ...(init.length === 0 ? {} : { initContainers: init.map((container) => ({ ...container, resources })) }),
          containers: [{ ...main, resources: renderResources(spec.resources, gpu) }],
          volumes: [
            { name: "models", ...(spec.store?.volume ?? ephemeral) },
            { name: "tmp", emptyDir: {} },
            // Processes of one vLLM server share tensors there; Kubernetes' own has 64 MiB.
            ...(spec.backend === "vllm" ? [{ name: "shm", emptyDir: { medium: "Memory" } }] : []),
          ],
        },
      },
    },
  };
}

/** Which model a pod serves; a change of the pin exchanges the pod. */
function annotationsFor({ model, digest }: Spec): Record<string, string> {
  return {
    "gorkheavy.dev/model": model,
    ...(digest === undefined ? {} : { "gorkheavy.dev/model-digest": `sha256:${digest}` }),
  };
}

/** Pure: the Service of a model; inside the cluster only. */
function serviceFor(
  name: string,
  spec: Spec,
  headless?: { name: string; spec: { clusterIP: "None"; publishNotReadyAddresses: false } },
): k8s.types.input.core.v1.Service {
  const { kind, port } = apiOf(spec.backend);
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
      ports: [{ name: kind, port, targetPort: port, protocol: "TCP" }],
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
