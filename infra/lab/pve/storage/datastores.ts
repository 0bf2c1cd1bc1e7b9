import { join } from "node:path";
import { failure } from "../api-error.ts";
import { parseVolumeId } from "../format/volume-id.ts";
import { Datastore } from "./datastore.ts";
import type { DatastoreSettings, Volume } from "./datastore.ts";

/** What a freshly installed Proxmox VE host has, with `import` and `snippets` allowed on `local`. */
export const DEFAULT_DATASTORES: readonly DatastoreSettings[] = [
  { name: "local", type: "dir", content: ["iso", "vztmpl", "import", "snippets"] },
  { name: "local-lvm", type: "lvmthin", content: ["images", "rootdir"] },
];

/** The datastores of a node. */
export class Datastores {
  readonly #stores: ReadonlyMap<string, Datastore>;

  private constructor(stores: ReadonlyMap<string, Datastore>) {
    this.#stores = stores;
  }

  /** Prepares a folder for each, below `directory`. */
  static async open(directory: string, settings: readonly DatastoreSettings[]): Promise<Datastores> {
    const stores = new Map(settings.map((one) => [one.name, new Datastore(one, join(directory, one.name))]));
    for (const store of stores.values()) await store.prepare();
    return new Datastores(stores);
  }

  /** All, in the order of the settings. */
  all(): Datastore[] {
    return [...this.#stores.values()];
  }

  /** @throws ApiError 500 `storage 'x' does not exist` */
  get(name: string): Datastore {
    const store = this.#stores.get(name);
    if (store === undefined) throw failure(`storage '${name}' does not exist`);
    return store;
  }

  /** The datastore of a volume id and the volume's name there. @throws ApiError 500 for a text that is no volume id, or an unknown datastore */
  resolve(volumeId: string): { store: Datastore; name: string } {
    const parsed = parseVolumeId(volumeId);
    if (parsed === undefined) throw failure(`unable to parse volume ID '${volumeId}'`);
    return { store: this.get(parsed.storage), name: parsed.name };
  }

  /** The volume of an id. @throws ApiError 500 when it, or its datastore, does not exist */
  async volume(volumeId: string): Promise<Volume> {
    const { store, name } = this.resolve(volumeId);
    return store.volume(name);
  }
}
