import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelStoreInput } from "../../runtime/contracts/model-store-config.ts";
import type { PullOptions, PullStep } from "../../runtime/engine/library.ts";
import { ModelStore, type StoreOptions } from "../../runtime/engine/store/store.ts";
import { type Registry, startRegistry } from "./registry.ts";

/** Quick to give up; otherwise as people have it. */
export const QUICK: ModelStoreInput = {
  retries: 2,
  stallMs: 500,
  connectMs: 2_000,
  chunkBytes: 65_536,
  reserveBytes: 0,
};

/** A folder for stores, a registry that they pull from, and what they leave. */
export interface StoreBench {
  folder: string;
  registry: Registry;
  /** Opens a store on the folder; several may be open. */
  store(settings?: ModelStoreInput, options?: Omit<StoreOptions, "settings">): Promise<ModelStore>;
  /** Names of all files in the folder, without those that only tell of use. */
  files(): Promise<string[]>;
  close(): Promise<void>;
}

export async function startStoreBench(): Promise<StoreBench> {
  const folder = await mkdtemp(join(tmpdir(), "store-"));
  const registry = await startRegistry();
  const open: ModelStore[] = [];
  return {
    folder,
    registry,
    store: async (settings = {}, options = {}) => {
      const all = { ...QUICK, registry: registry.host, ...settings };
      const opened = await ModelStore.open(folder, { ...options, settings: all });
      open.push(opened);
      return opened;
    },
    files: () => filesOf(folder),
    close: async () => {
      await Promise.all(open.map((store) => store.close()));
      await registry.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Names of all files of a store, without those that only tell of use. */
export async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((one) => one.isFile() && !one.parentPath.includes("/used"))
    .map((one) => one.name)
    .toSorted();
}

/** Pulls to the end. @returns all steps */
export async function pull(from: ModelStore, name: string, options: Partial<PullOptions> = {}): Promise<PullStep[]> {
  const steps: PullStep[] = [];
  const signal = options.signal ?? new AbortController().signal;
  for await (const step of from.pull(name, { ...options, signal })) steps.push(step);
  return steps;
}
