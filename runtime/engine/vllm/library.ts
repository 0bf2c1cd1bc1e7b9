import { z } from "zod";
import { Fault } from "../../core/fault.ts";
import type { Library, LibraryEntry, ModelFacts, PullStep } from "../library.ts";
import type { UpstreamServer } from "../upstream/server.ts";

/** Longest wait for the list, ms. */
const ASK_MS = 10_000;

/** `GET /v1/models` of vLLM: `max_model_len` is its own addition, the window in tokens. Source: vLLM, OpenAI-compatible server. */
const Models = z.looseObject({
  data: z.array(
    z.looseObject({
      id: z.string(),
      created: z.number().optional(),
      max_model_len: z.int().positive().nullish(),
      root: z.string().nullish(),
    }),
  ),
});
type Served = z.output<typeof Models>["data"][number];

/** The models that a vLLM server was started with. It has no verbs that change them, tells no digest and no size. */
export class VllmLibrary implements Library {
  readonly #server: UpstreamServer;

  constructor(server: UpstreamServer) {
    this.#server = server;
  }

  async list(): Promise<readonly LibraryEntry[]> {
    const served = await this.served(AbortSignal.timeout(ASK_MS));
    return served.map((one) => ({
      name: one.id,
      facts: factsOf(one),
      modifiedAt: new Date((one.created ?? 0) * 1000),
    }));
  }

  async facts(name: string): Promise<ModelFacts | undefined> {
    const found = (await this.served(AbortSignal.timeout(ASK_MS))).find(({ id }) => id === name);
    return found === undefined ? undefined : factsOf(found);
  }

  /** What the server serves. @throws Fault model_unreachable */
  async served(signal: AbortSignal): Promise<readonly Served[]> {
    return (await this.#server.ask("GET", "/v1/models", Models, signal)).data;
  }

  async *pull(name: string): AsyncIterable<PullStep> {
    throw this.#fixed(`bring ${name}`);
  }

  async *create(name: string): AsyncIterable<PullStep> {
    throw this.#fixed(`make ${name}`);
  }

  copy(): Promise<void> {
    return Promise.reject(this.#fixed("copy a model"));
  }

  remove(): Promise<void> {
    return Promise.reject(this.#fixed("remove a model"));
  }

  #fixed(what: string): Fault {
    return new Fault(
      "not_supported",
      `the vLLM server at ${this.#server.at} cannot ${what}: it serves what it was started with; start it with \`vllm serve MODEL --served-model-name NAME\``,
    );
  }
}

function factsOf({ max_model_len, root, id }: Served): ModelFacts {
  return {
    sizeBytes: 0,
    format: "vllm",
    family: /[A-Za-z]+/.exec((root ?? id).split("/").at(-1) ?? "")?.[0]?.toLowerCase() ?? "",
    parameterSize: "",
    quantization: "",
    contextTokens: max_model_len ?? 0,
  };
}
