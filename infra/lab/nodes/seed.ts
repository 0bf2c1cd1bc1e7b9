import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { readIso } from "./iso9660.ts";

/** Where cloud-init looks for a seed, relative to the root. Source: cloud-init, NoCloud, "Source files". */
export const SEED_DIR = "var/lib/cloud/seed/nocloud";

/** Files that cloud-init's NoCloud source reads; the first two must be there. Source: the same. */
const SEED_FILES = ["user-data", "meta-data", "network-config", "vendor-data"] as const;

const NetworkConfig = z.looseObject({
  ethernets: z
    .record(
      z.string(),
      z.looseObject({
        match: z.looseObject({ macaddress: z.string().optional() }).optional(),
        "set-name": z.string().optional(),
      }),
    )
    .optional(),
});

/** One card that a network configuration finds by its hardware address. */
export interface MatchedCard {
  /** Netplan's id of the definition. */
  id: string;
  /** Lower case. */
  macAddress: string;
  /** Name that the card is to have; absent when the configuration leaves it. */
  setName?: string;
}

/**
 * The cards of a NoCloud `network-config` (version 2, with or without the `network:` level) that are matched by address.
 * @throws Error when it is no YAML or of another shape
 */
export function matchedCards(networkConfig: string): MatchedCard[] {
  const document: unknown = parse(networkConfig) ?? {};
  const inner = z.looseObject({ network: z.unknown().optional() }).safeParse(document);
  const config = NetworkConfig.parse(inner.success && inner.data.network !== undefined ? inner.data.network : document);
  return Object.entries(config.ethernets ?? {}).flatMap(([id, card]) => {
    const macAddress = card.match?.macaddress?.toLowerCase();
    if (macAddress === undefined) return [];
    return [{ id, macAddress, ...(card["set-name"] === undefined ? {} : { setName: card["set-name"] }) }];
  });
}

/**
 * The NoCloud files on the first attached CD-ROM that is a seed (label `cidata`, any case).
 * @returns name to content; undefined when none is a seed
 * @throws Error when the seed lacks `user-data` or `meta-data`, naming the image
 */
export async function readSeed(cdromPaths: readonly string[]): Promise<Map<string, Buffer> | undefined> {
  for (const path of cdromPaths) {
    const { label, files } = await readIso(path);
    if (label.toLowerCase() !== "cidata") continue;
    const missing = ["user-data", "meta-data"].filter((name) => !files.has(name));
    if (missing.length > 0) {
      throw new Error(
        `${path}: the seed has no ${missing.join(" and no ")}, so cloud-init would ignore it; it has ${[...files.keys()].join(", ") || "no files"}`,
      );
    }
    return files;
  }
  return undefined;
}

/**
 * Puts a seed where cloud-init finds it, replacing what was there; none takes it away.
 * @param varDir directory that becomes `/var` of the machine
 */
export async function placeSeed(varDir: string, seed: Map<string, Buffer> | undefined): Promise<void> {
  const dir = join(varDir, SEED_DIR.replace(/^var\//, ""));
  await rm(dir, { recursive: true, force: true });
  if (!seed) return;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const name of SEED_FILES) {
    const content = seed.get(name);
    if (content) await writeFile(join(dir, name), content, { mode: 0o600 });
  }
}

const DROPIN = "gorkheavy-match.conf";

/**
 * Lets systemd-networkd find a machine's cards. Netplan asks for the card's permanent address, which a veth does not have; the drop-in asks for
 * its present one instead, beside whatever name netplan wants. It also tells networkd that nobody advertises IPv6 routes here, or it would hold back
 * network-online.target for 13 s to listen for them. Everything else of netplan's files stays as it is.
 * @param etcDir directory that becomes `/etc`, or an overlay's layer of it
 */
export async function placeNetworkMatches(etcDir: string, cards: readonly MatchedCard[]): Promise<void> {
  const dir = join(etcDir, "systemd/network");
  await mkdir(dir, { recursive: true });
  for (const name of await readdir(dir)) {
    if (/^10-netplan-.*\.network\.d$/.test(name)) await rm(join(dir, name, DROPIN), { force: true });
  }
  for (const { id, macAddress } of cards) {
    const dropins = join(dir, `10-netplan-${id}.network.d`);
    await mkdir(dropins, { recursive: true });
    await writeFile(
      join(dropins, DROPIN),
      `[Match]\nPermanentMACAddress=\nMACAddress=${macAddress}\n[Network]\nIPv6AcceptRA=no\n`,
    );
  }
}
