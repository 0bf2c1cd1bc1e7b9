import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { ENSEMBLE_LABEL, renderMemory } from "../../runtime/contracts/index.ts";
import { later, parseArgs } from "../args.ts";
import { ImageRefSchema } from "../image.ts";

/** Directory on every node that holds the weights of the `node` store. It must exist and belong to user 1000. */
export const NODE_STORE_PATH = "/var/lib/gorkheavy/models";

const Common = {
  namespace: later("namespace", z.string().min(1)),
};

const KINDS = {
  node: {
    kind: z.literal("node"),
    path: z.string().startsWith("/", "want an absolute path").default(NODE_STORE_PATH),
    sizeMib: z.int().min(64).default(16_384),
  },
  claim: { kind: z.literal("claim"), storageClass: z.string().min(1), sizeMib: z.int().min(64).default(16_384) },
  ephemeral: { kind: z.literal("ephemeral"), sizeMib: z.int().min(64).optional() },
  image: { kind: z.literal("image"), reference: ImageRefSchema },
} as const;

/** What a model store is kept on, when its namespace is given elsewhere. See {@link StoreChoice}. */
export const StoreChoiceSchema = z.discriminatedUnion("kind", [
  z.strictObject(KINDS.node),
  z.strictObject(KINDS.claim),
  z.strictObject(KINDS.ephemeral),
  z.strictObject(KINDS.image),
]);

/** What a model store is kept on. See {@link ModelStoreArgs}. */
export const ModelStoreSchema = z.discriminatedUnion("kind", [
  z.strictObject({ ...Common, ...KINDS.node }),
  z.strictObject({ ...Common, ...KINDS.claim }),
  z.strictObject({ ...Common, ...KINDS.ephemeral }),
  z.strictObject({ ...Common, ...KINDS.image }),
]);

/** Where the weights are kept. `kind` decides; a change of it re-creates the store. */
export type ModelStoreArgs =
  | {
      /**
       * A directory of each node. Weights outlive pods and reboots, a pod may move to any node (there it pulls once), and the
       * pods stay within the Pod Security Standard `restricted`, since they see only a claim.
       */
      kind: "node";
      namespace: pulumi.Input<string>;
      /** The directory on the node; it must exist and belong to user 1000. @default "/var/lib/gorkheavy/models" */
      path?: string;
      /** Size written on volume and claim, MiB. A directory is not limited by it. @default 16384 */
      sizeMib?: number;
    }
  | {
      /** A claim on storage that every node can mount at once (ReadWriteMany), such as NFS. */
      kind: "claim";
      namespace: pulumi.Input<string>;
      /** Storage class that gives ReadWriteMany. K3s' own `local-path` does not: it would tie every model to one node. */
      storageClass: string;
      /** MiB. @default 16384 */
      sizeMib?: number;
    }
  | {
      /** Goes with the pod; survives a container's crash only. Needs nothing of the cluster. */
      kind: "ephemeral";
      namespace: pulumi.Input<string>;
      /** MiB. @default - what the node has */
      sizeMib?: number;
    }
  | {
      /**
       * An image whose files are the store, `_store` at its root as `gorkheavy models pull --store _store` fills it. The node's container
       * runtime brings and keeps it, read-only, and nothing is pulled beside it. Wants a cluster with image volumes (the feature ImageVolume
       * of Kubernetes 1.33 or newer, containerd 2.1 or newer), and the backend `llama`.
       */
      kind: "image";
      namespace: pulumi.Input<string>;
      /** With a tag other than `latest`, or a digest. */
      reference: string;
    };

/** Without the namespace: what a caller chooses when the namespace is given elsewhere. */
export type StoreChoice = ModelStoreArgs extends infer Args
  ? Args extends unknown
    ? Omit<Args, "namespace">
    : never
  : never;

/** What a pod mounts; part of {@link ModelStore}. */
export type StoreVolume = Omit<k8s.types.input.core.v1.Volume, "name">;

/**
 * Keeps the weights of the models of one namespace, so that a restart does not download them again.
 *
 * The `node` store is a PersistentVolume on a hostPath without node affinity. For shared data that would be a mistake, since each
 * node sees its own files; for a cache it is the point: a volume of `local-path` is tied to the node where it was made, and when
 * that node is lost its models could start nowhere.
 */
export class ModelStore extends pulumi.ComponentResource {
  /** The volume to put into a pod; the claim in it resolves once the claim exists. */
  readonly volume: StoreVolume;
  readonly kind: ModelStoreArgs["kind"];

  constructor(name: string, args: ModelStoreArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:models:ModelStore", name, args, opts);
    const spec = parseArgs(this, ModelStoreSchema, args);
    this.kind = spec.kind;

    switch (spec.kind) {
      case "node": {
        const labels = { ensemble: ENSEMBLE_LABEL };
        const volumeName = pulumi.interpolate`${spec.namespace}-models`;
        const volume = new k8s.core.v1.PersistentVolume(
          name,
          {
            metadata: { name: volumeName, labels },
            spec: {
              capacity: { storage: renderMemory(spec.sizeMib) },
              accessModes: ["ReadWriteMany"],
              // The files are the node's; taking the volume away leaves them.
              persistentVolumeReclaimPolicy: "Retain",
              storageClassName: "",
              claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace: spec.namespace, name: "models" },
              hostPath: { path: spec.path, type: "Directory" },
            },
          },
          { parent: this },
        );
        this.volume = { persistentVolumeClaim: { claimName: this.#claim(name, spec, "", volume.metadata.name) } };
        break;
      }
      case "claim":
        this.volume = { persistentVolumeClaim: { claimName: this.#claim(name, spec, spec.storageClass) } };
        break;
      case "ephemeral":
        this.volume = { emptyDir: spec.sizeMib === undefined ? {} : { sizeLimit: `${spec.sizeMib}Mi` } };
        break;
      case "image":
        this.volume = { image: { reference: spec.reference, pullPolicy: "IfNotPresent" } };
        break;
    }
    this.registerOutputs({ volume: this.volume });
  }

  #claim(
    name: string,
    spec: { namespace: pulumi.Output<string>; sizeMib: number },
    storageClassName: string,
    volumeName?: pulumi.Output<string>,
  ): pulumi.Output<string> {
    const claim = new k8s.core.v1.PersistentVolumeClaim(
      name,
      {
        metadata: {
          name: "models",
          namespace: spec.namespace,
          labels: { ensemble: ENSEMBLE_LABEL },
          // A class that waits for the first pod never binds before one is there.
          annotations: { "pulumi.com/skipAwait": "true" },
        },
        spec: {
          accessModes: ["ReadWriteMany"],
          resources: { requests: { storage: renderMemory(spec.sizeMib) } },
          storageClassName,
          ...(volumeName === undefined ? {} : { volumeName }),
        },
      },
      { parent: this },
    );
    return claim.metadata.name;
  }
}
