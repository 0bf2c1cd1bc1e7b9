import { createHash } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { childName, parseArgs } from "../args.ts";
import type { SshTarget } from "./connection.ts";
import { renderFirstContact, renderNodePrep, renderPreflight } from "./node-prep-script.ts";
import { RemoteStep } from "./remote-step.ts";

const Cidr = z.cidrv4({ error: "want an IPv4 network such as 10.42.0.0/16" });

/** The preparation's plain arguments, as they are checked. */
export const NodePrepSchema = z.strictObject({
  user: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]{0,31}$/, { error: "want a Linux user name" })
    .default("gorkheavy"),
  openPorts: z.array(z.strictObject({ port: z.int().min(1).max(65_535), protocol: z.enum(["tcp", "udp"]) })).default([
    { port: 6443, protocol: "tcp" },
    { port: 10_250, protocol: "tcp" },
    { port: 8472, protocol: "udp" },
  ]),
  clusterCidrs: z.array(Cidr).default(["10.42.0.0/16", "10.43.0.0/16"]),
  requireTimeSync: z.boolean().default(true),
  firstContactSeconds: z.int().min(0).max(3600).default(300),
});

/** Arguments of {@link NodePrep}. */
export interface NodePrepArgs {
  /** Machine to prepare: Debian 12 or Ubuntu 24.04, also in a container. */
  target: SshTarget;
  /** User that keeps `sudo` without a password. @default "gorkheavy" */
  user?: string;
  /** Ports that a firewall on the machine must let in. @default 6443/tcp, 10250/tcp, 8472/udp (A20) */
  openPorts?: readonly { port: number; protocol: "tcp" | "udp" }[];
  /** Pod and Service networks, let in as well. @default ["10.42.0.0/16", "10.43.0.0/16"] (A29) */
  clusterCidrs?: readonly string[];
  /** Whether the gate fails on a clock that no time server corrects (A22). @default true */
  requireTimeSync?: boolean;
  /** Seconds to wait for the first SSH answer. @default 300 */
  firstContactSeconds?: number;
}

/**
 * Leaves a machine as K3s wants it (A13 to A23): first boot done, swap off, clock right, no password login, sudo, ports, kernel
 * settings; then the gate, which looks at all of it again. In a container, what belongs to the host's kernel is only looked at.
 * Takes its `command` provider from `opts`.
 */
export class NodePrep extends pulumi.ComponentResource {
  /** `ready`, once the gate is passed. */
  readonly state: pulumi.Output<string>;

  constructor(name: string, args: NodePrepArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:ssh:NodePrep", name, {}, opts);
    const { target, ...plain } = args;
    const spec = parseArgs(this, NodePrepSchema, plain);
    const scripts = {
      user: spec.user,
      ports: spec.openPorts,
      clusterCidrs: spec.clusterCidrs,
      requireTimeSync: spec.requireTimeSync,
    };

    const contact = new RemoteStep(
      childName(name, "first-contact"),
      {
        target,
        title: "wait for the first boot",
        script: renderFirstContact(),
        firstContactSeconds: spec.firstContactSeconds,
      },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    const system = new RemoteStep(
      childName(name, "system"),
      { target, title: "prepare the system", script: renderNodePrep(scripts), deadlineSeconds: 180 },
      { parent: this, dependsOn: [contact] },
    );
    const gate = new RemoteStep(
      childName(name, "preflight"),
      {
        target,
        title: "preflight",
        script: renderPreflight(scripts),
        // What was prepared anew is looked at anew.
        triggers: [createHash("sha256").update(renderNodePrep(scripts)).digest("hex")],
        deadlineSeconds: 180,
      },
      { parent: this, dependsOn: [system] },
    );
    this.state = gate.stdout.apply((text) => text.trim());
    this.registerOutputs({ state: this.state });
  }
}
