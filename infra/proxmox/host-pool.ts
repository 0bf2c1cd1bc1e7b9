import * as proxmox from "@muhlba91/pulumi-proxmoxve";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { ArgsError, childName, HostName, later, parseArgs } from "../args.ts";
import { checkHosts } from "./host-check.ts";

/**
 * `user@realm!tokenname=uuid`. Source: Proxmox VE administration guide, "API Tokens"; the provider's own pattern is looser
 * and would send anything on, to be refused by each host with a bare 401.
 */
const TOKEN_FORM = /^[^\s@!=]+@[^\s@!=]+![A-Za-z][A-Za-z0-9._-]*=[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;

/** What is wrong with a Proxmox API token, without a character of it; undefined when its form is right. */
export function tokenProblem(token: unknown): string | undefined {
  if (typeof token === "string" && TOKEN_FORM.test(token)) return undefined;
  const got = typeof token !== "string" || token === "" ? "nothing" : "a value of another form (not shown)";
  return (
    `got ${got}, want user@realm!name=uuid, for example root@pam!gorkheavy=00000000-0000-0000-0000-000000000000; ` +
    "make one on the host with `pveum user token add root@pam gorkheavy --privsep 0`, then " +
    "`pulumi config set --secret gorkheavy:proxmoxApiToken`"
  );
}

const HostSchema = z.strictObject({
  name: HostName,
  endpoint: z.url({ protocol: /^https$/, error: "want the host's API, such as https://192.168.1.211:8006" }),
  node: z.string().min(1),
  cluster: HostName.optional(),
  datastore: z.string().min(1).default("local-lvm"),
  imageDatastore: z.string().min(1).default("local"),
  bridge: z.string().min(1).default("vmbr0"),
});

/** The pool's arguments, as they are checked. */
export const HostPoolSchema = z.strictObject({
  hosts: z.array(HostSchema).min(1, { error: "want at least one host" }),
  apiToken: later("apiToken", tokenProblem),
});

/** One Proxmox host: one ThinkCentre of A01. */
export interface HostArgs {
  /** What you call the machine; also the name of its provider, so a rename re-creates what runs on it. */
  name: string;
  /** Its API, `https://<address>:8006` (A04). Any path is ignored. */
  endpoint: string;
  /** Its name inside Proxmox VE. */
  node: string;
  /** Name of the Proxmox cluster it is a member of: hosts of one cluster share one endpoint and one provider. @default - a single host. */
  cluster?: string;
  /** Storage for VM disks; an SSD (A12). @default "local-lvm" */
  datastore?: string;
  /** Storage that takes images and ISO files (content types `import` and `iso`). @default "local" */
  imageDatastore?: string;
  /** Network bridge of the VMs. @default "vmbr0" (A07) */
  bridge?: string;
}

/** Arguments of {@link HostPool}. */
export interface HostPoolArgs {
  /** The hosts; at least one. */
  hosts: readonly HostArgs[];
  /** API token `user@realm!name=uuid`, the same on every endpoint. Kept secret; its form is checked, its value never shown. */
  apiToken: pulumi.Input<string>;
}

/** One host of the pool, with what it takes to put something on it. */
export interface Host extends z.output<typeof HostSchema> {
  /** Speaks to this host's endpoint. */
  provider: proxmox.Provider;
}

/**
 * The machines that everything else runs on: three single Proxmox VE hosts (A01) or one cluster, as data. Makes one
 * provider an endpoint. Trust in the hosts' certificates comes from the system or SSL_CERT_FILE; nothing is skipped (A04).
 */
export class HostPool extends pulumi.ComponentResource {
  readonly #hosts: ReadonlyMap<string, Host>;

  constructor(name: string, args: HostPoolArgs, opts?: pulumi.ComponentResourceOptions) {
    // Nothing is handed to the engine as the component's own input: it would be one more copy of the token to keep secret.
    super("gorkheavy:proxmox:HostPool", name, {}, opts);
    const spec = parseArgs(this, HostPoolSchema, args);
    const problems = poolProblems(spec.hosts);
    if (problems.length > 0) throw new ArgsError(problems.join("\n"), this);

    const apiToken = pulumi.secret(spec.apiToken);
    const providers = new Map<string, proxmox.Provider>();
    const hosts = new Map<string, Host>();
    for (const host of spec.hosts) {
      const key = host.cluster ?? host.name;
      const provider =
        providers.get(key) ??
        new proxmox.Provider(childName(name, key), { endpoint: host.endpoint, apiToken }, { parent: this });
      providers.set(key, provider);
      hosts.set(host.name, { ...host, provider });
    }
    this.#hosts = hosts;
    this.registerOutputs({ hosts: [...hosts.keys()] });
  }

  /** The hosts, in the order given. */
  get hosts(): readonly Host[] {
    return [...this.#hosts.values()];
  }

  /** Asks every host whether it can be built on; see {@link checkHosts}. @throws ArgsError that lists every problem */
  check(): Promise<void> {
    return checkHosts(this.hosts, this);
  }

  /** A host by its name. @throws ArgsError naming the hosts that there are */
  host(name: string): Host {
    const found = this.#hosts.get(name);
    if (found !== undefined) return found;
    throw new ArgsError(`host: got "${name}", want one of ${[...this.#hosts.keys()].join(", ")}`, this);
  }
}

/** What is wrong between the hosts, one line each. */
export function poolProblems(hosts: readonly z.output<typeof HostSchema>[]): string[] {
  const problems: string[] = [];
  const names = new Set<string>();
  const endpoints = new Map<string, (typeof hosts)[number]>();
  const clusters = new Map<string, string>();
  for (const host of hosts) {
    if (names.has(host.name)) problems.push(`hosts: "${host.name}" is there twice; give each host its own name`);
    names.add(host.name);
    const origin = new URL(host.endpoint).origin;
    const twin = endpoints.get(origin);
    if (twin !== undefined && (twin.cluster === undefined || twin.cluster !== host.cluster)) {
      problems.push(
        `hosts.${host.name}.endpoint: got ${origin}, which ${twin.name} has; ` +
          "for members of one Proxmox cluster set the same `cluster` on both, else give each host its own endpoint",
      );
    }
    if (twin === undefined) endpoints.set(origin, host);
    if (host.cluster === undefined) continue;
    const other = clusters.get(host.cluster);
    if (other !== undefined && other !== origin) {
      problems.push(
        `hosts.${host.name}.endpoint: got ${origin}, but cluster "${host.cluster}" is at ${other}; use one for all its hosts`,
      );
    }
    clusters.set(host.cluster, other ?? origin);
  }
  for (const cluster of clusters.keys()) {
    const single = hosts.find((h) => h.cluster === undefined && h.name === cluster);
    if (single !== undefined) problems.push(`hosts.${single.name}: a cluster has this name too; rename one of the two`);
  }
  return problems;
}
