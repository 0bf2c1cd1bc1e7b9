import { open, stat } from "node:fs/promises";
import { ModelStoreSchema, type ModelStoreInput, type ModelStoreSettings } from "../../contracts/model-store-config.ts";
import { Fault } from "../../core/fault.ts";
import type {
  CreateSource,
  LibraryEntry,
  ModelFacts,
  PullOptions,
  PullStep,
  Weights,
  WeightsLibrary,
} from "../library.ts";
import { factsOf, settingsOf } from "./assemble.ts";
import { Blobs } from "./blobs.ts";
import { createModel, pullModel, type Workshop } from "./bring.ts";
import { hexOf } from "./digest.ts";
import { Follower } from "./follower.ts";
import { openWire, type Wire } from "./host-client.ts";
import { inspectWeights } from "./inspect.ts";
import { StoreFolder } from "./layout.ts";
import { weightsOf } from "./manifest.ts";
import { type ModelName, nameKey, parseModelName, shortName } from "./name.ts";
import { digestsOf, type ModelRecord, Records } from "./records.ts";
import { Resolver } from "./resolve.ts";
import { Rooms } from "./room.ts";
import { SharedJobs } from "./shared.ts";
import { parseSource, sourceOfName } from "./source.ts";

/** What a store is opened with. */
export interface StoreOptions {
  settings?: ModelStoreInput;
  /** Where tokens are looked up. @default no token is known */
  env?: Readonly<Record<string, string | undefined>>;
  /** Memory that a model may take, bytes. Absent: models are kept whatever they need, as on a node that only fetches. */
  memoryBytes?: number;
  /** Told of each model that was removed to make room. */
  removed?: (name: string) => void;
}

/** What was found of one model's bytes. */
export interface Verified {
  name: string;
  /** Absent: all bytes are what their digests say. */
  flaw?: string;
}

const DAY_MS = 86_400_000;

/** Models on a volume: bytes by their digests, names that point to them. Several processes may use one folder at the same time. */
export class ModelStore implements WeightsLibrary {
  readonly #folder: StoreFolder;
  readonly #settings: ModelStoreSettings;
  readonly #records: Records;
  readonly #shop: Workshop;
  readonly #rooms: Rooms;
  readonly #wire: Wire;
  readonly #jobs = new SharedJobs();
  /** Blobs whose bytes this process has compared with their digest, and the file that they were in then. */
  readonly #sound = new Map<string, string>();

