import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ModelStoreSettings } from "../../contracts/model-store-config.ts";
import { Fault } from "../../core/fault.ts";
import { type Kept, planEviction } from "./budget.ts";
import { fullDisk } from "./download.ts";
import { type StoreFolder, whenAbsent } from "./layout.ts";
import { type ModelName, nameKey, parseModelName } from "./name.ts";
import { digestsOf, type ModelRecord, type Records, sameName } from "./records.ts";

/** Room that a download has been given. */
export interface Room {
  /** Gives back what was not used. */
  done(): void;
}

/** Keeps a store within its budget and the disk. */
export class Rooms {
  readonly #folder: StoreFolder;
  readonly #records: Records;
  readonly #settings: ModelStoreSettings;
  readonly #removed: (name: string) => void;
  #promisedBytes = 0;
  #turn: Promise<unknown> = Promise.resolve();

  /** @param removed told of each model that had to go */
  constructor(folder: StoreFolder, records: Records, settings: ModelStoreSettings, removed: (name: string) => void) {
    this.#folder = folder;
    this.#records = records;
    this.#settings = settings;
    this.#removed = removed;
  }

  /**
   * Makes room for so many bytes more. @param what is to come, for messages @param keep a name that must not go for it
   * @throws Fault store_full naming what there is and what is needed; nothing was removed then
   */
  make(what: string, bytes: number, keep: ModelName | undefined, signal: AbortSignal): Promise<Room> {
    const made = this.#turn.then(() => this.#make(what, bytes, keep, signal));
    this.#turn = made.catch(() => undefined);
    return made;
  }

  async #make(what: string, bytes: number, keep: ModelName | undefined, signal: AbortSignal): Promise<Room> {
    const { storeMaxBytes, reserveBytes } = this.#settings;
    if (storeMaxBytes !== undefined) await this.#withinBudget(what, bytes, storeMaxBytes, keep, signal);
    const free = (await this.#folder.freeBytes()) - reserveBytes - this.#promisedBytes;
    if (bytes > free) throw await fullDisk(this.#folder, bytes + reserveBytes + this.#promisedBytes, what);
    this.#promisedBytes += bytes;
    let isDone = false;
    return {
      done: () => {
        if (!isDone) this.#promisedBytes -= bytes;
        isDone = true;
      },
    };
  }

  async #withinBudget(
    what: string,
    bytes: number,
    mostBytes: number,
    keep: ModelName | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const used = await this.usedBytes();
    const records = await this.#records.all();
    const plan = planEviction(await this.#kept(records, keep), mostBytes - used - this.#promisedBytes, bytes);
    if (plan.shortBytes > 0)
      throw new Fault(
        "store_full",
        `${what}: needs ${bytes} bytes, the store holds ${used} of storeMaxBytes ${mostBytes}; ${plan.shortBytes} are missing even without the models that are neither loaded nor pinned; raise storeMaxBytes or remove a model`,
      );
    for (const key of plan.remove) {
      const record = records.find(({ name }) => nameKey(name) === key);
      if (record === undefined) continue;
      await this.#records.remove(record.name, signal);
      await this.#records.collect(signal, new Set(digestsOf(record)));
      this.#removed(record.shown);
    }
  }

  async #kept(records: readonly ModelRecord[], keep: ModelName | undefined): Promise<Kept[]> {
    const loaded = await this.#records.loaded();
    const pinned = this.#settings.pinned.map((text) => parseModelName(text, this.#settings.registry));
    return Promise.all(
      records.map(async (record) => ({
        name: nameKey(record.name),
        blobs: [record.manifest.config, ...record.manifest.layers].map(({ digest, size }) => ({ digest, bytes: size })),
        lastUsedMs: await this.#records.lastUsedMs(record),
        held:
          digestsOf(record).some((hex) => loaded.has(hex)) ||
          pinned.some((one) => sameName(one, record.name)) ||
          (keep !== undefined && sameName(keep, record.name)),
      })),
    );
  }

  /** Bytes of all that is kept, unfinished downloads too. */
  async usedBytes(): Promise<number> {
    const folder = join(this.#folder.path, "blobs");
    let sum = 0;
    for (const name of await readdir(folder).catch(whenAbsent<string[]>([])))
      sum += (await stat(join(folder, name)).catch(whenAbsent(undefined)))?.size ?? 0;
    return sum;
  }
}
