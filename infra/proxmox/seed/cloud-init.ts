import { stringify } from "yaml";

/** What a machine learns at its first boot. */
export interface SeedSpec {
  /** Host name; unique (A10). */
  hostName: string;
  /** The user on every machine (A10: the same everywhere). */
  user: string;
  /** Public keys, `ssh-ed25519 AAAA… comment`, that may log in as the user. */
  authorizedKeys: readonly string[];
  /** The machine's own SSH key, made by the program, so that its first answer can be checked. */
  hostKey: { privateKey: string; publicKey: string };
  /** Name that never changes for this VM: cloud-init runs a first boot again when it does. */
  instanceId: string;
  /** The card that gets the address; the guest's own name for it does not matter. */
  macAddress: string;
  /** IPv4 address, without prefix. */
  address: string;
  /** Length of the network part, bits. */
  prefix: number;
  gateway: string;
  dns: readonly string[];
  /** Debian packages to install at the first boot. None by default (A10), and then nothing is fetched. */
  packages: readonly string[];
}

/** The three files of a NoCloud seed. Source: cloud-init documentation, "NoCloud". */
export interface SeedFiles {
  "user-data": string;
  "meta-data": string;
  "network-config": string;
}

/** Renders the seed. Pure; the result holds the host's private key. */
export function renderSeed(spec: SeedSpec): SeedFiles {
  return {
    "user-data": `#cloud-config\n${yaml(userData(spec))}`,
    "meta-data": yaml({ "instance-id": spec.instanceId, "local-hostname": spec.hostName }),
    "network-config": yaml(networkConfig(spec)),
  };
}

function userData(spec: SeedSpec): Record<string, unknown> {
  return {
    hostname: spec.hostName,
    manage_etc_hosts: true,
    users: [
      {
        name: spec.user,
        shell: "/bin/bash",
        lock_passwd: true,
        // A18. The steps run as this user and become root.
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        ssh_authorized_keys: [...spec.authorizedKeys],
      },
    ],
    // A17.
    ssh_pwauth: false,
    disable_root: true,
    // The image's own keys, if it has any, go: only the one that the program knows may answer.
    ssh_deletekeys: true,
    ssh_genkeytypes: ["ed25519"],
    ssh_keys: { ed25519_private: spec.hostKey.privateKey, ed25519_public: spec.hostKey.publicKey },
    ssh: { emit_keys_to_console: false },
    no_ssh_fingerprints: true,
    // The image's own: a language that it does not have would end the first boot as failed (Debian without `locales`).
    locale: false,
    package_update: spec.packages.length > 0,
    package_upgrade: false,
    ...(spec.packages.length > 0 ? { packages: [...spec.packages] } : {}),
    // A21: cloud-init makes no swap file. NodePrep sees to an image that has one.
    swap: { size: 0 },
    // The image is 3 GB; the disk is what NodeVm asks for.
    growpart: { mode: "auto", devices: ["/"] },
    resize_rootfs: true,
  };
}

/**
 * A13 as version 2 of the network format, with two mends: the card is found by its MAC address (its name depends on the
 * machine type), and the default route is a route: `gateway4` is deprecated and leaves Ubuntu 24.04 without one
 * (canonical/cloud-init#4031).
 */
function networkConfig(spec: SeedSpec): Record<string, unknown> {
  return {
    version: 2,
    ethernets: {
      eth0: {
        match: { macaddress: spec.macAddress.toLowerCase() },
        "set-name": "eth0",
        dhcp4: false,
        addresses: [`${spec.address}/${spec.prefix}`],
        routes: [{ to: "default", via: spec.gateway }],
        nameservers: { addresses: [...spec.dns] },
      },
    },
  };
}

/** No line is folded: a key broken over two lines would still be valid, and unreadable to a person who looks for it. */
function yaml(value: unknown): string {
  return stringify(value, { lineWidth: 0 });
}
