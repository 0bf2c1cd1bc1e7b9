import { mkdir, open, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ExecaError, execa } from "execa";
import { z } from "zod";
import { failure } from "../api-error.ts";
import { isMissing, readIfPresent, writeFileAtomically } from "../atomic-file.ts";
import { ownerOf } from "../format/volume-id.ts";

/** What a datastore may hold, by Proxmox' names. */
export type ContentType = "images" | "rootdir" | "iso" | "vztmpl" | "import" | "snippets" | "backup";

/** How one datastore is set up. */
export interface DatastoreSettings {
  /** Name in volume ids: `local`. */
  name: string;
  /** `dir` names disks `100/vm-100-disk-0.raw`; `lvmthin` names them `vm-100-disk-0` and keeps raw volumes only. */
  type: "dir" | "lvmthin";
  content: readonly ContentType[];
}

/** One volume as it lies on a datastore. */
export interface Volume {
  /** Name within the datastore: `iso/x.iso`, `vm-100-disk-0`. */
  name: string;
  content: ContentType;
  /** `raw`, `qcow2`, `iso`, `tgz`, … */
  format: string;
  /** Size as a guest sees it, bytes. */
  sizeBytes: number;
  /** Bytes that it takes on the disk. */
  usedBytes: number;
  /** Seconds since 1970. */
  createdAt: number;
  /** Absolute path of its file. */
  path: string;
  /** VM that it belongs to; undefined for files of no VM. */
  vmId: number | undefined;
}

/** Folder of each kind of file on a `dir` datastore (PVE::Storage::Plugin, `$vtype_subdirs`). */
const FOLDERS: readonly (readonly [prefix: string, content: ContentType, folder: string])[] = [
  ["iso", "iso", "template/iso"],
  ["vztmpl", "vztmpl", "template/cache"],
  ["import", "import", "import"],
  ["snippets", "snippets", "snippets"],
  ["backup", "backup", "dump"],
];

/** What is known of a disk beside its bytes: an imported image keeps its own header, so the file's length is not the disk's size. */
const SidecarSchema = z.object({ sizeBytes: z.number(), format: z.string(), parent: z.string().optional() });
type Sidecar = z.output<typeof SidecarSchema>;
const SIDECAR = ".volume.json";

/** One datastore: a folder, with the names and rules of a Proxmox storage. */
export class Datastore {
  readonly name: string;
  readonly type: DatastoreSettings["type"];
  readonly content: readonly ContentType[];
  /** Folder that holds everything, absolute. */
  readonly root: string;

  constructor(settings: DatastoreSettings, root: string) {
    this.name = settings.name;
    this.type = settings.type;
    this.content = settings.content;
    this.root = root;
  }

  /** Makes the folders, and drops what an interrupted transfer left. */
  async prepare(): Promise<void> {
    await mkdir(join(this.root, "images"), { recursive: true });
    if (this.type !== "dir") return;
    for (const [, , folder] of FOLDERS) {
      await mkdir(join(this.root, folder), { recursive: true });
      for (const file of await readdir(join(this.root, folder))) {
        if (file.includes(".tmp_")) await rm(join(this.root, folder, file), { force: true });
      }
    }
  }

  /** @throws ApiError 500 unless the datastore is set up for that content */
  assertHolds(content: ContentType): void {
    if (!this.content.includes(content))
      throw failure(`storage '${this.name}' is not configured for content-type '${content}'`);
  }

  /** Absolute path of a volume's file, whether or not it exists. @throws ApiError 500 for a name that the datastore cannot hold */
  pathOf(name: string): string {
    const [folder = "", file, extra] = name.split("/");
    const safe = (part: string) => /^[^/\0]+$/.test(part) && part !== "." && part !== "..";
    if (this.type === "lvmthin") {
      const owner = ownerOf(name);
      if (owner !== undefined && file === undefined && safe(name))
        return join(this.root, "images", String(owner), `${name}.raw`);
    } else if (file !== undefined && extra === undefined && safe(file)) {
      const kind = FOLDERS.find(([prefix]) => prefix === folder);
      if (kind !== undefined) return join(this.root, kind[2], file);
      if (/^\d+$/.test(folder) && ownerOf(file) !== undefined) return join(this.root, "images", folder, file);
    }
    throw failure(`unable to parse ${this.type === "dir" ? "directory" : "lvm"} volume name '${name}'`);
  }

