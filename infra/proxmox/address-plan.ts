import { isIPv4 } from "node:net";

/** One machine of a plan. */
export interface PlannedNode {
  /** Host name; unique. */
  name: string;
  /** IPv4 address, without prefix. */
  address: string;
  /** Proxmox's number of the VM, 100 to 999999999; unique in the plan. */
  vmId: number;
}

/** What to plan: the network and who is in it. */
export interface AddressPlanInput {
  /** IPv4 network, `192.168.1.0/24` (A09). */
  subnet: string;
  /** Router of that network, in it. */
  gateway: string;
  /** Name servers. @default ["8.8.8.8", "8.8.4.4"] (A13) */
  dns?: readonly string[];
  nodes: readonly PlannedNode[];
}

/** A checked plan. All addresses are in the subnet, distinct, and neither the network's, the broadcast's nor the gateway's. */
export interface AddressPlan {
  subnet: string;
  /** Length of the network part, bits. */
  prefix: number;
  gateway: string;
  dns: readonly string[];
  nodes: readonly PlannedNode[];
}

/** Name servers where none are given. Source: A13. */
export const DEFAULT_DNS: readonly string[] = ["8.8.8.8", "8.8.4.4"];

/** Proxmox's range of VM ids. Source: Proxmox VE API, `vmid` (minimum 100, maximum 999999999). */
const VM_ID_MIN = 100;
const VM_ID_MAX = 999_999_999;

/** A network, addresses or VM ids that do not fit together; lists all that is wrong, one line each. */
export class AddressPlanError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The address plan cannot work:\n${problems.map((p) => `  - ${p}`).join("\n")}`);
    this.name = "AddressPlanError";
    this.problems = problems;
  }
}

/**
 * Checks addresses and VM ids against each other and the network. Pure: looks at no network.
 * @throws AddressPlanError naming each setting, what it got, what is allowed and what to do
 */
export function planAddresses(input: AddressPlanInput): AddressPlan {
  const dns = input.dns ?? DEFAULT_DNS;
  const problems: string[] = [];
  const subnet = parseSubnet(input.subnet);
  if (typeof subnet === "string") throw new AddressPlanError([subnet]);

  const gatewayProblem = addressProblem("network.gateway", input.gateway, subnet);
  if (gatewayProblem !== undefined) problems.push(gatewayProblem);
  if (dns.length === 0) problems.push(`network.dns: got none, want at least one IPv4 address; for example 8.8.8.8`);
  dns.forEach((server, i) => {
    if (!isIPv4(server)) problems.push(`network.dns[${i}]: got "${server}", want an IPv4 address such as 8.8.8.8`);
  });

  const hosts = 2 ** (32 - subnet.prefix) - 2;
  if (input.nodes.length === 0) problems.push("nodes: got none, want at least one node with name, address and vmId");
  if (input.nodes.length > hosts - 1) {
    problems.push(
      `nodes: got ${input.nodes.length}, but ${input.subnet} has room for ${Math.max(hosts - 1, 0)} beside its gateway; ` +
        "take fewer nodes or a larger subnet",
    );
  }

  const owners = new Map<string, string>([[input.gateway, "network.gateway"]]);
  const ids = new Map<number, string>();
  const names = new Set<string>();
  for (const node of input.nodes) {
    const setting = `nodes.${node.name}`;
    if (names.has(node.name)) problems.push(`${setting}: two nodes have this name; give each its own`);
    names.add(node.name);

    const problem = addressProblem(`${setting}.address`, node.address, subnet);
    const owner = owners.get(node.address);
    if (problem !== undefined) problems.push(problem);
    else if (owner !== undefined) {
      problems.push(
        `${setting}.address: got ${node.address}, which ${owner} has; give each node an address of its own`,
      );
    }
    if (owner === undefined) owners.set(node.address, `${setting}.address`);

    const twin = ids.get(node.vmId);
    if (!Number.isInteger(node.vmId) || node.vmId < VM_ID_MIN || node.vmId > VM_ID_MAX) {
      problems.push(
        `${setting}.vmId: got ${node.vmId}, want a whole number from ${VM_ID_MIN} to ${VM_ID_MAX}; for example 201`,
      );
    } else if (twin !== undefined) {
      problems.push(`${setting}.vmId: got ${node.vmId}, which ${twin} has; give each VM an id of its own`);
    }
    if (twin === undefined) ids.set(node.vmId, `${setting}.vmId`);
  }

  if (problems.length > 0) throw new AddressPlanError(problems);
  return { subnet: input.subnet, prefix: subnet.prefix, gateway: input.gateway, dns, nodes: input.nodes };
}

interface Subnet {
  text: string;
  first: number;
  last: number;
  prefix: number;
}

/** The subnet, or what is wrong with it. */
function parseSubnet(text: string): Subnet | string {
  const [address, prefixText, ...rest] = text.split("/");
  const prefix = Number(prefixText);
  const wanted = `network.subnet: got "${text}", want an IPv4 network such as 192.168.1.0/24 with a prefix from 8 to 30`;
  if (address === undefined || !isIPv4(address) || rest.length > 0 || !/^\d{1,2}$/.test(prefixText ?? ""))
    return wanted;
  if (prefix < 8 || prefix > 30) return wanted;
  const size = 2 ** (32 - prefix);
  const number = toNumber(address);
  const first = number - (number % size);
  if (first !== number) return `${wanted}; this network starts at ${toAddress(first)}/${prefix}`;
  return { text, first, last: first + size - 1, prefix };
}

function addressProblem(setting: string, address: string, subnet: Subnet): string | undefined {
  const range = `${toAddress(subnet.first + 1)} to ${toAddress(subnet.last - 1)}`;
  if (!isIPv4(address)) return `${setting}: got "${address}", want an IPv4 address from ${range}`;
  const number = toNumber(address);
  if (number < subnet.first || number > subnet.last) {
    return `${setting}: got ${address}, which is not in ${subnet.text}; take one from ${range}, or change network.subnet`;
  }
  if (number === subnet.first || number === subnet.last) {
    const role = number === subnet.first ? "network" : "broadcast";
    return `${setting}: got ${address}, the ${role} address of ${subnet.text}; take one from ${range}`;
  }
  return undefined;
}

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".");
}
