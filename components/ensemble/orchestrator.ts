import { createHash } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import type { EnsembleConfigInput, ProfileName, Resources } from "../../runtime/contracts/index.ts";
import {
  EnsembleConfigSchema,
  ORCHESTRATOR_NAME,
  ORCHESTRATOR_NODE_FLAGS,
  ORCHESTRATOR_PORT,
  ORCHESTRATOR_RESOURCES,
  PROFILES,
  ProfileNameSchema,
  renderEnsembleConfig,
  ResourcesSchema,
} from "../../runtime/contracts/index.ts";
import { later, parseArgs } from "../args.ts";
import { ImageRefSchema } from "../image.ts";
import { labelsFor, selectorFor } from "../labels.ts";
import { containerSecurity, placementFor, podSecurity, renderResources } from "../placement.ts";
import type { ConversationStoreArgs } from "./conversation-store.ts";
import { ConversationStoreSchema, databaseUrlRef, sealed } from "./conversation-store.ts";
import { renderWaitScript } from "./wait.ts";

/** Folder of the configuration in the pod. */
const CONFIG_DIR = "/etc/gorkheavy";
/** Name of the configuration's file, and its key in the ConfigMap. */
const CONFIG_FILE = "ensemble.yaml";
/** Folder of the keys in the pod, and the name of their file: the Secret's key. */
const KEYS_DIR = "/etc/gorkheavy-keys";
const KEYS_FILE = "keys.yaml";
/** Longest wait for the service, minutes; it starts only when every model has answered. */
const READY_MINUTES = 25;

/** How the service is reached: from pods of the cluster only, or from outside as well. */
const ServiceTypeSchema = z.enum(["ClusterIP", "NodePort", "LoadBalancer"]);

/** What {@link Orchestrator} accepts. */
export const OrchestratorSchema = z.strictObject({
  namespace: later("namespace", z.string().min(1)),
  image: ImageRefSchema,
  config: EnsembleConfigSchema,
  keysSecret: later("keysSecret", z.string().min(1)).optional(),
  conversationStore: ConversationStoreSchema.optional(),
  waitPath: z.string().startsWith("/").optional(),
  profile: ProfileNameSchema.default("default"),
  resources: ResourcesSchema.prefault(ORCHESTRATOR_RESOURCES),
  serviceType: ServiceTypeSchema.default("ClusterIP"),
});
type Spec = z.output<typeof OrchestratorSchema>;

/** Arguments of {@link Orchestrator}. */
export interface OrchestratorArgs {
  /** Namespace, which must exist. */
  namespace: pulumi.Input<string>;
  /** Image of our runtime, with a tag other than `latest`, or a digest. */
  image: string;
  /** The members, deadlines and quorum. A change of it exchanges the pod. It holds no secrets: tokens are named by variable. */
  config: EnsembleConfigInput;
  /**
   * Name of a Secret of the same namespace whose `keys.yaml` holds the clients' keys, as `gorkheavy keys create` writes it. A change of it
   * reaches the service within about a minute, without a new pod. @default - no keys: `config.access` alone says who may ask
   */
  keysSecret?: pulumi.Input<string>;
  /** Postgres that keeps the conversations; `config.store.kind` is then `postgres`. @default - what `config.store` says */
  conversationStore?: ConversationStoreArgs;
  /** Path that every member must answer with 200 before the service starts. @default - the profile's */
  waitPath?: string;
  /** How it waits, is spread and evicted. @default "default" */
  profile?: ProfileName;
  /** Requests and limits. @default - 100m and 128Mi, 200m and 256Mi */
  resources?: Resources;
  /** `NodePort` and `LoadBalancer` open the service to your network; who may ask there `config.access` says. @default "ClusterIP" */
  serviceType?: "ClusterIP" | "NodePort" | "LoadBalancer";
}

/**
 * Runs the service that asks the models and the judge. One replica: without a `conversationStore` the conversations are in its memory.
 * What `opts.dependsOn` names is there before its pod.
 */
export class Orchestrator extends pulumi.ComponentResource {
  /** `http://opus-orchestrator.<namespace>.svc:8080`; resolves only after the service can answer. */
  readonly url: pulumi.Output<string>;

  constructor(name: string, args: OrchestratorArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:ensemble:Orchestrator", name, sealed(args), opts);
    const spec = parseArgs(this, OrchestratorSchema, args);
    const { access, store } = spec.config;
    const keysFile = spec.keysSecret === undefined ? access.keysFile : `${KEYS_DIR}/${KEYS_FILE}`;
    const text = renderEnsembleConfig({
      ...spec.config,
      access: { ...access, keysFile },
      store: spec.conversationStore === undefined ? store : { ...store, kind: "postgres" },
    });
    const sha256 = createHash("sha256").update(text).digest("hex");

    const config = new k8s.core.v1.ConfigMap(name, configFor(text, sha256, spec), { parent: this });
    const secretEnv =
      spec.conversationStore === undefined
        ? []
        : [
            {
              name: store.urlEnv,
              valueFrom: { secretKeyRef: databaseUrlRef(this, name, spec.namespace, labels, spec.conversationStore) },
            },
          ];
    const deployment = new k8s.apps.v1.Deployment(name, deploymentFor(config.metadata.name, sha256, secretEnv, spec), {
      parent: this,
      dependsOn: opts?.dependsOn,
      customTimeouts: { create: `${READY_MINUTES}m`, update: `${READY_MINUTES}m` },
    });
    const service = new k8s.core.v1.Service(name, serviceFor(spec), { parent: this, dependsOn: [deployment] });

    this.url = pulumi
      .all([service.metadata.name, service.metadata.namespace, deployment.id])
      .apply(([host, namespace]) => `http://${host}.${namespace}.svc:${ORCHESTRATOR_PORT}`);
    this.registerOutputs({ url: this.url });
  }
}

