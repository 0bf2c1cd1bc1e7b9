import { mkdir, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { acquireLock } from "./lock.ts";
import { cacheRoot } from "./paths.ts";

/** Says one line of progress of a long step. */
export type Report = (line: string) => void;

/** Something that was made once and kept. */
export interface CacheEntry {
  /** Folder with what was made; its content must not be changed. */
  dir: string;
  /** True when this call made it, false when it was there. */
  made: boolean;
  /** How long this call took, ms. */
  ms: number;
}

const Marker = z.strictObject({
  /** Size in bytes of each file directly in the folder, by name. Folders in it are not looked into. */
  files: z.record(z.string(), z.int().min(0)),
});
const MARKER_FILE = ".complete.json";
/** Another process may be building the same entry: the longest build, Kubernetes, takes minutes on two cores. */
const WAIT_FOR_OTHER_MS = 60 * 60 * 1000;

/**
 * The folder of `name` at `version`, made by `make` when it is not there. A folder that a killed run left half-made,
 * or whose files have changed size, is thrown away and made again. Several processes may ask at once; one makes it.
 *
 * @param make fills the empty folder that it is given; when it fails nothing is kept, except what it put in `scratch`,
 *   a folder that outlives a failure so that a download can be resumed
 */
export async function cached(
  name: string,
  version: string,
  make: (dir: string, report: Report, scratch: string) => Promise<unknown>,
  options: { report?: Report; root?: string } = {},
): Promise<CacheEntry> {
  const started = Date.now();
  const report = options.report ?? (() => {});
  const parent = join(options.root ?? cacheRoot(), name);
  const dir = join(parent, version);
  if (await isComplete(dir)) return { dir, made: false, ms: Date.now() - started };

  await mkdir(parent, { recursive: true });
  const release = await acquireLock(join(parent, `.${version}.lock`), `making ${name} ${version}`, {
    waitMs: WAIT_FOR_OTHER_MS,
  });
  try {
    if (await isComplete(dir)) return { dir, made: false, ms: Date.now() - started };
    await rm(dir, { recursive: true, force: true });
    const partial = join(parent, `.${version}.partial`);
    const scratch = join(parent, `.${version}.scratch`);
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial);
    await mkdir(scratch, { recursive: true });
    try {
      await make(partial, report, scratch);
      await writeFile(join(partial, MARKER_FILE), JSON.stringify({ files: await fileSizes(partial) }));
      await rename(partial, dir);
      await rm(scratch, { recursive: true, force: true });
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
  } finally {
    await release();
  }
  return { dir, made: true, ms: Date.now() - started };
}

async function isComplete(dir: string): Promise<boolean> {
  const text = await readFile(join(dir, MARKER_FILE), "utf8").catch(() => undefined);
  if (text === undefined) return false;
  try {
    const marker = Marker.parse(JSON.parse(text));
    const sizes = await fileSizes(dir);
    const names = Object.keys(marker.files);
    return names.length === Object.keys(sizes).length && names.every((file) => sizes[file] === marker.files[file]);
  } catch {
    return false;
  }
}

async function fileSizes(dir: string): Promise<Record<string, number>> {
  const sizes: Record<string, number> = {};
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    if (entry.isFile() && entry.name !== MARKER_FILE) sizes[entry.name] = (await stat(join(dir, entry.name))).size;
  }
  return sizes;
}