  private constructor(folder: StoreFolder, settings: ModelStoreSettings, options: StoreOptions) {
    this.#folder = folder;
    this.#settings = settings;
    this.#records = new Records(folder, settings.registry);
    this.#rooms = new Rooms(folder, this.#records, settings, options.removed ?? (() => undefined));
    this.#wire = openWire(settings, options.env ?? {});
    this.#shop = {
      folder,
      records: this.#records,
      blobs: new Blobs(folder, settings, this.#rooms),
      resolver: new Resolver(settings, this.#wire),
      show: (name) => shortName(name, settings.registry),
      ...(options.memoryBytes === undefined ? {} : { memoryBytes: options.memoryBytes }),
    };
  }

  /**
   * Opens a store, and makes its folder where there is none. One that may not be written to serves what it has.
   * @throws Error naming --store when there is no such folder; ZodError for settings that are none
   */
  static async open(path: string, options: StoreOptions = {}): Promise<ModelStore> {
    const settings = ModelStoreSchema.parse(options.settings ?? {});
    const folder = await StoreFolder.open(path, settings.readOnly);
    const store = new ModelStore(folder, settings, options);
    if (folder.writable) {
      await folder.sweep(settings.partialDays * DAY_MS, Date.now());
      // A manifest that cannot be read keeps all bytes where they are; `list` and `verify` say so.
      await store.#records.collect(never()).catch(() => 0);
    }
    return store;
  }

  /** Whether the verbs that change it work. */
  get writable(): boolean {
    return this.#folder.writable;
  }

  async list(): Promise<readonly LibraryEntry[]> {
    const entries: LibraryEntry[] = [];
    for (const record of await this.#records.all()) {
      const facts = await this.#facts(record).catch(() => undefined);
      if (facts !== undefined) entries.push({ name: record.shown, facts, modifiedAt: new Date(record.modifiedMs) });
    }
    return entries;
  }

  async facts(name: string): Promise<ModelFacts | undefined> {
    const record = await this.#find(name);
    return record === undefined ? undefined : this.#facts(record);
  }

  async *pull(name: string, { digest, source, profile, signal }: PullOptions): AsyncIterable<PullStep> {
    this.#folder.requireWritable(`pull ${name}`);
    const wanted = this.#name(name);
    const from = source === undefined ? sourceOfName(wanted) : parseSource(source, (text) => this.#name(text));
    const hex = digest === undefined ? wanted.digest : hexOf(`sha256:${digest}`);
    if (digest !== undefined && wanted.digest !== undefined && wanted.digest !== hex)
      throw new Fault("invalid_request", `pull ${name}: the name is pinned to another digest than sha256:${digest}`);
    // What is pinned and here cannot be anything else at its place.
    if (hex !== undefined && (await this.has(name, hex))) {
      yield { status: "already here", digest: `sha256:${hex}` };
      return;
    }
    const key = JSON.stringify([nameKey(wanted), from, hex, profile]);
    yield* this.#jobs.follow(key, signal, (tell, stop) =>
      pullModel({ name: wanted, source: from, hex, profile }, this.#shop, tell, stop),
    );
  }

  /** Whether a model is here with all its bytes. @param hex digest of its weights or of the manifest it was pulled by. Absent: any */
  async has(name: string, hex?: string): Promise<boolean> {
    const record = await this.#records.read(this.#name(name)).catch(() => undefined);
    if (record === undefined) return false;
    const { config, layers, pulledHex } = record.manifest;
    const digests = weightsOf(record.manifest, record.shown).map(({ digest }) => hexOf(digest));
    if (hex !== undefined && pulledHex !== hex && !digests.includes(hex)) return false;
    for (const { digest, size } of [config, ...layers])
      if ((await this.#shop.blobs.has(hexOf(digest))) !== size) return false;
    return true;
  }

  async *create(name: string, source: CreateSource, signal: AbortSignal): AsyncIterable<PullStep> {
    this.#folder.requireWritable(`create ${name}`);
    const wanted = this.#unpinned(name);
    const from = source.from === undefined ? undefined : this.#name(source.from);
    const key = `create ${nameKey(wanted)} ${JSON.stringify(source)}`;
    yield* this.#jobs.follow(key, signal, (tell, stop) => createModel(wanted, source, from, this.#shop, tell, stop));
  }

  async copy(from: string, to: string): Promise<void> {
    this.#folder.requireWritable(`copy ${from}`);
    const target = this.#unpinned(to);
    const record = await this.#find(from);
    if (record === undefined) throw absent(from);
    const manifest = { ...record.manifest, name: shortName(target, this.#settings.registry) };
    if (!(await this.#records.put(target, manifest, never()))) throw absent(from);
  }

  async remove(name: string): Promise<void> {
    this.#folder.requireWritable(`remove ${name}`);
    const wanted = this.#unpinned(name);
    const record = await this.#records.read(wanted).catch(() => undefined);
    if (!(await this.#records.remove(wanted, never()))) throw absent(name);
    if (record !== undefined) await this.#records.collect(never(), new Set(digestsOf(record)));
  }

  async hasBlob(digest: string): Promise<boolean> {
    return (await this.#shop.blobs.has(hexOf(digest))) !== undefined;
  }

  async putBlob(digest: string, bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    this.#folder.requireWritable(`blob ${digest.slice(0, 19)}`);
    const hex = hexOf(digest);
    const quiet = { signal, tell: () => undefined, check: () => Promise.resolve() };
    await this.#shop.blobs.importBytes(bytes, { what: digest.slice(0, 19), hex }, quiet).catch((error: unknown) => {
      if (!(error instanceof Fault) || error.code !== "bad_model") throw error;
      // Whoever sent them named them wrongly.
      throw new Fault("invalid_request", error.message, { cause: error });
    });
  }

  async weights(name: string, signal: AbortSignal): Promise<Weights> {
    const record = await this.#find(name);
    if (record === undefined) throw absent(name);
    const [layer] = weightsOf(record.manifest, record.shown);
    const hex = hexOf(layer.digest);
    const held = await this.#records.hold(hex);
    const release = (): void => void held?.release().catch(() => undefined);
    try {
      const facts = await this.#facts(record);
      await inspectWeights({ path: this.#folder.blob(hex), layer, what: record.shown });
      if (this.#settings.verifyAtLoad) await this.#requireSound(hex, layer.size, record.shown, signal);
      await this.#records.touch(record.name);
      return { path: this.#folder.blob(hex), facts: { ...facts, digest: hex }, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Compares all bytes of models with their digests. @param name absent: of all of them */
  async *verify(name: string | undefined, signal: AbortSignal): AsyncIterable<Verified> {
    const one = name === undefined ? undefined : await this.#find(name);
    if (name !== undefined && one === undefined) throw absent(name);
    for (const record of one === undefined ? await this.#records.all() : [one]) {
      try {
        for (const { digest, size } of [record.manifest.config, ...record.manifest.layers]) {
          this.#sound.delete(hexOf(digest));
          await this.#requireSound(hexOf(digest), size, record.shown, signal);
        }
        await factsOf(this.#folder, record.manifest, record.shown);
        yield { name: record.shown };
      } catch (error) {
        signal.throwIfAborted();
        yield { name: record.shown, flaw: error instanceof Error ? error.message : "unreadable" };
      }
    }
  }

  /** Removes bytes that no name needs. @returns how many are free now */
  async collect(signal: AbortSignal): Promise<number> {
    this.#folder.requireWritable("collect");
    return this.#records.collect(signal);
  }

  /** Bytes that the store takes on the disk. */
  usedBytes(): Promise<number> {
    return this.#rooms.usedBytes();
  }

  /** Stops what is under way; what was fetched is gone on with next time. */
  async close(): Promise<void> {
    this.#jobs.close();
    await this.#wire.agent.close();
  }

  #name(text: string): ModelName {
    return parseModelName(text, this.#settings.registry);
  }

  #unpinned(text: string): ModelName {
    const name = this.#name(text);
    if (name.digest === undefined) return name;
    throw new Fault(
      "invalid_request",
      `model: ${shortName(name)} is written with a digest, which only a pull and a load take`,
    );
  }

  /** A model by its name, and where the name is pinned by its digest. */
  async #find(text: string): Promise<ModelRecord | undefined> {
    const name = this.#name(text);
    const record = await this.#records.read(name);
    if (record === undefined || name.digest === undefined || record.manifest.pulledHex === name.digest) return record;
    return weightsOf(record.manifest, record.shown).some(({ digest }) => hexOf(digest) === name.digest)
      ? record
      : undefined;
  }

  async #facts(record: ModelRecord): Promise<ModelFacts> {
    const { manifest, shown } = record;
    const facts = manifest.facts ?? (await factsOf(this.#folder, manifest, shown));
    const settings = manifest.settings ?? (await settingsOf(this.#folder, manifest, shown));
    return settings === undefined ? facts : { ...facts, settings };
  }

  /** Sees that a blob's bytes have its digest; a file that was seen once and is the same one is not read again. @throws Fault bad_model */
  async #requireSound(hex: string, size: number, what: string, signal: AbortSignal): Promise<void> {
    const path = this.#folder.blob(hex);
    const seen = await stat(path).catch((cause: unknown) => {
      throw new Fault("bad_model", `${what}: sha256:${hex.slice(0, 12)} is missing from the store; pull it again`, {
        cause,
      });
    });
    const mark = [seen.dev, seen.ino, seen.size, seen.mtimeMs, seen.ctimeMs].join(" ");
    if (this.#sound.get(hex) === mark) return;
    const file = await open(path, "r");
    const follower = new Follower(file);
    const stop = (): void => void follower.close();
    signal.addEventListener("abort", stop, { once: true });
    try {
      const found = seen.size === size ? await follower.digest(size) : undefined;
      signal.throwIfAborted();
      if (found !== hex)
        throw new Fault(
          "bad_model",
          `${what}: ${found === undefined ? `its file has ${seen.size} bytes, want ${size}` : `its bytes have digest sha256:${found}, want sha256:${hex}`}; the store is damaged: remove it and pull it again`,
        );
      this.#sound.set(hex, mark);
    } finally {
      signal.removeEventListener("abort", stop);
      await follower.close();
      await file.close();
    }
  }
}

function absent(name: string): Fault {
  return new Fault("unknown_model", `model '${name}' not found`);
}

function never(): AbortSignal {
  return new AbortController().signal;
}
