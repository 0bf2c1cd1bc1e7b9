import { createHash } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import type { Resources } from "../../runtime/contracts/index.ts";
import { MemberNameSchema, ModelRefSchema, PROFILES, ResourcesSchema } from "../../runtime/contracts/index.ts";
import { childName, later, parseArgs } from "../args.ts";
import { ImageRefSchema } from "../image.ts";
import { labelsFor } from "../labels.ts";
import { placementFor, podSecurity, renderResources } from "../placement.ts";
import { pullContainer } from "./engine-container.ts";
import type { ModelStore } from "./model-store.ts";
import { contradictions, DigestSchema, QuantizationSchema, SourceSchema } from "./weights.ts";

/** What one download takes: the program's code, and a few buffers of the bytes that come in. */
const PULL_RESOURCES: Resources = {
  requests: { cpuMillicores: 50, memoryMib: 64 },
  limits: { cpuMillicores: 500, memoryMib: 256 },
};

/** Longest wait for all downloads of one Job, minutes: 5 GB on a line of 20 Mbit/s. */
const PULL_MINUTES = 40;

/** Times that a Job begins again after a pod of it was lost; a download that fails goes on in the same pod before that. */
const PULL_RETRIES = 4;

/** What {@link ModelPull} accepts. */
export const ModelPullSchema = z
  .strictObject({
    namespace: later("namespace", z.string().min(1)),
    image: ImageRefSchema,
    store: z.custom<ModelStore>(),
    models: z
      .array(
        z.strictObject({
          model: ModelRefSchema,
          source: SourceSchema.optional(),
          digest: DigestSchema.optional(),
          quantization: QuantizationSchema.optional(),
        }),
      )
      .min(1),
    nodes: z.array(MemberNameSchema).optional(),
    resources: ResourcesSchema.prefault(PULL_RESOURCES),
  })
  .superRefine(({ store, nodes, models }, ctx) => {
    const refuse = (path: (string | number)[], message: string): void =>
      ctx.addIssue({ code: "custom", path, message });
    if (store.kind === "node" && (nodes ?? []).length === 0) {
      refuse(["nodes"], "a store of kind node has files on each node: want the nodes that may run the models");
    }
    if (store.kind === "claim" && nodes !== undefined) {
      refuse(["nodes"], "a store of kind claim is one for all nodes; leave the nodes out");
    }
    if (store.kind === "ephemeral" || store.kind === "image") {
      refuse(["store"], `nothing can be put into a store of kind ${store.kind} beforehand; want node or claim`);
    }
    for (const { index, message } of contradictions(models)) refuse(["models", index, "model"], message);
  });
type Spec = z.output<typeof ModelPullSchema>;

/** Arguments of {@link ModelPull}. */
export interface ModelPullArgs {
  /** Namespace, which must exist. */
  namespace: pulumi.Input<string>;
  /** Image of our runtime, with a tag other than `latest`, or a digest. */
  image: string;
  /** The store to fill, of kind `node` or `claim`. */
  store: ModelStore;
  /** What to put there, for the backend `llama`; the rest as in `Model`. The same twice is brought once. */
  models: { model: string; source?: string; digest?: string; quantization?: string }[];
  /** Names of the nodes that may run the models, for a store of kind `node`. */
  nodes?: string[];
  /** Requests and limits of each download. @default - 50m and 64Mi, 500m and 256Mi */
  resources?: Resources;
}

/**
 * Brings weights to where models will need them, before they do: one Job on each node, or one for a shared claim, with one container a
 * model. It is done when all are there; `kubectl logs job/NAME -c MODEL` shows how far each is. What is there already costs no download.
 */
export class ModelPull extends pulumi.ComponentResource {
  constructor(name: string, args: ModelPullArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:models:ModelPull", name, { ...args, store: args.store.kind }, opts);
    const spec = parseArgs(this, ModelPullSchema, args);
    for (const node of spec.nodes ?? [undefined]) {
      new k8s.batch.v1.Job(node === undefined ? name : childName(name, node), jobFor(spec, node), {
        parent: this,
        dependsOn: opts?.dependsOn,
        customTimeouts: { create: `${PULL_MINUTES + 1}m`, update: `${PULL_MINUTES + 1}m` },
      });
    }
    this.registerOutputs({});
  }
}

/** Pure: one Job. Its name holds a hash of what it does, since a Job cannot be changed: the next one runs before the old one goes. */
function jobFor(spec: Spec, node: string | undefined): k8s.types.input.batch.v1.Job {
  const labels = labelsFor("weights", "weights");
  const resources = renderResources(spec.resources);
  const models = spec.models.filter(
    ({ model }, index) => spec.models.findIndex((one) => one.model === model) === index,
  );
  const names = containerNames(models.map(({ model }) => model));
  const containers = models.map((weights, index) => ({
    ...pullContainer(names[index] ?? `model-${index}`, spec.image, weights),
    resources,
  }));
  const hash = createHash("sha256")
    .update(JSON.stringify([containers, node]))
    .digest("hex")
    .slice(0, 10);
  const { affinity } = placementFor(PROFILES.default);
  return {
    metadata: { name: `weights-${hash}`, namespace: spec.namespace, labels },
    spec: {
      backoffLimit: PULL_RETRIES,
      activeDeadlineSeconds: PULL_MINUTES * 60,
      template: {
        metadata: { labels },
        spec: {
          ...podSecurity(),
          affinity,
          ...(node === undefined ? {} : { nodeSelector: { "kubernetes.io/hostname": node } }),
          // The container begins again where its download stopped.
          restartPolicy: "OnFailure",
          containers,
          volumes: [
            { name: "models", ...spec.store.volume },
            { name: "tmp", emptyDir: {} },
          ],
        },
      },
    },
  };
}

/** DNS labels made of models' names, such as `lab-brief-0-8m`; a number goes before one that would be there twice. */
function containerNames(models: readonly string[]): string[] {
  const slugs = models.map((model) => model.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-"));
  return slugs.map((slug, index) => {
    const name = slugs.indexOf(slug) === index ? slug : `${index}-${slug}`;
    return name.slice(0, 63).replace(/-$/, "");
  });
}
