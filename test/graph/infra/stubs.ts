import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type AddressPlan, type Host, HostKey, HostPool, planAddresses, UbuntuImage } from "../../../infra/index.ts";
import type { Stubs } from "../../support/graph.ts";

/** Secrets that the stubs put in; none may be found in plain text. */
export const CANARY = {
  privateKey: "b3BlbnNzaC1rZXktY2FuYXJ5",
  token: `K10${"c".repeat(64)}::server:canary-token`,
  clientKey: "Y2FuYXJ5LWNsaWVudC1rZXk=",
  apiToken: "root@pam!lab=ca9a4000-0000-4000-8000-000000000001",
} as const;

/** A key pair as `ssh-keygen` prints it. */
export function keyPair(name: string): string {
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${CANARY.privateKey}\n-----END OPENSSH PRIVATE KEY-----\nssh-ed25519 ${publicKeyOf(name)}\n`;
}

/** The public half of {@link keyPair}, without its type. */
export function publicKeyOf(name: string): string {
  return `${Buffer.from(name).toString("base64")} ${name}`;
}

const credentials = `${CANARY.token}
---8<---
apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: Q0E=}}]
users: [{name: default, user: {client-key-data: ${CANARY.clientKey}}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
`;

/** What the three providers would answer. */
export const stubs: Stubs = {
  "command:local:Command": (r) => ({ outputs: { stdout: r.name.endsWith("key") ? keyPair(r.name) : "", stderr: "" } }),
  "command:remote:Command": (r) => ({
    outputs: { stdout: r.name.endsWith("-credentials") ? credentials : "Ready\n", stderr: "" },
  }),
  "proxmoxve:download/file:File": () => ({ id: "local:import/gorkheavy-ubuntu-24.04.qcow2", outputs: { size: 1 } }),
  "proxmoxve:index/fileLegacy:FileLegacy": (r) => ({ id: `local:iso/${r.name}` }),
  "proxmoxve:index/vmLegacy:VmLegacy": (r) => ({ id: String(r.inputs["vmId"]), outputs: { ipv4Addresses: [] } }),
};

/** Hosts of the seed: three ThinkCentres, each its own Proxmox (A01). */
export const HOSTS = [1, 2, 3].map((n) => ({
  name: `thinkcentre-${n}`,
  endpoint: `https://192.168.1.21${n}:8006`,
  node: `thinkcentre-${n}`,
}));

/** Nodes of the seed (A09). */
export const NODES = [
  { name: "k3s-master", address: "192.168.1.201", vmId: 201 },
  { name: "k3s-worker-1", address: "192.168.1.202", vmId: 202 },
  { name: "k3s-worker-2", address: "192.168.1.203", vmId: 203 },
];

/** What every machine of a test needs. */
export interface Ground {
  pool: HostPool;
  host: Host;
  image: UbuntuImage;
  plan: AddressPlan;
  clientKey: HostKey;
  /** Options with the `command` provider. */
  opts: pulumi.ComponentResourceOptions;
}

/** Hosts, image, plan and client key. */
export function ground(): Ground {
  const opts = { providers: { command: new command.Provider("commands") } };
  const pool = new HostPool("hosts", { hosts: HOSTS, apiToken: pulumi.secret(CANARY.apiToken) });
  const image = new UbuntuImage("ubuntu", { hosts: pool.hosts });
  const plan = planAddresses({ subnet: "192.168.1.0/24", gateway: "192.168.1.1", nodes: NODES });
  return { pool, host: pool.host("thinkcentre-1"), image, plan, clientKey: new HostKey("client-key", {}, opts), opts };
}
