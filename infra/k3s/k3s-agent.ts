import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { childName, parseArgs } from "../args.ts";
import { RemoteStep } from "../ssh/remote-step.ts";
import type { SshTarget } from "../ssh/connection.ts";
import { type K3sSettingsArgs, K3sSettingsSchema } from "./config.ts";
import { installK3s, joinNode, type K3sNodeArgs, K3sNodeSchema, removal, splitNode } from "./k3s-node.ts";
import { type K3sReleaseArgs, K3sReleaseSchema } from "./release.ts";
import { DRAIN_SECONDS, READY_SECONDS, renderAgentService, renderLeave, renderMembership } from "./service-script.ts";

const K3sAgentSchema = z.strictObject({
  node: K3sNodeSchema,
  server: z.strictObject({ address: z.ipv4({ error: "want the server's IPv4 address" }) }),
  release: K3sReleaseSchema.prefault({}),
  settings: K3sSettingsSchema.prefault({}),
});

/** Arguments of {@link K3sAgent}. */
export interface K3sAgentArgs {
  /** The machine. */
  node: K3sNodeArgs;
  /** The server to join (A26): where it is, how steps reach it, and its token, which may settle later. */
  server: { address: string; target: SshTarget; token: pulumi.Input<string> };
  /** Which K3s; the same as the server's. @default v1.34.2+k3s1 from its release */
  release?: K3sReleaseArgs;
  /** How the cluster is set up; the same as the server's. @default hardened */
  settings?: K3sSettingsArgs;
}

/** Seconds beside the waiting itself. */
const MARGIN_SECONDS = 120;

/**
 * One worker (A26): installs K3s while the server may still be starting, joins with the token, and is waited for until the cluster
 * calls it Ready. Taken out of the program it is drained and leaves the cluster, before its machine goes; a machine of the same
 * name can join again. Takes its `command` provider from `opts`.
 */
export class K3sAgent extends pulumi.ComponentResource {
  /** Node name. */
  readonly nodeName: string;
  /** `Ready`, once the cluster says so. */
  readonly state: pulumi.Output<string>;

  constructor(name: string, args: K3sAgentArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:k3s:K3sAgent", name, {}, opts);
    const { plain, flow } = splitNode(args.node);
    const spec = parseArgs(this, K3sAgentSchema, {
      node: plain,
      server: { address: args.server.address },
      release: args.release,
      settings: args.settings,
    });
    const node = joinNode(spec.node, flow);

    const token = pulumi.secret(args.server.token);

    const installed = installK3s(this, name, node, spec.release);
    const service = new RemoteStep(
      childName(name, "service"),
      {
        target: node.target,
        title: "start the k3s agent",
        script: renderAgentService(node, spec.settings, spec.server.address, spec.release.version),
        // By standard input into a file of mode 0600: an argument would be in the process list, an environment in the unit.
        stdin: token,
        ...removal(node),
        deadlineSeconds: READY_SECONDS + MARGIN_SECONDS,
      },
      { parent: this, dependsOn: [installed] },
    );
    const member = new RemoteStep(
      childName(name, "member"),
      {
        target: args.server.target,
        title: `wait for node ${node.name}`,
        script: renderMembership(node.name),
        deleteScript: renderLeave(node.name),
        triggers: [...node.restartTriggers, spec.release.version, pulumi.unsecret(token.apply(caDigest))],
        deadlineSeconds: READY_SECONDS + MARGIN_SECONDS,
        deleteDeadlineSeconds: DRAIN_SECONDS + MARGIN_SECONDS,
        // Runs on the server, about this machine: when this machine is replaced, the old node leaves first. A replaced server
        // is seen by the token: whoever replaces a broken one must not wait for it to drain anybody.
        renewedWith: node.target.machine === undefined ? [] : [node.target.machine],
      },
      { parent: this, dependsOn: [service] },
    );
    this.nodeName = node.name;
    this.state = member.stdout.apply((text) => text.trim());
    this.registerOutputs({ nodeName: this.nodeName, state: this.state });
  }
}

/** The part of a token that tells which cluster it is for, and is no secret: the checksum of the cluster's CA. */
function caDigest(token: string): string {
  return token.split("::")[0] ?? "";
}
