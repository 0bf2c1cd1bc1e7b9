import { z } from "zod";
import { OllamaPullProgress, OllamaTags } from "../../contracts/ollama.ts";
import { Fault } from "../../core/fault.ts";
import { jsonOf } from "../../support/json.ts";
import { errorWords } from "../../support/server-answer.ts";
import type { CreateSource, Library, LibraryEntry, ModelFacts, PullOptions, PullStep } from "../library.ts";
import type { UpstreamServer } from "../upstream/server.ts";

/** Longest wait for a list or the facts of a model, ms. */
const ASK_MS = 10_000;

const Nothing = z.looseObject({});
/** What is read of `/api/show`: `model_info` has the window as `ARCHITECTURE.context_length`. */
const Show = z.looseObject({ model_info: z.record(z.string(), z.unknown()).default({}) });
/** A model as the server lists it. */
export type OllamaTag = OllamaTags["models"][number];

/** A model's name with its tag: Ollama takes `latest` where there is none. */
export function tagged(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1).includes(":") ? name : `${name}:latest`;
}

/** A digest as 64 hex digits, whether a server writes `sha256:` before it or not; undefined for anything else. */
export function bareDigest(digest: string | undefined): string | undefined {
  return /^(?:sha256:)?([0-9a-f]{64})$/.exec(digest ?? "")?.[1];
}

/** The models of an Ollama server, and its own verbs. The digest of a model is the one that the server tells, that of its manifest. */
export class OllamaLibrary implements Library {
  readonly #server: UpstreamServer;
  readonly #windows = new Map<string, Promise<number>>();

  constructor(server: UpstreamServer) {
    this.#server = server;
  }

  async list(): Promise<readonly LibraryEntry[]> {
    const tags = await this.#tags(AbortSignal.timeout(ASK_MS));
    return Promise.all(
      tags.map(async (tag) => ({
        name: tag.name,
        facts: await this.#factsOf(tag),
        modifiedAt: new Date(tag.modified_at ?? 0),
      })),
    );
  }

  async facts(name: string): Promise<ModelFacts | undefined> {
    const tag = await this.tag(name, AbortSignal.timeout(ASK_MS));
    return tag === undefined ? undefined : this.#factsOf(tag);
  }

  /** What the server lists of a model; undefined when it has none of that name. @throws Fault model_unreachable */
  async tag(name: string, signal: AbortSignal): Promise<OllamaTag | undefined> {
    return (await this.#tags(signal)).find((tag) => tagged(tag.name) === tagged(name));
  }

  async *pull(name: string, { digest, source, signal }: PullOptions): AsyncIterable<PullStep> {
    yield* this.#steps("/api/pull", { model: source ?? name, stream: true }, signal);
    if (source !== undefined && tagged(source) !== tagged(name)) await this.copy(source, name);
    if (digest === undefined) return;
    const has = bareDigest((await this.tag(name, signal))?.digest);
    if (has !== bareDigest(digest)) throw drifted(name, digest, has);
  }

  async *create(name: string, source: CreateSource, signal: AbortSignal): AsyncIterable<PullStep> {
    if (source.path !== undefined)
      throw new Fault(
        "not_supported",
        "the model server is elsewhere: put the file's bytes first, then name their digest",
      );
    const { system, template, parameters, license } = source.settings ?? {};
    const given = { from: source.from, files: source.files, system, template, parameters, license };
    const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    yield* this.#steps("/api/create", { model: name, stream: true, ...set }, signal);
  }

  async copy(from: string, to: string): Promise<void> {
    const body = { source: from, destination: to };
    await this.#server.ask("POST", "/api/copy", Nothing, AbortSignal.timeout(ASK_MS), body);
  }

  async remove(name: string): Promise<void> {
    await this.#server.ask("DELETE", "/api/delete", Nothing, AbortSignal.timeout(ASK_MS), { model: name });
  }

  async hasBlob(digest: string): Promise<boolean> {
    const status = await this.#server.status("HEAD", `/api/blobs/${blobName(digest)}`, AbortSignal.timeout(ASK_MS));
    return status === 200;
  }

  async putBlob(digest: string, bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    await this.#server.put(`/api/blobs/${blobName(digest)}`, bytes, signal);
  }

  async #tags(signal: AbortSignal): Promise<OllamaTag[]> {
    return (await this.#server.ask("GET", "/api/tags", OllamaTags, signal)).models;
  }

  async #factsOf(tag: OllamaTag): Promise<ModelFacts> {
    const digest = bareDigest(tag.digest);
    const { format = "", family = "", parameter_size = "", quantization_level = "" } = tag.details ?? {};
    return {
      ...(digest === undefined ? {} : { digest }),
      sizeBytes: tag.size ?? 0,
      format,
      family,
      parameterSize: parameter_size,
      quantization: quantization_level,
      contextTokens: await this.#window(tag),
    };
  }

  /** The window that a model was trained for, asked once for each digest; 0 where the server does not tell. */
  #window(tag: OllamaTag): Promise<number> {
    const key = `${tag.name} ${tag.digest ?? ""}`;
    let known = this.#windows.get(key);
    if (known === undefined) {
      const signal = AbortSignal.timeout(ASK_MS);
      known = this.#server.ask("POST", "/api/show", Show, signal, { model: tag.name }).then(({ model_info }) => {
        const [, length] = Object.entries(model_info).find(([name]) => name.endsWith(".context_length")) ?? [];
        return typeof length === "number" ? length : 0;
      });
      this.#windows.set(key, known);
      known.catch(() => this.#windows.delete(key));
    }
    return known;
  }

  async *#steps(path: string, body: unknown, signal: AbortSignal): AsyncIterable<PullStep> {
    for await (const line of this.#server.lines(path, body, signal)) {
      const step = OllamaPullProgress.safeParse(jsonOf(line));
      if (!step.success) {
        const words = errorWords(line);
        throw words === undefined
          ? this.#server.bad("a line that is no step of its work")
          : this.#server.brokeOff(words);
      }
      const { status, digest, total, completed } = step.data;
      // Whoever asks says so itself when all is done.
      if (status === "success") return;
      yield {
        status,
        ...(digest === undefined ? {} : { digest }),
        ...(total === undefined ? {} : { totalBytes: total }),
        ...(completed === undefined ? {} : { completedBytes: completed }),
      };
    }
    throw this.#server.brokeOff("the stream ended before the work");
  }
}

/** The fault of a model that is another one than the pinned. */
export function drifted(name: string, want: string, has: string | undefined): Fault {
  const got = has === undefined ? "a model without a digest" : has;
  return new Fault(
    "model_failed",
    `${name}: the server has ${got}, want the pinned ${bareDigest(want) ?? want}; pull it again, or change the pin`,
  );
}

/** @throws Fault invalid_request for what is no digest: it becomes part of a path */
function blobName(digest: string): string {
  const bare = bareDigest(digest);
  if (bare === undefined) throw new Fault("invalid_request", `digest: want sha256: and 64 hex digits`);
  return `sha256:${bare}`;
}
