import { randomBytes } from "node:crypto";
import { access, constants, mkdir, open, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { Fault } from "../../core/fault.ts";
import { codeOf } from "../../support/error-code.ts";
import { type ModelName, nameKey } from "./name.ts";

/** Ends of names that are not there to stay. */
const PARTIAL = ".partial";
const TEMPORARY = ".tmp";
/** Age of a temporary file that no running writer can have, ms. */
const TEMPORARY_MS = 3_600_000;

/** The folder of a store: which file is where, and how one gets there whole. */
export class StoreFolder {
  readonly path: string;
  /** Whether files may be written. */
  readonly writable: boolean;

  private constructor(path: string, writable: boolean) {
    this.path = path;
    this.writable = writable;
  }

  /**
   * Opens a store's folder, and makes it where there is none.
   * @param readOnly nothing is to be written, also where it could be
   * @throws Error naming --store when there is no folder and none can be made
   */
  static async open(path: string, readOnly: boolean): Promise<StoreFolder> {
    let writable = !readOnly;
    if (writable) {
      try {
        for (const one of ["blobs", "manifests", "used", "leases"]) await mkdir(join(path, one), { recursive: true });
        await access(join(path, "blobs"), constants.W_OK);
      } catch (error) {
        const code = codeOf(error);
        if (!["EROFS", "EACCES", "EPERM"].includes(code ?? "")) throw cannotOpen(path, error);
        writable = false;
      }
    }
    try {
      if (!(await stat(path)).isDirectory()) throw new Error("it is not a folder");
    } catch (error) {
      throw cannotOpen(path, error);
    }
    return new StoreFolder(path, writable);
  }

  /** @throws Fault forbidden when nothing may be written here */
  requireWritable(verb: string): void {
    if (this.writable) return;
    throw new Fault(
      "forbidden",
      `${verb}: the model store ${this.path} is open for reading only; change it where it is mounted for writing`,
    );
  }

  blob(hex: string): string {
    return join(this.path, "blobs", `sha256-${hex}`);
  }

  /** Where a download's bytes are until they are all there. @param key `sha256-<hex>`, or another name of what is fetched */
  partial(key: string): string {
    return join(this.path, "blobs", `${key}${PARTIAL}`);
  }

  lock(key: string): string {
    return join(this.path, "blobs", `${key}.lock`);
  }

  manifest(name: ModelName): string {
    return join(this.path, "manifests", ...nameKey(name).split("/"));
  }

  /** A file whose time is when the model was last used. */
  used(name: ModelName): string {
    return join(this.path, "used", ...nameKey(name).split("/"));
  }

  /** Where loaded models are noted, so that other processes leave them alone. */
  get leases(): string {
    return join(this.path, "leases");
  }

  /** The lock of whoever changes which blobs are needed: for moments, never for the time of a download. */
  get registerLock(): string {
    return join(this.path, "register.lock");
  }

  /** A name beside the blobs that nobody else has. */
  temporary(): string {
    return join(this.path, "blobs", `${randomBytes(12).toString("hex")}${TEMPORARY}`);
  }

  /** Keys of all manifests, `host/namespace/model/tag`. */
  async manifestKeys(): Promise<string[]> {
    const root = join(this.path, "manifests");
    const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(whenAbsent([]));
    return entries
      .filter((entry) => entry.isFile() && !entry.name.endsWith(TEMPORARY))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/"))
      .toSorted();
  }

  /** Digests and sizes of all blobs. */
  async blobs(): Promise<{ hex: string; bytes: number; modifiedMs: number }[]> {
    const names = await readdir(join(this.path, "blobs")).catch(whenAbsent<string[]>([]));
    const found: { hex: string; bytes: number; modifiedMs: number }[] = [];
    for (const name of names) {
      const hex = /^sha256-([0-9a-f]{64})$/.exec(name)?.[1];
      if (hex === undefined) continue;
      const seen = await stat(this.blob(hex)).catch(whenAbsent(undefined));
      if (seen !== undefined) found.push({ hex, bytes: seen.size, modifiedMs: seen.mtimeMs });
    }
    return found;
  }

  /** Bytes that a user's process can still write. */
  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.path);
    return bavail * bsize;
  }

  /** Writes a small file whole: whoever reads it sees the old one or the new one, after a power cut too. */
  async write(path: string, text: string): Promise<void> {
    await mkdir(dirname(path), { recursive: true });
    const beside = join(dirname(path), `${randomBytes(12).toString("hex")}${TEMPORARY}`);
    try {
      const handle = await open(beside, "wx", 0o644);
      try {
        await handle.writeFile(text);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(beside, path);
      await syncFolder(dirname(path));
    } catch (error) {
      await rm(beside, { force: true });
      throw error;
    }
  }

  /** Gives a file its final name; its bytes must be synced. */
  async settle(from: string, hex: string): Promise<void> {
    await rename(from, this.blob(hex));
    await syncFolder(join(this.path, "blobs"));
  }

  /** Removes what crashed writers left: temporary files, and downloads that nobody went on with. @param partialMs age of those */
  async sweep(partialMs: number, nowMs: number): Promise<void> {
    for (const folder of ["blobs", "manifests", "used", "leases"]) {
      const root = join(this.path, folder);
      const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(whenAbsent([]));
      for (const entry of entries) {
        const most = entry.name.endsWith(TEMPORARY)
          ? TEMPORARY_MS
          : entry.name.includes(PARTIAL)
            ? partialMs
            : undefined;
        if (!entry.isFile() || most === undefined) continue;
        const path = join(entry.parentPath, entry.name);
        const seen = await stat(path).catch(whenAbsent(undefined));
        if (seen !== undefined && nowMs - seen.mtimeMs > most) await rm(path, { force: true });
      }
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Handler of a file that is not there; anything else is thrown on. */
export function whenAbsent<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return instead;
    throw error;
  };
}

function cannotOpen(path: string, cause: unknown): Error {
  const why =
    codeOf(cause) === "ENOENT" ? "there is no such folder, and it cannot be made" : String((cause as Error).message);
  return new Error(`--store ${path}: ${why}; give a folder that can be read, or one that can be made`, { cause });
}
