import { stringify } from "yaml";
import { z } from "zod";
import { HostName } from "../args.ts";

/** Pod Security level that a namespace has unless it says otherwise. Source: Kubernetes, "Pod Security Standards". */
const PodSecurityLevel = z.enum(["restricted", "baseline", "privileged"]);

/** The cluster's plain settings, as they are checked. */
export const K3sSettingsSchema = z.strictObject({
  clusterCidr: z.cidrv4({ error: "want an IPv4 network such as 10.42.0.0/16" }).default("10.42.0.0/16"),
  serviceCidr: z.cidrv4({ error: "want an IPv4 network such as 10.43.0.0/16" }).default("10.43.0.0/16"),
  clusterDns: z.ipv4({ error: "want an IPv4 address in serviceCidr, such as 10.43.0.10" }).default("10.43.0.10"),
  hardened: z.boolean().default(true),
  podSecurity: PodSecurityLevel.default("restricted"),
  podSecurityExemptNamespaces: z.array(HostName).default(["kube-system"]),
  disable: z.array(z.enum(["coredns", "servicelb", "traefik", "local-storage", "metrics-server"])).default([]),
  tlsSans: z.array(z.string().min(1)).default([]),
});

/** Checked settings. */
export type K3sSettings = z.output<typeof K3sSettingsSchema>;

/** How the cluster is set up. */
export interface K3sSettingsArgs {
  /** Pods' network; a change re-makes the cluster by hand. @default "10.42.0.0/16" (A29) */
  clusterCidr?: string;
  /** Services' network. @default "10.43.0.0/16" (A29) */
  serviceCidr?: string;
  /** CoreDNS' address, in `serviceCidr`. @default "10.43.0.10" (K3s' own) */
  clusterDns?: string;
  /** The settings of K3s' CIS hardening guide: encrypted Secrets, kernel defaults, audit log, Pod Security. @default true */
  hardened?: boolean;
  /** Pod Security level of namespaces that set none, when hardened. @default "restricted" */
  podSecurity?: "restricted" | "baseline" | "privileged";
  /** Namespaces without Pod Security. @default ["kube-system"] (K3s' own parts) */
  podSecurityExemptNamespaces?: readonly string[];
  /** Parts of K3s to leave out. @default - none */
  disable?: readonly ("coredns" | "servicelb" | "traefik" | "local-storage" | "metrics-server")[];
  /** More names and addresses for the API server's certificate, beside the server's own. @default - none */
  tlsSans?: readonly string[];
}

/** One node of the cluster, as its config.yaml needs it. */
export interface NodeConfig {
  name: string;
  address: string;
  /** Node labels, `key=value`. */
  labels: readonly string[];
  /** Node taints, `key=value:effect`. */
  taints: readonly string[];
}

/** Folder of the server's own files. */
const SERVER_FOLDER = "/var/lib/rancher/k3s/server";

/** Where the Pod Security settings are, on a server. */
export const POD_SECURITY_FILE = `${SERVER_FOLDER}/psa.yaml`;
/** Where the audit policy is, on a server. */
export const AUDIT_POLICY_FILE = `${SERVER_FOLDER}/audit.yaml`;
/** Folder of the audit log, on a server; not readable by others. */
export const AUDIT_LOG_FOLDER = `${SERVER_FOLDER}/logs`;
/** Where an agent keeps the cluster's token, mode 0600. */
export const TOKEN_FILE = "/etc/rancher/k3s/token";
/** K3s' settings file. */
export const CONFIG_FILE = "/etc/rancher/k3s/config.yaml";

/** What the hardening guide wants of each kubelet. Source: K3s documentation, "CIS Hardening Guide" (for v1.29 and newer). */
const KUBELET_HARDENING: readonly string[] = [
  "streaming-connection-idle-timeout=5m",
  "tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384," +
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256," +
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
];

/** config.yaml of the server. Pure. */
export function renderServerConfig(node: NodeConfig, settings: K3sSettings): string {
  const hardening = {
    "protect-kernel-defaults": true,
    "secrets-encryption": true,
    "kube-apiserver-arg": [
      "enable-admission-plugins=NodeRestriction",
      `admission-control-config-file=${POD_SECURITY_FILE}`,
      `audit-log-path=${AUDIT_LOG_FOLDER}/audit.log`,
      `audit-policy-file=${AUDIT_POLICY_FILE}`,
      "audit-log-maxage=30",
      "audit-log-maxbackup=10",
      "audit-log-maxsize=100",
      "service-account-extend-token-expiration=false",
    ],
    "kube-controller-manager-arg": ["terminated-pod-gc-threshold=100"],
    "kubelet-arg": [...KUBELET_HARDENING],
  };
  return yaml({
    ...nodeSettings(node),
    "tls-san": [...new Set([node.address, node.name, ...settings.tlsSans])],
    "cluster-cidr": settings.clusterCidr,
    "service-cidr": settings.serviceCidr,
    "cluster-dns": settings.clusterDns,
    "flannel-backend": "vxlan",
    // The kubeconfig in it is the administrator's: root's alone.
    "write-kubeconfig-mode": "0600",
    ...(settings.disable.length > 0 ? { disable: [...settings.disable] } : {}),
    ...(settings.hardened ? hardening : {}),
  });
}

/** config.yaml of an agent. Pure; the token is in a file of its own. */
export function renderAgentConfig(node: NodeConfig, settings: K3sSettings, serverAddress: string): string {
  return yaml({
    server: `https://${serverAddress}:6443`,
    "token-file": TOKEN_FILE,
    ...nodeSettings(node),
    ...(settings.hardened ? { "protect-kernel-defaults": true, "kubelet-arg": [...KUBELET_HARDENING] } : {}),
  });
}

function nodeSettings(node: NodeConfig): Record<string, unknown> {
  return {
    "node-name": node.name,
    "node-ip": node.address,
    ...(node.labels.length > 0 ? { "node-label": [...node.labels] } : {}),
    ...(node.taints.length > 0 ? { "node-taint": [...node.taints] } : {}),
  };
}

/** Audit policy: who did what, without contents, so that no Secret gets into the log. Source: the hardening guide's own. */
export function renderAuditPolicy(): string {
  return yaml({ apiVersion: "audit.k8s.io/v1", kind: "Policy", rules: [{ level: "Metadata" }] });
}

/** Pod Security for namespaces that set no level. Source: the hardening guide. */
export function renderPodSecurity(settings: K3sSettings): string {
  return yaml({
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AdmissionConfiguration",
    plugins: [
      {
        name: "PodSecurity",
        configuration: {
          apiVersion: "pod-security.admission.config.k8s.io/v1",
          kind: "PodSecurityConfiguration",
          defaults: {
            enforce: settings.podSecurity,
            "enforce-version": "latest",
            audit: settings.podSecurity,
            "audit-version": "latest",
            warn: settings.podSecurity,
            "warn-version": "latest",
          },
          exemptions: { usernames: [], runtimeClasses: [], namespaces: [...settings.podSecurityExemptNamespaces] },
        },
      },
    ],
  });
}

function yaml(value: unknown): string {
  return stringify(value, { lineWidth: 0 });
}