  /** One volume. @throws ApiError 500 `volume '…' does not exist` */
  async volume(name: string): Promise<Volume> {
    const path = this.pathOf(name);
    try {
      const [facts, sidecar] = await Promise.all([stat(path), readSidecar(path)]);
      const folder = FOLDERS.find(([prefix]) => name.startsWith(`${prefix}/`));
      const content = folder?.[1] ?? "images";
      return {
        name,
        content,
        format: sidecar?.format ?? formatOf(content, name),
        sizeBytes: sidecar?.sizeBytes ?? facts.size,
        usedBytes: facts.blocks * 512,
        createdAt: Math.floor(facts.mtimeMs / 1000),
        path,
        vmId: content === "images" ? ownerOf(name) : undefined,
      };
    } catch (error) {
      if (isMissing(error)) throw failure(`volume '${this.name}:${name}' does not exist`);
      throw error;
    }
  }

  /** Every volume, by name. */
  async list(): Promise<Volume[]> {
    const names: string[] = [];
    for (const vmId of await readFolder(join(this.root, "images"))) {
      for (const file of await readFolder(join(this.root, "images", vmId))) {
        if (file.endsWith(SIDECAR) || file.includes(".tmp") || ownerOf(file) === undefined) continue;
        if (this.type === "dir") names.push(`${vmId}/${file}`);
        else if (file.endsWith(".raw")) names.push(file.slice(0, -".raw".length));
      }
    }
    if (this.type === "dir") {
      for (const [prefix, , folder] of FOLDERS) {
        const files = await readFolder(join(this.root, folder));
        names.push(...files.filter((file) => !file.includes(".tmp_")).map((file) => `${prefix}/${file}`));
      }
    }
    const volumes = await Promise.all(names.sort().map((name) => this.volume(name).catch(() => undefined)));
    return volumes.filter((volume) => volume !== undefined);
  }

  /** Bytes of the file system below. */
  async space(): Promise<{ totalBytes: number; usedBytes: number; availableBytes: number }> {
    const facts = await statfs(this.root);
    const totalBytes = facts.blocks * facts.bsize;
    return {
      totalBytes,
      usedBytes: totalBytes - facts.bfree * facts.bsize,
      availableBytes: facts.bavail * facts.bsize,
    };
  }

