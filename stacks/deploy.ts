import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { Ensemble, NODE_STORE_PATH } from "../components/index.ts";
import type { AddressPlan, Host, K3sNodeArgs } from "../infra/index.ts";
import {
  checkHosts,
  HostKey,
  HostPool,
  K3sCluster,
  NodePrep,
  NodeVm,
  planAddresses,
  RemoteStep,
  UbuntuImage,
} from "../infra/index.ts";
import type { Settings } from "./settings.ts";

/** What a stack gives out. A type, not an interface: Pulumi takes any record of outputs. */
export type StackOutputs = {
  /** Address of the ensemble within the cluster. */
  url: pulumi.Output<string>;
  /** Namespace that it is in. */
  namespace: pulumi.Output<string>;
  /** The machines: name, address and role (`server` or `agent`). */
  nodes: { name: string; address: string; role: string }[];
  /** The cluster administrator's kubeconfig. Secret. */
  kubeconfig: pulumi.Output<string>;
  /** How to reach a machine over SSH; the private key is secret. Host keys by machine. */
  ssh: { user: string; privateKey: pulumi.Output<string>; hostKeys: Record<string, pulumi.Output<string>> };
};

type NodeSettings = Settings["nodes"][number];

/** A machine, ready for K3s and for the models' weights. */
interface Machine {
  node: K3sNodeArgs;
  role: NodeSettings["role"];
  hostKey: HostKey;
  store: pulumi.Resource | undefined;
}

/** Directory of the weights: theirs alone, and there before a pod asks for it. A hostPath takes no owner from a pod's fsGroup. */
function modelStoreScript(path: string): string {
  return `install -d -m 0750 -o 1000 -g 1000 '${path.replaceAll("'", "'\\''")}'\n`;
}

/**
 * The whole way: hosts, image, machines, K3s, ensemble. The same for the lab and for machines on a desk; what differs is in the settings.
 * Outside previews every host is asked first, so that a bad one ends it before anything is made.
 * @param tokens Proxmox API token by host name.
 * @throws ArgsError that lists what is wrong with the hosts
 */
export async function deploy(settings: Settings, tokens: ReadonlyMap<string, string>): Promise<StackOutputs> {
  const hosts = hostsOf(settings, tokens);
  await checkHosts([...hosts.values()]);
  const commands = new command.Provider("commands");
  const steps: pulumi.ComponentResourceOptions = { providers: { command: commands } };
  const plan = planAddresses({ ...settings.network, nodes: settings.nodes });
  const image = new UbuntuImage("ubuntu", { ...settings.image, hosts: [...hosts.values()] });
  const clientKey = new HostKey("operator-key", {}, steps);

  const machines = settings.nodes.map((node) => {
    const host = hosts.get(node.host);
    if (host === undefined) throw new Error(`settings passed with node ${node.name} on an unknown host`);
    return machineOf(node, { host, image, plan, clientKey, settings, steps });
  });
  const [server] = machines.filter((machine) => machine.role === "server");
  if (server === undefined) throw new Error("settings passed without a server");
  const agents = machines.filter((machine) => machine.role === "agent");

  const { version, releaseUrl, sha256, airgapImages, disable } = settings.k3s;
  const cluster = new K3sCluster(
    "k3s",
    {
      server: server.node,
      agents: agents.map((agent) => agent.node),
      release: { version, releaseUrl, airgapImages, ...(sha256 === undefined ? {} : { sha256 }) },
      settings: { disable },
    },
    steps,
  );

  const { deadlines, clients, members, access, ...choices } = settings.ensemble;
  const ensemble = new Ensemble(
    "opus",
    {
      ...choices,
      members: Object.fromEntries(
        members.map(({ name, model, source, digest, quantization, sizeBytes, gpu, replicas, resources }) => [
          name,
          { model, source, digest, quantization, sizeBytes, gpu, replicas, resources },
        ]),
      ),
      nodes: settings.nodes.map(({ name, role, cores, memoryMib }) => ({ name, role, cores, memoryMib })),
      clients: clients ?? [settings.network.subnet],
      ...(deadlines === undefined ? {} : { deadlines }),
      ...(access === undefined ? {} : { access }),
    },
    { provider: cluster.provider, dependsOn: machines.flatMap((machine) => machine.store ?? []) },
  );

  return {
    url: ensemble.url,
    namespace: ensemble.namespace,
    nodes: settings.nodes.map(({ name, address, role }) => ({ name, address, role })),
    kubeconfig: cluster.kubeconfig,
    ssh: {
      user: settings.ssh.user,
      privateKey: clientKey.privateKey,
      hostKeys: Object.fromEntries(machines.map(({ node, hostKey }) => [node.name, hostKey.publicKey])),
    },
  };
}

/** Hosts by name. Each single host is a pool of its own, since it has its own token; a Proxmox cluster is one pool. */
function hostsOf(settings: Settings, tokens: ReadonlyMap<string, string>): Map<string, Host> {
  const groups = new Map<string, Settings["hosts"]>();
  for (const host of settings.hosts) {
    const key = host.cluster ?? host.name;
    groups.set(key, [...(groups.get(key) ?? []), host]);
  }
  const pools = [...groups].map(([name, hosts]) => {
    const token = tokens.get(hosts[0]?.name ?? "");
    if (token === undefined) throw new Error(`settings passed without a token for ${name}`);
    return new HostPool(name, { hosts, apiToken: pulumi.secret(token) });
  });
  return new Map(pools.flatMap((pool) => pool.hosts).map((host) => [host.name, host]));
}

/** One VM, prepared for K3s; a worker also for the models' weights. */
function machineOf(
  node: NodeSettings,
  given: {
    host: Host;
    image: UbuntuImage;
    plan: AddressPlan;
    clientKey: HostKey;
    settings: Settings;
    steps: pulumi.ComponentResourceOptions;
  },
): Machine {
  const { host, image, plan, clientKey, settings, steps } = given;
  const { name, role, cores, memoryMib, diskGib } = node;
  const hostKey = new HostKey(`${name}-host-key`, { comment: name }, steps);
  const vm = new NodeVm(
    name,
    {
      host,
      image,
      plan,
      hostKey,
      clientKey,
      user: settings.ssh.user,
      cores,
      memoryMib,
      diskGib,
      protect: settings.protect,
    },
    steps,
  );
  const prepared = new NodePrep(`${name}-prep`, { target: vm.target, user: settings.ssh.user }, steps);
  const { store: choice } = settings.ensemble;
  const folder = choice?.kind === "node" ? choice.path : choice === undefined ? NODE_STORE_PATH : undefined;
  const store =
    role === "server" || folder === undefined
      ? undefined
      : new RemoteStep(
          `${name}-model-store`,
          { target: vm.target, title: "make the directory of the model weights", script: modelStoreScript(folder) },
          { ...steps, dependsOn: [prepared] },
        );
  return {
    node: { name, address: vm.address, target: vm.target, size: vm.size, prepared },
    role,
    hostKey,
    store,
  };
}
