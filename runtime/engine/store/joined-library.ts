import { existsSync } from "node:fs";
import { STORE_PATH } from "../../contracts/model-store-config.ts";
import type {
  CreateSource,
  LibraryEntry,
  ModelFacts,
  PullOptions,
  PullStep,
  Weights,
  WeightsLibrary,
} from "../library.ts";
import { FileLibrary } from "./file-library.ts";
import { ModelStore, type StoreOptions } from "./store.ts";

/**
 * The models of an engine: files that it was started with, and a store's.
 * @param files absolute paths by model name @param store folder; the usual one is not made where it is not there
 * @throws Error naming --store when it cannot be opened
 */
export async function openLibrary(
  files: ReadonlyMap<string, string>,
  store: string,
  options: StoreOptions,
): Promise<WeightsLibrary> {
  const named = new FileLibrary(files);
  if (store === STORE_PATH && !existsSync(store)) return named;
  return new JoinedLibrary(named, files, await ModelStore.open(store, options));
}

/** Files by name in front of a store: what was named at the start is not changed by what comes later. */
class JoinedLibrary implements WeightsLibrary {
  readonly #named: FileLibrary;
  readonly #files: ReadonlyMap<string, string>;
  readonly #store: ModelStore;

  constructor(named: FileLibrary, files: ReadonlyMap<string, string>, store: ModelStore) {
    this.#named = named;
    this.#files = files;
    this.#store = store;
  }

  async list(): Promise<readonly LibraryEntry[]> {
    const stored = (await this.#store.list()).filter(({ name }) => !this.#files.has(name));
    return [...(await this.#named.list()), ...stored].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  facts(name: string): Promise<ModelFacts | undefined> {
    return this.#of(name).facts(name);
  }

  pull(name: string, options: PullOptions): AsyncIterable<PullStep> {
    return this.#files.has(name) ? this.#named.pull(name) : this.#store.pull(name, options);
  }

  create(name: string, source: CreateSource, signal: AbortSignal): AsyncIterable<PullStep> {
    return this.#files.has(name) ? this.#named.create() : this.#store.create(name, source, signal);
  }

  copy(from: string, to: string): Promise<void> {
    return this.#files.has(from) || this.#files.has(to) ? this.#named.copy() : this.#store.copy(from, to);
  }

  remove(name: string): Promise<void> {
    return this.#files.has(name) ? this.#named.remove() : this.#store.remove(name);
  }

  hasBlob(digest: string): Promise<boolean> {
    return this.#store.hasBlob(digest);
  }

  putBlob(digest: string, bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    return this.#store.putBlob(digest, bytes, signal);
  }

  weights(name: string, signal: AbortSignal): Promise<Weights> {
    return this.#of(name).weights(name, signal);
  }

  #of(name: string): WeightsLibrary {
    return this.#files.has(name) ? this.#named : this.#store;
  }
}