  /** A new empty disk with the lowest free number. Answers its name. */
  async allocateDisk(vmId: number, format: string | undefined, sizeBytes: number): Promise<string> {
    const name = await this.#freeDiskName(vmId, format);
    const path = this.pathOf(name);
    await mkdir(dirname(path), { recursive: true });
    await createSparse(path, sizeBytes);
    await writeSidecar(path, { sizeBytes, format: this.#formatFor(format) });
    return name;
  }

  /** The small drive that carries cloud-init data. One a VM; an older one is emptied. */
  async allocateCloudInit(vmId: number, sizeBytes: number): Promise<string> {
    const name = this.type === "dir" ? `${vmId}/vm-${vmId}-cloudinit.qcow2` : `vm-${vmId}-cloudinit`;
    const path = this.pathOf(name);
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    await createSparse(path, sizeBytes);
    await writeSidecar(path, { sizeBytes, format: this.type === "dir" ? "qcow2" : "raw" });
    return name;
  }

  /** A new disk with the bytes of a file, which stay as they are: whoever boots it reads the image's own header. Answers its name. */
  async copyIntoDisk(vmId: number, source: string, sizeBytes: number, format: string | undefined): Promise<string> {
    const name = await this.#freeDiskName(vmId, format);
    const path = this.pathOf(name);
    await mkdir(dirname(path), { recursive: true });
    const draft = `${path}.tmp`;
    try {
      // Holes stay holes: an empty disk of 32 GiB is not 32 GiB to write.
      await execa("cp", ["--sparse=always", "--reflink=auto", source, draft], { stdin: "ignore" });
      await writeSidecar(path, { sizeBytes, format: this.#formatFor(format) });
      await rename(draft, path);
    } catch (error) {
      await Promise.all([rm(draft, { force: true }), rm(`${path}${SIDECAR}`, { force: true })]);
      if (error instanceof ExecaError)
        throw failure(
          `cannot copy '${source}': ${typeof error.stderr === "string" ? error.stderr : error.shortMessage}`,
        );
      throw error;
    }
    return name;
  }

  /** Makes a disk larger. @throws ApiError 500 `shrinking disks is not supported` */
  async resizeDisk(name: string, sizeBytes: number): Promise<void> {
    const volume = await this.volume(name);
    if (sizeBytes < volume.sizeBytes) throw failure("shrinking disks is not supported");
    const sidecar = await readSidecar(volume.path);
    await writeSidecar(volume.path, { ...sidecar, sizeBytes, format: volume.format });
  }

  /** Gives a disk another name on the same datastore (a template's disks become `base-…`). */
  async renameDisk(name: string, newName: string): Promise<void> {
    const [from, to] = [this.pathOf(name), this.pathOf(newName)];
    await rename(`${from}${SIDECAR}`, `${to}${SIDECAR}`).catch(ignoreMissing);
    await rename(`${from}.overlay`, `${to}.overlay`).catch(ignoreMissing);
    await rename(from, to);
  }

  /** Gives a copied disk what the machine driver keeps beside the original (its overlay: the guest's own changes), ownership and all. */
  async adoptOverlay(name: string, source: string): Promise<void> {
    const from = `${source}.overlay`;
    const there = await stat(from).then(() => true, ignoreMissing);
    if (there === true) await execa("cp", ["--archive", "--reflink=auto", from, `${this.pathOf(name)}.overlay`]);
  }

  /** Removes a volume's file and what is known of it. Answers false when there was none. */
  async free(name: string): Promise<boolean> {
    const path = this.pathOf(name);
    const existed = await stat(path).then(
      () => true,
      (error: unknown) => ignoreMissing(error) ?? false,
    );
    await rm(path, { force: true });
    await rm(`${path}${SIDECAR}`, { force: true });
    return existed;
  }

  async #freeDiskName(vmId: number, format: string | undefined): Promise<string> {
    const taken = new Set(
      (await readFolder(join(this.root, "images", String(vmId)))).map((file) => file.replace(/\..*$/, "")),
    );
    let number = 0;
    while (taken.has(`vm-${vmId}-disk-${number}`) || taken.has(`base-${vmId}-disk-${number}`)) number += 1;
    const stem = `vm-${vmId}-disk-${number}`;
    return this.type === "dir" ? `${vmId}/${stem}.${this.#formatFor(format)}` : stem;
  }

  #formatFor(wanted: string | undefined): string {
    if (this.type === "dir") return wanted ?? "raw";
    if (wanted !== undefined && wanted !== "raw") throw failure(`unsupported format '${wanted}'`);
    return "raw";
  }
}

function formatOf(content: ContentType, name: string): string {
  if (content === "iso") return "iso";
  if (content === "vztmpl")
    return /\.tar\.(\w+)$/.exec(name)?.[1] === "gz" ? "tgz" : `t${/\.tar\.(\w+)$/.exec(name)?.[1] ?? "ar"}`;
  if (content === "snippets") return "snippet";
  const extension = /\.(\w+)$/.exec(basename(name))?.[1];
  return extension === undefined || extension === "img" ? "raw" : extension;
}

async function readSidecar(path: string): Promise<Sidecar | undefined> {
  const text = await readIfPresent(`${path}${SIDECAR}`);
  return text === undefined ? undefined : SidecarSchema.parse(JSON.parse(text));
}

async function writeSidecar(path: string, sidecar: Sidecar): Promise<void> {
  await writeFileAtomically(`${path}${SIDECAR}`, JSON.stringify(sidecar));
}

async function createSparse(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
}

async function readFolder(path: string): Promise<string[]> {
  return readdir(path).catch((error: unknown) => ignoreMissing(error) ?? []);
}

/** Swallows "no such file" and lets everything else through. */
function ignoreMissing(error: unknown): undefined {
  if (isMissing(error)) return undefined;
  throw error;
}
