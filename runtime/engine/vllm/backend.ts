import { z } from "zod";
import { Fault } from "../../core/fault.ts";
import type { Backend, GeneratePiece, GenerateRequest, LoadedModel } from "../backend.ts";
import { untilReached } from "../upstream/reach.ts";
import { UpstreamServer, type UpstreamServerOptions } from "../upstream/server.ts";
import { VIGIL, Vigil, type VigilOptions } from "../upstream/vigil.ts";
import { VllmLibrary } from "./library.ts";
import { callOf, piecesOf } from "./wire.ts";

/** How models of a vLLM server are used. */
export interface VllmOptions extends UpstreamServerOptions {
  /** Digests that models must have, by name. vLLM tells none, so a model with one is never loaded. */
  pins?: ReadonlyMap<string, string>;
  /** Longest wait for a server that does not answer at a load, ms; vLLM takes minutes to start. @default 600000 */
  reachMs?: number;
  vigil?: VigilOptions;
}

const REACH_MS = 600_000;
const Embedded = z.looseObject({
  data: z.array(z.looseObject({ index: z.int(), embedding: z.array(z.number()) })),
  usage: z.looseObject({ prompt_tokens: z.int().min(0) }).nullish(),
});

/** Inference by a vLLM server elsewhere. Its model is in memory for as long as it runs: a load looks that it works, an unload leaves it alone. */
export function vllmBackend(options: VllmOptions): Backend {
  const server = new UpstreamServer(options);
  const library = new VllmLibrary(server);
  const vigilOptions = options.vigil ?? VIGIL;
  return {
    name: "vllm",
    library,
    load: async (model, progress, signal) => {
      const pin = options.pins?.get(model);
      if (pin !== undefined)
        throw new Fault("model_failed", `${model}: is pinned to ${pin}, but vLLM tells no digests; take the pin away`);
      await untilReached(() => ready(server, signal), signal, options.reachMs ?? REACH_MS);
      const served = await library.served(signal);
      if (!served.some(({ id }) => id === model)) {
        const names = served.map(({ id }) => id).join(", ");
        throw new Fault(
          "unknown_model",
          `model '${model}' is not among those of ${server.at}: ${names === "" ? "none" : names}`,
        );
      }
      await warm(server, model, signal);
      progress(1);
      return loaded(server, library, model, vigilOptions);
    },
  };
}

/** @throws Fault model_unreachable, model_loading while the server starts or fails */
async function ready(server: UpstreamServer, signal: AbortSignal): Promise<void> {
  const status = await server.status("GET", "/health", signal);
  if (status !== 200) throw new Fault("model_loading", `${server.at} answered ${status} when asked for its health`);
}

/** Has one token written. @throws Fault */
async function warm(server: UpstreamServer, model: string, signal: AbortSignal): Promise<void> {
  const ask: GenerateRequest = { messages: [{ role: "user", content: "Hello" }], maxTokens: 1 };
  for await (const { done } of generate(server, model, ask, signal)) {
    if ((done?.answerTokens ?? 0) > 0) return;
  }
  throw new Fault("model_failed", `${server.at}: ${model} produced no token`);
}

function generate(
  server: UpstreamServer,
  model: string,
  request: GenerateRequest,
  signal: AbortSignal,
): AsyncIterable<GeneratePiece> {
  const { path, body } = callOf(model, request);
  return piecesOf(server, server.lines(path, body, signal), request.choices);
}

function loaded(server: UpstreamServer, library: VllmLibrary, model: string, vigilOptions: VigilOptions): LoadedModel {
  const vigil = new Vigil(vigilOptions, async (signal) => {
    await ready(server, signal);
    const served = await library.served(signal);
    return served.some(({ id }) => id === model) ? undefined : `${server.at} serves ${model} no longer`;
  });
  return {
    // What it takes there is no memory of this machine.
    memoryBytes: 0,
    gone: vigil.gone,
    generate: (request, signal) => watched(request, signal),
    embed: async (texts, signal, truncate = false) => {
      // -1 cuts at the window. Source: vLLM, `truncate_prompt_tokens`.
      const cut = truncate ? { truncate_prompt_tokens: -1 } : {};
      const body = { model, input: texts, encoding_format: "float", ...cut };
      const { data, usage } = await server.ask("POST", "/v1/embeddings", Embedded, signal, body);
      const vectors = data.toSorted((a, b) => a.index - b.index).map(({ embedding }) => embedding);
      return { vectors, promptTokens: usage?.prompt_tokens ?? 0 };
    },
    unload: () => {
      vigil.end();
      return Promise.resolve();
    },
  };

  async function* watched(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GeneratePiece> {
    try {
      yield* generate(server, model, request, AbortSignal.any([signal, vigil.lost]));
    } catch (error) {
      throw vigil.judged(error, signal, model);
    }
  }
}
