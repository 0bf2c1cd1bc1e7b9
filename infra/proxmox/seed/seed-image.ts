import { createHash } from "node:crypto";
import * as proxmox from "@muhlba91/pulumi-proxmoxve";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { childName } from "../../args.ts";
import type { Host } from "../host-pool.ts";
import { renderSeed, type SeedSpec } from "./cloud-init.ts";
import { renderIso, renderSectors } from "./iso9660.ts";

/** NoCloud's volume label. Source: cloud-init documentation, "NoCloud", source 2. */
const SEED_LABEL = "cidata";

/** Arguments of {@link SeedImage}. */
export interface SeedImageArgs {
  /** Host whose storage takes the image. */
  host: Host;
  /** Name of the file there; one VM's alone. Ends with `.iso`. */
  fileName: string;
  /** What the machine is to learn. Secret, since the host's private key is in it. */
  seed: pulumi.Input<SeedSpec>;
  /** Folder on the operator's machine for the moment between writing and upload; made with mode 0700, one stack's alone. */
  workDir: string;
}

/**
 * The NoCloud CD of one VM: written on the operator's machine during `up` (mode 0600), uploaded through the Proxmox API, and
 * removed here again. No SSH to the hypervisor, and no secret in an argument or in plain state. A changed seed is uploaded
 * under the same name: a running VM is neither replaced nor restarted by it, and a VM made later gets the new one.
 * Takes its `command` provider from `opts`.
 */
export class SeedImage extends pulumi.ComponentResource {
  /** `local:iso/<file name>`. Plain, so that a new seed is no change of the VM that has it as its CD. */
  readonly fileId: string;

  constructor(name: string, args: SeedImageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gorkheavy:proxmox:SeedImage", name, {}, opts);
    const sectors = pulumi
      .secret(args.seed)
      .apply((seed) => renderSectors(renderIso(SEED_LABEL, { ...renderSeed(seed) })));
    // The checksum of a text that holds a private key tells nothing of it, and without it in plain nobody could see in a
    // preview that the seed changes.
    const path = pulumi.unsecret(sectors.apply((text) => pathOf(args.workDir, args.fileName, text)));

    const written = new command.local.Command(
      childName(name, "write"),
      {
        create: path.apply(renderWriteCommand),
        delete: path.apply(renderRemoveCommand),
        stdin: sectors,
        logging: "none",
        addPreviousOutputInEnv: false,
      },
      { parent: this },
    );
    const file = new proxmox.FileLegacy(
      name,
      {
        contentType: "iso",
        nodeName: args.host.node,
        datastoreId: args.host.imageDatastore,
        sourceFile: { path, fileName: args.fileName },
        overwrite: true,
      },
      {
        parent: this,
        provider: args.host.provider,
        dependsOn: [written],
        // Old and new have one name on the storage, so the old one must go first.
        deleteBeforeReplace: true,
        // Set by a refresh that no longer finds the local file, which is always: without this, the next `up` would want to
        // upload a file that is not there (bpg: proxmoxtf/resource/file.go, fileRead).
        ignoreChanges: ["sourceFile.changed"],
      },
    );
    new command.local.Command(
      childName(name, "remove"),
      { create: path.apply(renderRemoveCommand), logging: "none", addPreviousOutputInEnv: false },
      { parent: this, dependsOn: [file] },
    );
    this.fileId = `${args.host.imageDatastore}:iso/${args.fileName}`;
    this.registerOutputs({ fileId: this.fileId });
  }
}

/** Where the image lies until it is uploaded. Another content is another path, which is what makes the upload run again. */
export function pathOf(workDir: string, fileName: string, content: string): string {
  const digest = createHash("sha256").update(content).digest("hex").slice(0, 16);
  return `${workDir}/${fileName.replace(/\.iso$/, "")}-${digest}.iso`;
}

/**
 * The command that turns sectors on its standard input into the file. POSIX shell, dd and base64: nothing of this checkout's
 * path goes into the state, and nothing secret into an argument (printf is the shell's own).
 */
export function renderWriteCommand(path: string): string {
  const folder = path.slice(0, path.lastIndexOf("/"));
  return [
    "set -eu; umask 077",
    `folder=${quote(folder)}; file=${quote(path)}`,
    'mkdir -p -m 700 "$folder"',
    `if [ -L "$folder" ] || [ ! -O "$folder" ]; then echo "$folder: want a folder of this user's own; remove it, or choose another workDir" >&2; exit 73; fi`,
    'rm -f "$file" "$file.part"; : > "$file.part"',
    "while read -r sector data; do",
    '  printf %s "$data" | base64 -d | dd of="$file.part" bs=2048 seek="$sector" conv=notrunc,sync status=none',
    "done",
    'mv "$file.part" "$file"',
  ].join("\n");
}

/** Removes the file, and the folder when it was the last in it. */
export function renderRemoveCommand(path: string): string {
  const folder = path.slice(0, path.lastIndexOf("/"));
  return `rm -f ${quote(path)} ${quote(`${path}.part`)}; rmdir ${quote(folder)} 2>/dev/null || true`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
