import type { Embeddings, GeneratePiece, GenerateRequest } from "../backend.ts";

/** What the engine sends to the child process that holds one model. */
export type WorkerRequest =
  | {
      kind: "load";
      /** The model's file. */
      path: string;
      /** Threads of the inference; absent: llama.cpp's own choice. */
      threads?: number;
      /** Tokens of one conversation's window. */
      contextTokens: number;
      /** Answers written at the same time. */
      slots: number;
    }
  | { kind: "generate"; id: number; request: GenerateRequest }
  | { kind: "embed"; id: number; texts: readonly string[]; truncate: boolean }
  | { kind: "cancel"; id: number };

/** What the child process sends back. */
export type WorkerReply =
  | { kind: "progress"; ratio: number }
  | {
      kind: "loaded";
      /** Memory of weights and windows, bytes. */
      memoryBytes: number;
      /** Tokens that one conversation's window really holds. */
      contextTokens: number;
    }
  | { kind: "piece"; id: number; piece: GeneratePiece }
  | { kind: "embeddings"; id: number; embeddings: Embeddings }
  /** A request that failed, or the load where there is no `id`. `refused`: the caller's fault. */
  | { kind: "failed"; id?: number; message: string; refused: boolean };
