import { createHash } from "node:crypto";
import { CATALOGUE } from "../../contracts/catalogue.ts";
import { Fault } from "../../core/fault.ts";
import { sleep } from "../../support/clock.ts";
import type { CreateSource, Library, LibraryEntry, ModelFacts, PullOptions, PullStep } from "../library.ts";

/** Facts of a scripted model: the catalogue's, and a digest of its name. */
export function scriptedFacts(model: string): ModelFacts & { digest: string } {
  const known = CATALOGUE.find((entry) => entry.model === model);
  const millions = known?.parametersMillions ?? 0;
  return {
    digest: createHash("sha256").update(`scripted ${model}`).digest("hex"),
    sizeBytes: (known?.downloadMb ?? 0) * 1_000_000,
    format: "scripted",
    family: /^[a-z]+/i.exec(model)?.[0] ?? "scripted",
    parameterSize: millions >= 1000 ? `${millions / 1000}B` : `${millions}M`,
    quantization: "none",
    contextTokens: 32_768,
  };
}

/** Models without weights: whatever is named is there, until it is removed. Copies play what they were copied from. */
export class ScriptedLibrary implements Library {
  readonly #since = new Date();
  readonly #listed = new Map<string, Date>(CATALOGUE.map(({ model }) => [model, this.#since]));
  readonly #copies = new Map<string, string>();
  readonly #removed = new Set<string>();

  /** The model whose part a name plays. */
  played(name: string): string {
    return this.#copies.get(name) ?? name;
  }

  list(): Promise<readonly LibraryEntry[]> {
    const entries = [...this.#listed].map(([name, modifiedAt]) => ({
      name,
      facts: scriptedFacts(this.played(name)),
      modifiedAt,
    }));
    return Promise.resolve(entries.toSorted((a, b) => (a.name < b.name ? -1 : 1)));
  }

  facts(name: string): Promise<ModelFacts | undefined> {
    return Promise.resolve(this.#removed.has(name) ? undefined : scriptedFacts(this.played(name)));
  }

  async *pull(name: string, { signal }: PullOptions): AsyncIterable<PullStep> {
    const { digest } = scriptedFacts(name);
    const totalBytes = 1_048_576;
    yield { status: "pulling manifest" };
    for (let part = 0; part <= 4; part++) {
      await sleep(1, signal);
      yield {
        status: `pulling ${digest.slice(0, 12)}`,
        digest: `sha256:${digest}`,
        totalBytes,
        completedBytes: (totalBytes * part) / 4,
      };
    }
    yield { status: "verifying sha256 digest" };
    yield { status: "writing manifest" };
    this.#add(name);
  }

  async *create(name: string, source: CreateSource): AsyncIterable<PullStep> {
    if (source.from === undefined)
      throw new Fault("not_supported", "the scripted backend has no weights: want `from` with a model's name");
    await this.copy(source.from, name);
    yield { status: "writing manifest" };
  }

  async copy(from: string, to: string): Promise<void> {
    if ((await this.facts(from)) === undefined) throw absent(from);
    this.#copies.set(to, this.played(from));
    this.#add(to);
  }

  async remove(name: string): Promise<void> {
    if ((await this.facts(name)) === undefined) throw absent(name);
    this.#removed.add(name);
    this.#listed.delete(name);
    this.#copies.delete(name);
  }

  #add(name: string): void {
    this.#removed.delete(name);
    this.#listed.set(name, new Date());
  }
}

function absent(name: string): Fault {
  return new Fault("unknown_model", `model '${name}' not found`);
}
