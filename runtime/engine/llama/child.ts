import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Fault } from "../../core/fault.ts";
import { Pipe } from "../../support/pipe.ts";
import type { Embeddings, GeneratePiece, GenerateRequest } from "../backend.ts";
import type { WorkerReply, WorkerRequest } from "./protocol.ts";

/** How a model is loaded. */
export interface ChildOptions {
  path: string;
  threads?: number;
  contextTokens: number;
  slots: number;
}

/** Last words of a dead child that go into the message, characters. */
const LAST_WORDS = 400;

/** Where the child's program is: beside this file in the sources, beside the bundle otherwise. */
const PROGRAM = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./llama-worker.mjs", import.meta.url),
);

/** Answers under way: pieces of a text, or vectors. */
interface Pending {
  piece?(piece: GeneratePiece): void;
  embeddings?(embeddings: Embeddings): void;
  fail(error: Error): void;
}

/** A model in a process of its own: what kills it costs the requests that it was working on, and no more. */
export class LlamaChild {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #gone: Promise<void>;
  readonly #died: (reason: string) => void;
  #ids = 0;
  #lastWords = "";
  #closing = false;
  #dead: string | undefined;
  #loading:
    | {
        progress: (ratio: number) => void;
        done(reply: Extract<WorkerReply, { kind: "loaded" }>): void;
        fail(error: Error): void;
      }
    | undefined;

  /** @param died told once when the process ends without having been asked to */
  constructor(died: (reason: string) => void) {
    this.#died = died;
    this.#child = fork(PROGRAM, [], {
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-LAST_WORDS);
    });
    this.#child.on("message", (reply) => this.#heard(reply as WorkerReply));
    this.#child.on("error", (error) => this.#ended(error.message));
    this.#gone = new Promise((resolve) => {
      this.#child.on("close", (code, signal) => {
        this.#ended(signal === null ? `exit code ${code ?? "unknown"}` : signal);
        resolve();
      });
    });
  }

  /** Process id; undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Loads the model. @throws Error when it cannot be loaded; the child is gone then */
  async load(
    options: ChildOptions,
    progress: (ratio: number) => void,
    signal: AbortSignal,
  ): Promise<{ memoryBytes: number; contextTokens: number }> {
    const stop = (): void => void this.close();
    signal.addEventListener("abort", stop, { once: true });
    try {
      signal.throwIfAborted();
      return await new Promise((resolve, reject) => {
        this.#loading = { progress, done: resolve, fail: reject };
        this.#send({ kind: "load", ...options });
        if (this.#dead !== undefined) reject(this.#fault());
      });
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      this.#loading = undefined;
      signal.removeEventListener("abort", stop);
    }
  }

  /** Streams an answer. @throws Fault model_failed when the child dies, invalid_request for what it cannot be asked */
  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GeneratePiece> {
    const id = ++this.#ids;
    const pipe = new Pipe<GeneratePiece>();
    let failure: Error | undefined;
    const cancel = (): void => {
      this.#send({ kind: "cancel", id });
      failure ??= signal.reason instanceof Error ? signal.reason : new Error("cancelled");
      pipe.end();
    };
    this.#pending.set(id, {
      piece: (piece) => {
        pipe.push(piece);
        if (piece.done !== undefined) pipe.end();
      },
      fail: (error) => {
        failure ??= error;
        pipe.end();
      },
    });
    signal.addEventListener("abort", cancel, { once: true });
    let done = false;
    try {
      signal.throwIfAborted();
      if (this.#dead !== undefined) throw this.#fault();
      this.#send({ kind: "generate", id, request });
      for await (const piece of pipe) {
        done ||= piece.done !== undefined;
        yield piece;
      }
      if (failure !== undefined) throw failure;
    } finally {
      signal.removeEventListener("abort", cancel);
      this.#pending.delete(id);
      if (!done) this.#send({ kind: "cancel", id });
    }
  }

  /** One vector a text. @throws Fault model_failed */
  embed(texts: readonly string[], signal: AbortSignal, truncate = false): Promise<Embeddings> {
    const id = ++this.#ids;
    return new Promise<Embeddings>((resolve, reject) => {
      if (this.#dead !== undefined) {
        reject(this.#fault());
        return;
      }
      this.#pending.set(id, { embeddings: resolve, fail: reject });
      signal.addEventListener("abort", () => reject(new Fault("cancelled", "the client went away")), { once: true });
      this.#send({ kind: "embed", id, texts, truncate });
    }).finally(() => this.#pending.delete(id));
  }

  /** Ends the process and waits until it is gone. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#child.kill("SIGKILL");
    await this.#gone;
  }

  #send(request: WorkerRequest): void {
    if (this.#dead === undefined && this.#child.connected) this.#child.send(request, () => undefined);
  }

  #heard(reply: WorkerReply): void {
    switch (reply.kind) {
      case "progress":
        this.#loading?.progress(reply.ratio);
        return;
      case "loaded":
        this.#loading?.done(reply);
        return;
      case "piece":
        this.#pending.get(reply.id)?.piece?.(reply.piece);
        return;
      case "embeddings":
        this.#pending.get(reply.id)?.embeddings?.(reply.embeddings);
        return;
      case "failed": {
        const error = new Fault(reply.refused ? "invalid_request" : "model_failed", reply.message);
        if (reply.id === undefined) this.#loading?.fail(error);
        else this.#pending.get(reply.id)?.fail(error);
      }
    }
  }

  #ended(how: string): void {
    if (this.#dead !== undefined) return;
    const words = this.#lastWords.trim();
    this.#dead = words === "" ? how : `${how}; its last words: ${words}`;
    const fault = this.#fault();
    this.#loading?.fail(fault);
    for (const pending of this.#pending.values()) pending.fail(fault);
    if (!this.#closing) this.#died(this.#dead);
  }

  #fault(): Fault {
    return new Fault("model_failed", `the process that held the model ended (${this.#dead ?? "unknown"})`);
  }
}
