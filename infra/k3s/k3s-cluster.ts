import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { ArgsError, childName } from "../args.ts";
import type { K3sSettingsArgs } from "./config.ts";
import { K3sAgent } from "./k3s-agent.ts";
import type { K3sNodeArgs } from "./k3s-node.ts";
import { K3sServer } from "./k3s-server.ts";
import { renderKubeconfig } from "./kubeconfig.ts";
import type { K3sReleaseArgs } from "./release.ts";

/** A cluster to put things on, whoever made it. */
export interface KubeTarget {
  /** The administrator's kubeconfig. Secret. */
  kubeconfig: pulumi.Output<string>;
  /** Speaks to the cluster; what uses it waits until all nodes are Ready. */
  provider: k8s.Provider;
}

/** Arguments of {@link K3sCluster}. */
export interface K3sClusterArgs {
  /** The one server (A07: `k3s-master`). */
  server: K3sNodeArgs;
  /** The workers (A08), in any order: each is known by its name. */
  agents: readonly K3sNodeArgs[];
  /** Which K3s, on every node. @default v1.34.2+k3s1 from its release */
  release?: K3sReleaseArgs;
  /** How it is set up. @default hardened, with the networks of A29 */
  settings?: K3sSettingsArgs;
}

/**
 * A K3s cluster on machines that are reached over SSH (A24 to A29): the server, then all agents at once. Installed by version and
 * checksum, hardened, waited for; its output is a {@link KubeTarget}. Takes its `command` provider from `opts`.
 */
export class K3sCluster extends pulumi.ComponentResource implements KubeTarget {
  readonly kubeconfig: pulumi.Output<string>;
  readonly provider: k8s.Provider;
  readonly server: K3sServer;
  /** The workers by node name. */
  readonly agents: ReadonlyMap<string, K3sAgent>;

  constructor(name: string, args: K3sClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:k3s:K3sCluster", name, {}, opts);
    const problems = clusterProblems([args.server, ...args.agents]);
    if (problems.length > 0) throw new ArgsError(problems.join("\n"), this);
    const common = { release: args.release, settings: args.settings };

    this.server = new K3sServer(childName(name, args.server.name), { node: args.server, ...common }, { parent: this });
    const server = { address: args.server.address, target: args.server.target, token: this.server.token };
    this.agents = new Map(
      args.agents.map((node) => [
        node.name,
        new K3sAgent(childName(name, node.name), { node, server, ...common }, { parent: this }),
      ]),
    );
    this.kubeconfig = pulumi.secret(
      this.server.localKubeconfig.apply((text) => renderKubeconfig(text, name, args.server.address)),
    );
    this.provider = new k8s.Provider(
      name,
      // An `up` that was killed may have made objects without writing them down: the next one takes them over.
      { kubeconfig: this.kubeconfig, upsertExistingObjects: true },
      { parent: this, dependsOn: [this.server, ...this.agents.values()] },
    );
    this.registerOutputs({ kubeconfig: this.kubeconfig, nodes: [args.server.name, ...this.agents.keys()] });
  }
}

/** What is wrong between the nodes, one line each. */
export function clusterProblems(nodes: readonly K3sNodeArgs[]): string[] {
  const problems: string[] = [];
  for (const field of ["name", "address"] as const) {
    const seen = new Set<string>();
    for (const node of nodes) {
      if (seen.has(node[field])) problems.push(`nodes: two have the ${field} "${node[field]}"; give each its own`);
      seen.add(node[field]);
    }
  }
  return problems;
}
