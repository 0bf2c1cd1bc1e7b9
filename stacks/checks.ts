import { BlockList } from "node:net";
import type { z } from "zod";

interface Machines {
  hosts: { name: string; endpoint: string; node: string }[];
  network: { subnet: string; gateway: string; dns: string[] };
  nodes: { name: string; role: "server" | "agent"; host: string; vmId: number; address: string }[];
}

type Context = z.core.$RefinementCtx;

/** Names, VM ids and what points at them: each once, each there. */
export function checkNames({ hosts, nodes }: Machines, ctx: Context): void {
  once(ctx, "hosts", "name", hosts);
  once(ctx, "hosts", "endpoint", hosts);
  once(ctx, "nodes", "name", nodes);
  once(ctx, "nodes", "vmId", nodes);
  nodes.forEach((node, index) => {
    if (hosts.some((host) => host.name === node.host)) return;
    refuse(
      ctx,
      ["nodes", index, "host"],
      `want the name of one of hosts: ${hosts.map((host) => host.name).join(", ")}`,
    );
  });
  const servers = nodes.filter((node) => node.role === "server").length;
  if (servers !== 1) {
    refuse(
      ctx,
      ["nodes"],
      `${servers} nodes have the role server, want exactly 1; give the others the role agent`,
      true,
    );
  }
}

/** The address plan: every node in the subnet, every address once, none that belongs to somebody else. */
export function checkAddresses({ hosts, network, nodes }: Machines, ctx: Context): void {
  once(ctx, "nodes", "address", nodes);
  const subnet = subnetOf(network.subnet);
  if (subnet.first !== network.subnet.split("/")[0]) {
    refuse(ctx, ["network", "subnet"], `want the first address of the range, ${subnet.first}/${subnet.prefix}`);
  }
  if (!subnet.has(network.gateway)) {
    refuse(ctx, ["network", "gateway"], `want an address in network.subnet, ${network.subnet}`);
  }
  const taken = new Map<string, string>([
    [network.gateway, "network.gateway"],
    ...hosts.map((host, index) => [new URL(host.endpoint).hostname, `hosts[${index}].endpoint`] as const),
  ]);
  nodes.forEach(({ address }, index) => {
    const path = ["nodes", index, "address"];
    const owner = taken.get(address);
    if (owner !== undefined)
      return refuse(ctx, path, `that is ${owner}; want an address of its own in ${network.subnet}`);
    if (!subnet.has(address)) return refuse(ctx, path, `want an address in network.subnet, ${network.subnet}`);
    if (address === subnet.first || address === subnet.last) {
      refuse(
        ctx,
        path,
        `that is the first or last of ${network.subnet}, which no machine can have; want one between them`,
      );
    }
  });
}

/** Refuses every entry whose `field` an earlier one has. */
function once<K extends string>(
  ctx: Context,
  list: string,
  field: K,
  entries: readonly Record<K, string | number>[],
): void {
  const seen = new Map<string | number, number>();
  entries.forEach((entry, index) => {
    const before = seen.get(entry[field]);
    if (before === undefined) seen.set(entry[field], index);
    else refuse(ctx, [list, index, field], `${list}[${before}].${field} is the same; give each its own`);
  });
}

/** @param whole set when the value at `path` is too big to repeat and the message says what matters of it. */
function refuse(ctx: Context, path: (string | number)[], message: string, whole = false): void {
  ctx.addIssue({ code: "custom", path, message, params: { whole } });
}

/** A range of addresses. @param cidr checked: `a.b.c.d/prefix` */
function subnetOf(cidr: string): { first: string; last: string; prefix: number; has(address: string): boolean } {
  const [base = "", length = ""] = cidr.split("/");
  const prefix = Number(length);
  const size = 2 ** (32 - prefix);
  const first = Math.floor(numberOf(base) / size) * size;
  const range = new BlockList();
  range.addSubnet(base, prefix);
  return { first: addressOf(first), last: addressOf(first + size - 1), prefix, has: (address) => range.check(address) };
}

function numberOf(address: string): number {
  return address.split(".").reduce((number, part) => number * 256 + Number(part), 0);
}

function addressOf(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".");
}
