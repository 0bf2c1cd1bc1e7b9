import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { Fault } from "../../core/fault.ts";
import type { LibraryEntry, ModelFacts, PullStep, Weights, WeightsLibrary } from "../library.ts";
import { ggufFacts } from "./gguf-facts.ts";

/** What is remembered of a file, for as long as it is the same one. */
interface Seen {
  size: number;
  modifiedMs: number;
  facts: ModelFacts;
}

/** Models that were named with their files on the command line. Nothing of it can be changed from outside. */
export class FileLibrary implements WeightsLibrary {
  readonly #files: ReadonlyMap<string, string>;
  readonly #seen = new Map<string, Seen>();

  /** @param files absolute paths by model name */
  constructor(files: ReadonlyMap<string, string>) {
    this.#files = files;
  }

  async list(): Promise<readonly LibraryEntry[]> {
    const entries: LibraryEntry[] = [];
    for (const name of [...this.#files.keys()].toSorted()) {
      const { facts, modifiedMs } = await this.#read(name);
      entries.push({ name, facts, modifiedAt: new Date(modifiedMs) });
    }
    return entries;
  }

  async facts(name: string): Promise<ModelFacts | undefined> {
    return this.#files.has(name) ? (await this.#read(name)).facts : undefined;
  }

  /** Reads the whole file at its first load: the digest is that of the bytes that are loaded. */
  async weights(name: string, signal: AbortSignal): Promise<Weights> {
    const path = this.#files.get(name);
    if (path === undefined) throw new Fault("unknown_model", `model '${name}' has no file`);
    const seen = await this.#read(name);
    const digest = seen.facts.digest ?? (await sha256Of(path, signal));
    seen.facts = { ...seen.facts, digest };
    return { path, facts: { ...seen.facts, digest }, release: () => undefined };
  }

  async *pull(name: string): AsyncIterable<PullStep> {
    throw new Fault(
      "unknown_model",
      `model '${name}' is not among the files of this engine; start it with --model ${name}=FILE.gguf`,
    );
  }

  async *create(): AsyncIterable<PullStep> {
    throw fixed();
  }

  copy(): Promise<void> {
    return Promise.reject(fixed());
  }

  remove(): Promise<void> {
    return Promise.reject(fixed());
  }

  async #read(name: string): Promise<Seen> {
    const path = this.#files.get(name) ?? "";
    const { size, mtimeMs } = await stat(path);
    const known = this.#seen.get(name);
    if (known !== undefined && known.size === size && known.modifiedMs === mtimeMs) return known;
    const file = await open(path, "r");
    try {
      const seen: Seen = { size, modifiedMs: mtimeMs, facts: await ggufFacts(file) };
      this.#seen.set(name, seen);
      return seen;
    } finally {
      await file.close();
    }
  }
}

function fixed(): Fault {
  return new Fault("not_supported", "this engine serves the files that it was started with; start it with --store DIR");
}

async function sha256Of(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(path, { highWaterMark: 1_048_576, signal })) hash.update(part as Buffer);
  return hash.digest("hex");
}
