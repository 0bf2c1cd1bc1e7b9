import { access, mkdir, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import type { GuestInterface } from "../pve/machines.ts";

/** Where `ip netns` keeps named namespaces. Source: ip-netns(8). */
export const NETNS_DIR = "/run/netns";

/** Bridge of the lab; the name that Proxmox gives its first one. */
export const BRIDGE = "vmbr0";

/** The addresses that the lab's own servers listen on. */
export interface LabAddresses {
  /** Gateway, also where the release server listens. Dotted quad. */
  gateway: string;
  /** Bits of the network's mask, 1 to 30. */
  prefix: number;
  /** One address for each Proxmox host. */
  hosts: readonly string[];
}

/** The seed's own network (192.168.1.0/24), in a namespace of its own, where it cannot meet the user's LAN. */
export const LAB_ADDRESSES: LabAddresses = {
  gateway: "192.168.1.1",
  prefix: 24,
  hosts: ["192.168.1.211", "192.168.1.212", "192.168.1.213"],
};

/** Name of a lab's network namespace. */
export function namespaceOf(lab: string): string {
  return `gorkheavy-${lab}`;
}

/** File that pins a lab's network namespace; `nsenter --net=` takes it. */
export function namespacePath(lab: string): string {
  return join(NETNS_DIR, namespaceOf(lab));
}

/** Whether a lab's network namespace is there, complete or not. */
export async function labNamespaceExists(lab: string): Promise<boolean> {
  return access(namespacePath(lab)).then(
    () => true,
    () => false,
  );
}

/** Whether a lab's network is there and complete: one that a killed run left half-made is not. */
export async function labNetworkExists(lab: string): Promise<boolean> {
  if (!(await labNamespaceExists(lab))) return false;
  const bridges = await execa(
    "nsenter",
    [`--net=${namespacePath(lab)}`, "ip", "-br", "link", "show", "up", "type", "bridge"],
    {
      reject: false,
      stdin: "ignore",
    },
  );
  return !bridges.failed && bridges.stdout.includes(BRIDGE);
}

async function ip(inside: string | undefined, ...argv: string[]): Promise<string> {
  const [file, ...rest] = [...(inside ? ["nsenter", `--net=${inside}`] : []), "ip", ...argv];
  const { stdout } = await execa(file as string, rest, { stdin: "ignore" });
  return stdout;
}

/**
 * Makes a lab's network: a namespace with `lo` and a bridge that carries the gateway's and the Proxmox hosts' addresses.
 * The host gets no link, address, route or rule by it. A network that is there already is left as it is.
 */
export async function createLabNetwork(lab: string, addresses: LabAddresses = LAB_ADDRESSES): Promise<void> {
  if (await labNetworkExists(lab)) return;
  await removeLabNetwork(lab);
  const inside = namespacePath(lab);
  await mkdir(NETNS_DIR, { recursive: true });
  await writeFile(inside, "");
  // As `ip netns add` does, and every command of `ip netns` knows it; but without its second mount, over the whole directory.
  await execa("unshare", [`--net=${inside}`, "true"], { stdin: "ignore" });
  await ip(inside, "link", "set", "lo", "up");
  // Under another name until it has all its addresses: the name is what says that the network is complete.
  const unfinished = "unfinished";
  await ip(
    inside,
    "link",
    "add",
    unfinished,
    "type",
    "bridge",
    "stp_state",
    "0",
    "forward_delay",
    "0",
    "mcast_snooping",
    "0",
  );
  for (const address of [addresses.gateway, ...addresses.hosts])
    await ip(inside, "addr", "add", `${address}/${addresses.prefix}`, "dev", unfinished);
  await ip(inside, "link", "set", unfinished, "name", BRIDGE);
  await ip(inside, "link", "set", BRIDGE, "up");
}

/** Removes a lab's network namespace; what still runs in it keeps it alive until it ends. None there is no error. */
export async function removeLabNetwork(lab: string): Promise<void> {
  if (!(await labNamespaceExists(lab))) return;
  // A run that was killed half-way leaves a plain file there, which nothing is mounted on.
  await execa("umount", ["--lazy", namespacePath(lab)], { reject: false, stdin: "ignore" });
  await rm(namespacePath(lab), { force: true });
  // Stays when somebody else has a namespace there.
  await rmdir(NETNS_DIR).catch(() => undefined);
}

/** One network card of a machine. */
export interface Nic {
  /** Name on the machine's side. */
  guestName: string;
  /** Name on the bridge's side, 15 characters at most. */
  hostName: string;
  macAddress: string;
  bridge: string;
}

/** Name of the bridge's side of a card, as Proxmox itself builds it: `tap201i0`. */
export function tapName(vmId: number, index: number): string {
  return `tap${vmId}i${index}`;
}

/**
 * Makes a machine's network namespace, pinned at `pin`, with a veth for each card from there to the bridge.
 * Must run inside the lab's network namespace and a mount namespace of its own: the pin is a mount that nobody else sees, and goes with them.
 * @throws Error when a card wants a bridge that the lab does not have
 */
export async function createMachineNetwork(pin: string, nics: readonly Nic[]): Promise<void> {
  await removeMachineNetwork(pin, nics);
  for (const { bridge } of nics) {
    const known = await execa("ip", ["link", "show", "dev", bridge, "type", "bridge"], {
      reject: false,
      stdin: "ignore",
    });
    if (known.exitCode !== 0) throw new Error(`bridge ${bridge} does not exist on this host; the lab has ${BRIDGE}`);
  }
  await mkdir(dirname(pin), { recursive: true });
  await writeFile(pin, "");
  await execa("unshare", [`--net=${pin}`, "true"], { stdin: "ignore" });
  await ip(pin, "link", "set", "lo", "up");
  for (const nic of nics) {
    // Made inside the machine with its address from the first moment, or cloud-init may see another; the peer appears here at once.
    const card = ["name", nic.guestName, "address", nic.macAddress.toLowerCase()];
    await ip(pin, "link", "add", ...card, "type", "veth", "peer", "name", nic.hostName, "netns", String(process.pid));
    await ip(undefined, "link", "set", "dev", nic.hostName, "master", nic.bridge, "up");
  }
}

/** Takes down what {@link createMachineNetwork} made. Nothing there is no error. */
export async function removeMachineNetwork(pin: string, nics: readonly Pick<Nic, "hostName">[]): Promise<void> {
  for (const { hostName } of nics)
    await execa("ip", ["link", "delete", "dev", hostName], { reject: false, stdin: "ignore" });
  await execa("umount", ["--lazy", pin], { reject: false, stdin: "ignore" });
  await rm(pin, { force: true });
}

const IpJson = z.array(
  z.looseObject({
    ifname: z.string().optional(),
    address: z.string().optional(),
    addr_info: z
      .array(z.looseObject({ family: z.string(), local: z.string().optional(), prefixlen: z.int().optional() }))
      .optional(),
  }),
);

/** What `ip -json address show` says, as the guest agent would. @throws ZodError when it is something else */
export function parseInterfaces(text: string): GuestInterface[] {
  const links = IpJson.parse(JSON.parse(text === "" ? "[]" : text));
  return links.flatMap((link) => {
    if (link.ifname === undefined) return [];
    const addresses = (link.addr_info ?? []).flatMap(({ family, local, prefixlen }) =>
      local === undefined || prefixlen === undefined || (family !== "inet" && family !== "inet6")
        ? []
        : [{ address: local, prefix: prefixlen, family: family === "inet" ? ("ipv4" as const) : ("ipv6" as const) }],
    );
    return [{ name: link.ifname, macAddress: link.address ?? "00:00:00:00:00:00", addresses }];
  });
}

/** The interfaces of a machine, read in its network namespace. Empty while it has none. */
export async function machineInterfaces(pin: string): Promise<GuestInterface[]> {
  const { stdout, exitCode } = await execa("nsenter", [`--net=${pin}`, "ip", "-json", "address", "show"], {
    reject: false,
    stdin: "ignore",
  });
  return exitCode === 0 ? parseInterfaces(stdout) : [];
}
