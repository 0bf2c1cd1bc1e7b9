import type { Properties, Value } from "../provider.ts";
import { apiVersionOf, kindOf, valueAt } from "./manifest.ts";

/** A place in a manifest; numbers are positions in an array. */
export type Path = readonly (string | number)[];

const SELECTOR = ["spec.selector"];
const CONTAINER_FIELDS =
  "args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe resources securityContext stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir";
const POD_FIELDS =
  "affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC hostNetwork hostPID hostname imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority priorityClassName readinessGates restartPolicy runtimeClassName schedulerName securityContext serviceAccount serviceAccountName shareProcessNamespace subdomain terminationGracePeriodSeconds volumes";
const VOLUME_SOURCES =
  "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk glusterfs hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume";

/**
 * Fields that the API server will not change, by `apiVersion/kind`.
 * Source: pulumi-kubernetes provider/pkg/provider/diff.go, v4.32; `spec.serviceAccountName` and the like as there.
 */
const IMMUTABLE_FIELDS = new Map<string, readonly string[]>([
  ["apps/v1/DaemonSet", SELECTOR],
  ["apps/v1/Deployment", SELECTOR],
  [
    "apps/v1/StatefulSet",
    [...SELECTOR, ...under("spec", "podManagementPolicy revisionHistoryLimit serviceName volumeClaimTemplates")],
  ],
  ["batch/v1/Job", [...SELECTOR, ...under("spec", "completions parallelism template")]],
  ["rbac.authorization.k8s.io/v1/ClusterRoleBinding", ["roleRef"]],
  ["rbac.authorization.k8s.io/v1/RoleBinding", ["roleRef"]],
  ["storage.k8s.io/v1/StorageClass", ["parameters", "provisioner"]],
  ["v1/PersistentVolume", under("spec", VOLUME_SOURCES)],
  ["v1/PersistentVolumeClaim", [...SELECTOR, ...under("spec", "accessModes storageClassName volumeName")]],
  [
    "v1/Pod",
    [
      ...under("spec", POD_FIELDS),
      ...under("spec.containers.*", CONTAINER_FIELDS),
      ...under("spec.initContainers.*", CONTAINER_FIELDS),
    ],
  ],
  ["v1/ResourceQuota", ["spec.scopes"]],
  ["v1/Service", ["spec.clusterIP"]],
]);

function under(prefix: string, fields: string): string[] {
  return fields.split(" ").map((field) => `${prefix}.${field}`);
}

/** Whether ConfigMaps and Secrets are changed in place. */
export interface Mutability {
  enableConfigMapMutable: boolean;
  enableSecretMutable: boolean;
}

/** Fields whose change means a new object. For a patch resource that is the identity alone. */
export function replacingFields(manifest: Properties, isPatch: boolean, mutability: Mutability): Path[] {
  const identity = ["metadata.name", "metadata.namespace"];
  return [...identity, ...(isPatch ? [] : immutableFields(manifest, mutability))].map((path) => path.split("."));
}

function immutableFields(manifest: Properties, mutability: Mutability): readonly string[] {
  const kind = kindOf(manifest);
  if (kind === undefined) return [];
  const key = `${apiVersionOf(kind)}/${kind.kind}`;
  const isFrozen = valueAt(manifest, "immutable") === true;
  if (key === "v1/Secret") {
    return mutability.enableSecretMutable && !isFrozen ? ["type"] : ["type", "data", "stringData"];
  }
  if (key === "v1/ConfigMap") {
    return mutability.enableConfigMapMutable && !isFrozen ? [] : ["data", "binaryData"];
  }
  return IMMUTABLE_FIELDS.get(key) ?? [];
}

/** Whether a change at `path` touches one of `fields`; `value` is what is there now, undefined when it was deleted. */
export function touches(fields: readonly Path[], path: Path, value: Value | undefined): boolean {
  return fields.some((field) => {
    const common = Math.min(field.length, path.length);
    for (let index = 0; index < common; index += 1) {
      const step = path[index];
      if (field[index] === "*" ? typeof step !== "number" : field[index] !== step) return false;
    }
    // A change above the field counts when what came or went holds the field.
    return path.length >= field.length || valueAt(value, ...field.slice(path.length)) !== undefined;
  });
}
