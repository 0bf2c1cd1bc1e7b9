// The child process that holds one model: llama.cpp lives and dies here, apart from the server.
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { Held, Refused } from "./held.ts";
import type { WorkerReply, WorkerRequest } from "./protocol.ts";

const running = new Map<number, AbortController>();
let held: Held | undefined;

function send(reply: WorkerReply): void {
  process.send?.(reply);
}

async function load({ path, threads, contextTokens, slots }: Extract<WorkerRequest, { kind: "load" }>): Promise<void> {
  const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: threads ?? 0 });
  const model = await llama.loadModel({
    modelPath: path,
    useMmap: true,
    onLoadProgress: (ratio) => send({ kind: "progress", ratio }),
  });
  const size = Math.min(contextTokens, model.trainContextSize);
  const context = await model.createContext({
    contextSize: size,
    sequences: slots,
    ...(threads === undefined ? {} : { threads }),
  });
  const sequences = Array.from({ length: slots }, () => context.getSequence());
  held = new Held(llama, model, sequences, threads);
  send({ kind: "loaded", memoryBytes: model.size + context.memoryUsage.ram, contextTokens: context.contextSize });
}

async function serve(request: Exclude<WorkerRequest, { kind: "load" | "cancel" }>): Promise<void> {
  const stop = new AbortController();
  running.set(request.id, stop);
  try {
    if (held === undefined) throw new Error("no model is loaded");
    if (request.kind === "embed")
      send({ kind: "embeddings", id: request.id, embeddings: await held.embed(request.texts, request.truncate) });
    else {
      for await (const piece of held.generate(request.request, stop.signal))
        send({ kind: "piece", id: request.id, piece });
    }
  } catch (error) {
    send({ kind: "failed", id: request.id, message: messageOf(error), refused: error instanceof Refused });
  } finally {
    running.delete(request.id);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

process.on("message", (request: WorkerRequest) => {
  if (request.kind === "load") {
    load(request).catch((error: unknown) => send({ kind: "failed", message: messageOf(error), refused: false }));
  } else if (request.kind === "cancel") running.get(request.id)?.abort(new Error("cancelled"));
  else void serve(request);
});
// The server is gone: nobody is left to answer.
process.on("disconnect", () => process.exit(0));
