import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { StoreFolder } from "./layout.ts";
import { whenAbsent } from "./layout.ts";
import { type Held, isDead, lock, tryLock } from "./lock.ts";
import { type Manifest, parseManifest, renderManifest } from "./manifest.ts";
import { type ModelName, nameKey, nameOfKey, shortName } from "./name.ts";

/** A model as the store has written it down. */
export interface ModelRecord {
  name: ModelName;
  /** As people write it. */
  shown: string;
  manifest: Manifest;
  modifiedMs: number;
}

/** Age of a blob that no manifest names, after which nobody can be about to name it, ms. */
const ORPHAN_MS = 3_600_000;

/** The manifests of a store, which blobs they need, and when each was last used. */
export class Records {
  readonly #folder: StoreFolder;
  readonly #defaultHost: string;

  constructor(folder: StoreFolder, defaultHost: string) {
    this.#folder = folder;
    this.#defaultHost = defaultHost;
  }

  /** One model; undefined when there is none. @throws Fault bad_model for a manifest that cannot be read */
  async read(name: ModelName): Promise<ModelRecord | undefined> {
    const path = this.#folder.manifest(name);
    const text = await readFile(path, "utf8").catch(whenAbsent(undefined));
    if (text === undefined) return undefined;
    const { mtimeMs } = await stat(path);
    const manifest = parseManifest(text, shortName(name, this.#defaultHost));
    return { name, shown: manifest.name ?? shortName(name, this.#defaultHost), manifest, modifiedMs: mtimeMs };
  }

  /** All models, by name. One whose manifest cannot be read is left out: it cannot be loaded either. */
  async all(): Promise<ModelRecord[]> {
    const found: ModelRecord[] = [];
    for (const key of await this.#folder.manifestKeys()) {
      const name = nameOfKey(key);
      const record = name === undefined ? undefined : await this.read(name).catch(() => undefined);
      if (record !== undefined) found.push(record);
    }
    return found.toSorted((a, b) => (a.shown < b.shown ? -1 : 1));
  }

  /**
   * Registers a model; from then on it is there, whole.
   * @returns false when one of its blobs was removed meanwhile: nothing is registered then
   */
  async put(name: ModelName, manifest: Manifest, signal: AbortSignal): Promise<boolean> {
    const isPut = await this.#exclusively(signal, async () => {
      for (const hex of digestsOf({ manifest }))
        if ((await stat(this.#folder.blob(hex)).catch(whenAbsent(undefined))) === undefined) return false;
      await this.#folder.write(this.#folder.manifest(name), renderManifest(manifest));
      return true;
    });
    if (isPut) await this.touch(name);
    return isPut;
  }

  /** Takes a name away; its blobs stay until they are collected. @returns whether there was one */
  async remove(name: ModelName, signal: AbortSignal): Promise<boolean> {
    return this.#exclusively(signal, async () => {
      const path = this.#folder.manifest(name);
      if ((await stat(path).catch(whenAbsent(undefined))) === undefined) return false;
      await rm(path, { force: true });
      await rm(this.#folder.used(name), { force: true });
      return true;
    });
  }

  /**
   * Removes blobs that no model needs and nobody has loaded.
   * @param only these digests at once, 64 hex digits. Absent: all that have lain long enough
   * @returns bytes that are free now
   */
  async collect(signal: AbortSignal, only?: ReadonlySet<string>): Promise<number> {
    return this.#exclusively(signal, async () => {
      const needed = await this.#needed();
      const loaded = await this.loaded();
      let freed = 0;
      for (const { hex, bytes, modifiedMs } of await this.#folder.blobs()) {
        const isMeant = only === undefined ? Date.now() - modifiedMs > ORPHAN_MS : only.has(hex);
        if (!isMeant || needed.has(hex) || loaded.has(hex)) continue;
        await rm(this.#folder.blob(hex), { force: true });
        freed += bytes;
      }
      return freed;
    });
  }

  /** Notes that a model is used now. */
  async touch(name: ModelName): Promise<void> {
    if (!this.#folder.writable) return;
    const path = this.#folder.used(name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, "");
    const now = new Date();
    await utimes(path, now, now);
  }

  /** When a model was last used, ms since 1970; when it came here, where nobody used it. */
  async lastUsedMs({ name, modifiedMs }: ModelRecord): Promise<number> {
    return (await stat(this.#folder.used(name)).catch(whenAbsent(undefined)))?.mtimeMs ?? modifiedMs;
  }

  /** Keeps a blob from being removed, here and by other processes, until it is let go. In a store that is read only nothing is noted. */
  async hold(hex: string): Promise<Held | undefined> {
    if (!this.#folder.writable) return undefined;
    return tryLock(join(this.#folder.leases, `${hex}.${randomBytes(8).toString("hex")}`));
  }

  /** Digests of what is loaded by a process that lives, 64 hex digits. */
  async loaded(): Promise<Set<string>> {
    const names = await readdir(this.#folder.leases).catch(whenAbsent<string[]>([]));
    const found = new Set<string>();
    for (const one of names) {
      const hex = /^([0-9a-f]{64})\./.exec(one)?.[1];
      if (hex === undefined || one.endsWith(".tmp")) continue;
      const path = join(this.#folder.leases, one);
      if (!(await isDead(path))) found.add(hex);
      else if (this.#folder.writable) await rm(path, { force: true });
    }
    return found;
  }

  /** Digests that manifests need. One that cannot be read might need any, so that nothing is removed then. */
  async #needed(): Promise<Set<string>> {
    const needed = new Set<string>();
    for (const key of await this.#folder.manifestKeys()) {
      const name = nameOfKey(key);
      const record = name === undefined ? undefined : await this.read(name);
      for (const hex of record === undefined ? [] : digestsOf(record)) needed.add(hex);
    }
    return needed;
  }

  async #exclusively<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    const held = await lock(this.#folder.registerLock, signal, () => undefined, 20);
    try {
      return await act();
    } finally {
      await held.release();
    }
  }
}

/** Whether two names mean the same model. */
export function sameName(a: ModelName, b: ModelName): boolean {
  return nameKey(a) === nameKey(b);
}

/** Digests of all that a model needs, 64 hex digits. */
export function digestsOf({ manifest }: Pick<ModelRecord, "manifest">): string[] {
  return [manifest.config, ...manifest.layers].map(({ digest }) => digest.slice("sha256:".length));
}
