import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { childName, parseArgs } from "../args.ts";
import { RemoteStep } from "../ssh/remote-step.ts";
import { type K3sSettingsArgs, K3sSettingsSchema } from "./config.ts";
import { installK3s, joinNode, type K3sNodeArgs, K3sNodeSchema, removal, splitNode } from "./k3s-node.ts";
import { parseCredentials } from "./kubeconfig.ts";
import { type K3sReleaseArgs, K3sReleaseSchema } from "./release.ts";
import { READY_SECONDS, renderCredentials, renderMembership, renderServerService } from "./service-script.ts";

const K3sServerSchema = z.strictObject({
  node: K3sNodeSchema,
  release: K3sReleaseSchema.prefault({}),
  settings: K3sSettingsSchema.prefault({}),
});

/** Arguments of {@link K3sServer}. */
export interface K3sServerArgs {
  /** The machine. */
  node: K3sNodeArgs;
  /** Which K3s. @default v1.34.2+k3s1 from its release */
  release?: K3sReleaseArgs;
  /** How it is set up. @default hardened, with the networks of A29 */
  settings?: K3sSettingsArgs;
}

/** Seconds beside the waiting itself: files, units, a slow disk. */
const MARGIN_SECONDS = 120;

/**
 * The cluster's server (A24, A25): installs a pinned, checked K3s, sets it up, starts it and waits until its node is Ready. Takes
 * its `command` provider from `opts`.
 */
export class K3sServer extends pulumi.ComponentResource {
  /** IPv4 address of the API server. */
  readonly address: string;
  /** Node name. */
  readonly nodeName: string;
  /** What an agent joins with. Secret; resolves when the server's node is Ready. */
  readonly token: pulumi.Output<string>;
  /** The administrator's kubeconfig as K3s wrote it, for 127.0.0.1. Secret. */
  readonly localKubeconfig: pulumi.Output<string>;

  constructor(name: string, args: K3sServerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:k3s:K3sServer", name, {}, opts);
    const { plain, flow } = splitNode(args.node);
    const spec = parseArgs(this, K3sServerSchema, { node: plain, release: args.release, settings: args.settings });
    const node = joinNode(spec.node, flow);

    const installed = installK3s(this, name, node, spec.release);
    const service = new RemoteStep(
      childName(name, "service"),
      {
        target: node.target,
        title: "start the k3s server",
        script: renderServerService(node, spec.settings, spec.release.version),
        ...removal(node),
        deadlineSeconds: READY_SECONDS + MARGIN_SECONDS,
      },
      { parent: this, dependsOn: [installed] },
    );
    new RemoteStep(
      childName(name, "ready"),
      {
        target: node.target,
        title: "wait for the server node",
        script: renderMembership(node.name),
        triggers: [...node.restartTriggers, spec.release.version],
        // A restart is waited for here: the first answer may be as far away as at the first boot.
        firstContactSeconds: 300,
        deadlineSeconds: READY_SECONDS + MARGIN_SECONDS,
      },
      { parent: this, dependsOn: [service] },
    );
    const credentials = new RemoteStep(
      childName(name, "credentials"),
      {
        target: node.target,
        title: "read token and kubeconfig",
        script: renderCredentials(),
        secretOutput: true,
        deadlineSeconds: 60,
      },
      // Not after the wait: the agents can join as soon as the server has answered once.
      { parent: this, dependsOn: [service] },
    );
    const read = credentials.stdout.apply(parseCredentials);
    this.address = node.address;
    this.nodeName = node.name;
    this.token = pulumi.secret(read.token);
    this.localKubeconfig = pulumi.secret(read.kubeconfig);
    this.registerOutputs({ address: this.address, nodeName: this.nodeName });
  }
}
