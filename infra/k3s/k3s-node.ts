import type * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { childName, HostName } from "../args.ts";
import type { SshTarget } from "../ssh/connection.ts";
import { RemoteStep } from "../ssh/remote-step.ts";
import type { NodeConfig } from "./config.ts";
import { type K3sReleaseSchema, renderInstall } from "./release.ts";
import { renderRemoval } from "./service-script.ts";

/** The node's plain arguments, as they are checked. */
export const K3sNodeSchema = z.strictObject({
  name: HostName,
  address: z.ipv4({ error: "want an IPv4 address" }),
  labels: z.record(z.string(), z.string()).default({}),
  taints: z
    .array(
      z
        .string()
        .regex(/^[^=:]+(=[^=:]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$/, { error: "want key=value:effect" }),
    )
    .default([]),
});

/** One node: what it is called, and how it is reached. A NodeVm has all of it. */
export interface K3sNodeArgs {
  /** Host name and node name. */
  name: string;
  /** IPv4 address that the other nodes reach it by. */
  address: string;
  /** How steps reach it. */
  target: SshTarget;
  /** What must be done before K3s is installed, for one a NodePrep. @default - nothing */
  prepared?: pulumi.Resource;
  /** Figures whose change restarts the machine; the node is then waited for again. @default - never restarted */
  size?: { cores: number; memoryMib: number };
  /** Node labels. @default - none but Kubernetes' own */
  labels?: Record<string, string>;
  /** Node taints, `key=value:effect`. @default - none */
  taints?: readonly string[];
}

/** A checked node, with what is flow beside what is shape. */
export interface K3sNode extends NodeConfig {
  target: SshTarget;
  prepared: pulumi.Resource[];
  restartTriggers: number[];
}

/** Takes a node's arguments apart, for the schema and for the rest. */
export function splitNode(args: K3sNodeArgs): {
  plain: z.input<typeof K3sNodeSchema>;
  flow: Omit<K3sNode, keyof NodeConfig>;
} {
  const { target, prepared, size, labels, taints, ...rest } = args;
  return {
    plain: {
      ...rest,
      ...(labels === undefined ? {} : { labels }),
      ...(taints === undefined ? {} : { taints: [...taints] }),
    },
    flow: {
      target,
      prepared: prepared === undefined ? [] : [prepared],
      restartTriggers: size === undefined ? [] : [size.cores, size.memoryMib],
    },
  };
}

/** Joins what {@link splitNode} took apart, once it is checked. */
export function joinNode(plain: z.output<typeof K3sNodeSchema>, flow: Omit<K3sNode, keyof NodeConfig>): K3sNode {
  return {
    name: plain.name,
    address: plain.address,
    labels: Object.entries(plain.labels).map(([key, value]) => `${key}=${value}`),
    taints: plain.taints,
    ...flow,
  };
}

/** Longest time of an installation, seconds: the download of some 70 MB over a slow line. */
const INSTALL_SECONDS = 1_800;

/** Puts K3s on a machine once that is prepared, without starting it. @param name of the server or agent, which is the parent */
export function installK3s(
  parent: pulumi.ComponentResource,
  name: string,
  node: K3sNode,
  release: z.output<typeof K3sReleaseSchema>,
): RemoteStep {
  return new RemoteStep(
    childName(name, "install"),
    { target: node.target, title: "install k3s", script: renderInstall(release), deadlineSeconds: INSTALL_SECONDS },
    { parent, dependsOn: node.prepared },
  );
}

/**
 * What undoes K3s on a machine. One that the program made goes as a whole, and may be the very reason why it goes that nobody
 * can reach it any more; so K3s is removed only from a machine that stays.
 */
export function removal(node: K3sNode): { deleteScript?: string } {
  return node.target.machine === undefined ? { deleteScript: renderRemoval() } : {};
}
