import * as command from "@pulumi/command";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { Ensemble } from "gorkheavy/components";
import { K3sCluster, NodePrep } from "gorkheavy/infra";

/** Your machines: Ubuntu 24.04 or Debian 12, a user with sudo, and the host key that each answers with (`/etc/ssh/ssh_host_ed25519_key.pub`). */
const MACHINES = [
  {
    name: "rack-1",
    address: "10.0.0.11",
    hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
  },
  {
    name: "rack-2",
    address: "10.0.0.12",
    hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAC",
  },
  {
    name: "rack-3",
    address: "10.0.0.13",
    hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD",
  },
];

export default async function program() {
  const privateKey = new pulumi.Config().requireSecret("privateKey");
  const overSsh = { providers: { command: new command.Provider("ssh") } };

  const [server, ...agents] = MACHINES.map(({ name, address, hostKey }) => {
    const target = { name, host: address, user: "ubuntu", privateKey, hostKey };
    return { name, address, target, prepared: new NodePrep(`${name}-prep`, { target, user: "ubuntu" }, overSsh) };
  });
  if (server === undefined) throw new pulumi.RunError("MACHINES: want at least one machine");
  const cluster = new K3sCluster("rack", { server, agents }, overSsh);

  const ensemble = new Ensemble(
    "opus",
    { image: "ghcr.io/gorkheavy/runtime:0.1.0", backend: "ollama", store: { kind: "ephemeral" }, quota: true },
    { provider: cluster.provider },
  );

  // Whatever else you run goes on the same cluster.
  const website = new k8s.core.v1.Namespace(
    "website",
    { metadata: { name: "website" } },
    { provider: cluster.provider },
  );

  return { url: ensemble.url, website: website.metadata.name, kubeconfig: cluster.kubeconfig };
}
