import type { z } from "zod";
import { AddressPlanError, planAddresses } from "../infra/index.ts";

interface Machines {
  hosts: { name: string; endpoint: string; node: string; cluster?: string | undefined }[];
  network: { subnet: string; gateway: string; dns: string[] };
  nodes: { name: string; role: "server" | "agent"; host: string; vmId: number; address: string }[];
}

type Context = z.core.$RefinementCtx;

/** Names, hosts and roles that point at each other: each once, each there. */
export function checkMachines({ hosts, nodes }: Machines, ctx: Context): void {
  once(ctx, "hosts", "name", hosts);
  once(
    ctx,
    "hosts",
    "endpoint",
    // Members of one Proxmox cluster share its endpoint.
    hosts.map((host, index) => ({
      endpoint: host.cluster === undefined ? host.endpoint : `${host.endpoint} ${index}`,
    })),
  );
  nodes.forEach((node, index) => {
    if (hosts.some((host) => host.name === node.host)) return;
    refuse(
      ctx,
      ["nodes", index, "host"],
      `want the name of one of hosts: ${hosts.map((host) => host.name).join(", ")}`,
    );
  });
  const servers = nodes.filter((node) => node.role === "server").length;
  if (servers === 1) return;
  state(ctx, `nodes: ${servers} of them have the role server, want exactly 1; give the others the role agent`);
}

/** The address plan: every node in the subnet, every address and VM id once, none that belongs to somebody else. */
export function checkAddresses({ hosts, network, nodes }: Machines, ctx: Context): void {
  try {
    planAddresses({ ...network, nodes });
  } catch (error) {
    if (!(error instanceof AddressPlanError)) throw error;
    for (const problem of error.problems) state(ctx, problem);
  }
  hosts.forEach(({ endpoint }, index) => {
    const hostname = URL.parse(endpoint)?.hostname;
    const node = nodes.find(({ address }) => address === hostname);
    if (node === undefined && hostname !== network.gateway) return;
    const owner = node === undefined ? "network.gateway" : `nodes.${node.name}.address`;
    refuse(ctx, ["hosts", index, "endpoint"], `which ${owner} has; give each machine an address of its own`);
  });
}

/** Refuses every entry whose `field` an earlier one has. */
function once<K extends string>(ctx: Context, list: string, field: K, entries: readonly Record<K, string>[]): void {
  const seen = new Map<string, number>();
  entries.forEach((entry, index) => {
    const before = seen.get(entry[field]);
    if (before === undefined) seen.set(entry[field], index);
    else refuse(ctx, [list, index, field], `which ${list}[${before}].${field} has; give each its own`);
  });
}

function refuse(ctx: Context, path: (string | number)[], message: string): void {
  ctx.addIssue({ code: "custom", path, message });
}

/** Reports a message that names its own setting and value, as others' checks do. */
export function state(ctx: Context, message: string): void {
  ctx.addIssue({ code: "custom", path: [], message, params: { whole: true } });
}
