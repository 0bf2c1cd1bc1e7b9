import * as proxmox from "@muhlba91/pulumi-proxmoxve";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { childName, parseArgs } from "../args.ts";
import type { Host } from "./host-pool.ts";

/** An Ubuntu 24.04 release of one date, not `current`, so that two hosts made months apart get the same image. */
export const DEFAULT_IMAGE_URL =
  "https://cloud-images.ubuntu.com/releases/noble/release-20251001/ubuntu-24.04-server-cloudimg-amd64.img";

/** SHA-256 of {@link DEFAULT_IMAGE_URL}'s file, as its SHA256SUMS has it. */
export const DEFAULT_IMAGE_SHA256 = "02dc186dc491514254df58df29a5877c93ca90ac790cc91a164ea90ed3a0bb05";

/** Proxmox names for a file of content type `import`. Source: pve-storage, Status.pm (`.qcow2`, `.raw`, `.vmdk`, `.ova`). */
const IMPORT_NAME = /^[A-Za-z0-9._+=-]+\.(qcow2|raw|vmdk)$/;

/** The image's arguments, as they are checked. */
export const UbuntuImageSchema = z.strictObject({
  url: z.url({ protocol: /^https?$/, error: "want an http or https address" }).default(DEFAULT_IMAGE_URL),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, { error: "want 64 hexadecimal digits, lower case; see SHA256SUMS beside the image" })
    .optional(),
  fileName: z
    .string()
    .regex(IMPORT_NAME, { error: "want letters, digits and ._+=- with the ending .qcow2, .raw or .vmdk" })
    .default("gorkheavy-ubuntu-24.04.qcow2"),
  timeoutSeconds: z.int().min(60).max(86_400).default(3600),
});

/** Arguments of {@link UbuntuImage}. */
export interface UbuntuImageArgs {
  /** Hosts that need the image; each downloads it itself. */
  hosts: readonly Host[];
  /** Where the hosts fetch it. @default an Ubuntu Server 24.04 release, by date */
  url?: string;
  /** SHA-256 of the file; a host refuses a download that differs. @default - the default image's own; another image is not checked, so set it wherever you can */
  sha256?: string;
  /** Name on the host's storage. Keep it over releases: a VM names it as the source of its disk. @default "gorkheavy-ubuntu-24.04.qcow2" */
  fileName?: string;
  /** How long one host may take, seconds. @default 3600 */
  timeoutSeconds?: number;
}

/** The disk image on one host. */
export interface HostImage {
  /** `local:import/<file name>`. Plain, not an Output: an unknown here would make a new image release re-create every VM. */
  fileId: string;
  /** The download; what uses the image depends on it. */
  resource: pulumi.Resource;
}

/**
 * The Ubuntu Server image on each host, downloaded by the host itself (A06 by hand). A later release replaces the file in
 * place for VMs yet to come; VMs that run keep their disk.
 */
export class UbuntuImage extends pulumi.ComponentResource {
  readonly #images: ReadonlyMap<string, HostImage>;

  constructor(name: string, args: UbuntuImageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:proxmox:UbuntuImage", name, {}, opts);
    const { hosts, ...plain } = args;
    const spec = parseArgs(this, UbuntuImageSchema, plain);
    const sha256 = spec.sha256 ?? (spec.url === DEFAULT_IMAGE_URL ? DEFAULT_IMAGE_SHA256 : undefined);
    const images = new Map<string, HostImage>();
    const byStorage = new Map<string, HostImage>();
    for (const host of hosts) {
      const storage = `${host.name} ${host.imageDatastore}`;
      const image = byStorage.get(storage) ?? {
        fileId: `${host.imageDatastore}:import/${spec.fileName}`,
        resource: new proxmox.download.File(
          childName(name, host.name),
          {
            contentType: "import",
            nodeName: host.node,
            datastoreId: host.imageDatastore,
            url: spec.url,
            fileName: spec.fileName,
            ...(sha256 === undefined ? {} : { checksum: sha256, checksumAlgorithm: "sha256" }),
            // A killed `up` leaves a whole or half file that no state knows; without this the next one stops at it.
            overwriteUnmanaged: true,
            // The pinned address is the version; comparing sizes at each refresh would ask the image's server every time.
            overwrite: false,
            uploadTimeout: spec.timeoutSeconds,
          },
          // Both carry the same name on the storage, so the old one must go first.
          { parent: this, provider: host.provider, deleteBeforeReplace: true },
        ),
      };
      byStorage.set(storage, image);
      images.set(host.name, image);
    }
    this.#images = images;
    this.registerOutputs({ url: spec.url });
  }

  /** The image on a host. @throws Error when the host was not among `hosts` */
  on(host: Host): HostImage {
    const image = this.#images.get(host.name);
    if (image === undefined) throw new Error(`no image on ${host.name}: it was not in this UbuntuImage's hosts`);
    return image;
  }
}