const labels = labelsFor(ORCHESTRATOR_NAME, "orchestrator");

/** Pure: the ConfigMap. Its name holds its content's hash, so that the old pod keeps the old one until it is gone. */
function configFor(text: string, sha256: string, spec: Spec): k8s.types.input.core.v1.ConfigMap {
  return {
    metadata: { name: `${ORCHESTRATOR_NAME}-${sha256.slice(0, 10)}`, namespace: spec.namespace, labels },
    data: { [CONFIG_FILE]: text },
  };
}

/** Pure: the Deployment. */
function deploymentFor(
  configName: pulumi.Input<string>,
  sha256: string,
  secretEnv: k8s.types.input.core.v1.EnvVar[],
  spec: Spec,
): k8s.types.input.apps.v1.Deployment {
  const profile = PROFILES[spec.profile];
  const wait = renderWaitScript({
    urls: spec.config.members.map((member) => `${member.url}${spec.waitPath ?? profile.waitPath}`),
    intervalSeconds: profile.waitIntervalSeconds,
    extraSeconds: profile.waitExtraSeconds,
    deadlineSeconds: profile.waitDeadlineSeconds,
  });
  const common = {
    image: spec.image,
    imagePullPolicy: "IfNotPresent",
    resources: renderResources(spec.resources),
    securityContext: containerSecurity(),
    env: [{ name: "NODE_OPTIONS", value: ORCHESTRATOR_NODE_FLAGS.join(" ") }],
  };
  return {
    metadata: { name: ORCHESTRATOR_NAME, namespace: spec.namespace, labels },
    spec: {
      replicas: 1,
      selector: { matchLabels: selectorFor(ORCHESTRATOR_NAME) },
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      progressDeadlineSeconds: READY_MINUTES * 60,
      template: {
        metadata: { labels, annotations: { "gorkheavy.dev/config-sha256": sha256 } },
        spec: {
          ...podSecurity(),
          ...placementFor(profile),
          initContainers: [{ ...common, name: "wait-for-services", command: ["node", "-e"], args: [wait] }],
          containers: [
            {
              ...common,
              name: "orchestrator",
              env: [...common.env, ...secretEnv],
              command: ["node", "/app/gorkheavy.mjs"],
              args: ["serve", "--config", `${CONFIG_DIR}/${CONFIG_FILE}`, "--port", `${ORCHESTRATOR_PORT}`],
              ports: [{ name: "http", containerPort: ORCHESTRATOR_PORT, protocol: "TCP" }],
              livenessProbe: {
                httpGet: { path: "/healthz", port: ORCHESTRATOR_PORT, scheme: "HTTP" },
                initialDelaySeconds: 5,
                periodSeconds: 10,
                failureThreshold: 6,
                timeoutSeconds: 5,
              },
              // Not /readyz, which is false while too few models can answer: taken out of its Service, it could no longer say so,
              // and callers would see a refused connection. The init container has waited for the models before it starts.
              readinessProbe: {
                httpGet: { path: "/healthz", port: ORCHESTRATOR_PORT, scheme: "HTTP" },
                initialDelaySeconds: 0,
                periodSeconds: 2,
                failureThreshold: 3,
                timeoutSeconds: 5,
              },
              volumeMounts: [
                { name: "config", mountPath: CONFIG_DIR, readOnly: true },
                ...(spec.keysSecret === undefined ? [] : [{ name: "keys", mountPath: KEYS_DIR, readOnly: true }]),
                { name: "tmp", mountPath: "/tmp" },
              ],
            },
          ],
          volumes: [
            { name: "config", configMap: { name: configName } },
            ...(spec.keysSecret === undefined
              ? []
              : [{ name: "keys", secret: { secretName: spec.keysSecret, defaultMode: 0o440 } }]),
            { name: "tmp", emptyDir: {} },
          ],
        },
      },
    },
  };
}

/** Pure: the Service. */
function serviceFor(spec: Spec): k8s.types.input.core.v1.Service {
  return {
    metadata: { name: ORCHESTRATOR_NAME, namespace: spec.namespace, labels },
    spec: {
      type: spec.serviceType,
      selector: selectorFor(ORCHESTRATOR_NAME),
      ports: [{ name: "http", port: ORCHESTRATOR_PORT, targetPort: ORCHESTRATOR_PORT, protocol: "TCP" }],
    },
  };
}
