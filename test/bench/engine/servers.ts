import { createHash } from "node:crypto";
import { createReadStream, openAsBlob } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import type { Report } from "../../../infra/lab/tools/cache.ts";
import { repositoryRoot } from "../../../infra/lab/tools/paths.ts";
import { freePort } from "../peers/gateway.ts";
import { OLLAMA_VERSION, ollamaProgram, startOllama } from "../peers/ollama.ts";

/** A model server with the Ollama API on this machine. */
export interface ModelServer {
  name: string;
  url: string;
  /** Headers of requests that change it. */
  headers: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** How a server is started. */
export interface ServerOptions {
  /** Words before its command. */
  prefix?: readonly string[];
  /** Threads of the inference. Absent: as the server chooses. */
  threads?: number;
  /** Window of a model, tokens. */
  contextTokens: number;
  /** Answers written at the same time by one model. */
  slots: number;
}

/** One of the two that are measured. */
export interface Contestant {
  name: string;
  start(options: ServerOptions): Promise<ModelServer>;
}

const START_WITHIN_MS = 120_000;
const TOKEN = "token-of-the-benchmark";

/** Our engine as its command starts it, with an empty store. */
export const gorkheavyEngine: Contestant = {
  name: "gorkheavy",
  async start({ prefix = [], threads, contextTokens, slots }) {
    const store = await mkdtemp(join(tmpdir(), "gorkheavy-store-"));
    const [port, ollamaPort] = [await freePort(), await freePort()];
    const flags = [
      ...["--store", store, "--port", `${port}`, "--ollama-port", `${ollamaPort}`, "--log-level", "error"],
      ...["--context", `${contextTokens}`, "--slots", `${slots}`, "--wait-ms", "600000"],
      ...(threads === undefined ? [] : ["--threads", `${threads}`]),
    ];
    const [command = "node", ...args] = [...prefix, process.execPath, "runtime/engine/main.ts", ...flags];
    const child = execa(command, args, {
      cwd: repositoryRoot,
      env: { GORKHEAVY_ADMIN_TOKEN: TOKEN },
      reject: false,
      buffer: false,
      stdin: "ignore",
      all: true,
      forceKillAfterDelay: 10_000,
    });
    let words = "";
    child.all.on("data", (part: Buffer) => (words = `${words}${part.toString()}`.slice(-4_000)));
    const ended = { yes: false };
    const end = child.then(() => (ended.yes = true));
    const stop = async (): Promise<void> => {
      child.kill();
      await end;
      await rm(store, { recursive: true, force: true });
    };
    const url = `http://127.0.0.1:${ollamaPort}`;
    const began = performance.now();
    while (!(await answers(url))) {
      if (ended.yes || performance.now() - began > START_WITHIN_MS) {
        await stop();
        throw new Error(`the engine did not answer; its last words:\n${words}`);
      }
      await delay(20);
    }
    return { name: "gorkheavy", url, headers: { authorization: `Bearer ${TOKEN}` }, stop };
  },
};

/** Ollama, built the first time. It keeps what it loaded; its threads are set in each request. @throws Error that says why it cannot be had */
export async function ollamaContestant(report: Report): Promise<Contestant> {
  const program = await ollamaProgram(report);
  const name = `Ollama ${OLLAMA_VERSION.slice(1)}`;
  return {
    name,
    start: async ({ prefix, contextTokens, slots }) => {
      const env = {
        OLLAMA_NUM_PARALLEL: `${slots}`,
        OLLAMA_CONTEXT_LENGTH: `${contextTokens}`,
        OLLAMA_KEEP_ALIVE: "-1",
      };
      const server = await startOllama(program, { ...(prefix === undefined ? {} : { prefix }), env });
      return { name, url: server.url, headers: {}, stop: () => server.stop() };
    },
  };
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/api/version`, { signal: AbortSignal.timeout(5_000) })).ok;
  } catch {
    return false;
  }
}

/** Sends a GGUF file and makes a model of it, by the verbs that both have. @throws Error in the server's words */
export async function createModel(server: ModelServer, model: string, file: string): Promise<void> {
  const digest = `sha256:${await digestOf(file)}`;
  await post(server, `/api/blobs/${digest}`, await openAsBlob(file));
  await post(server, "/api/create", JSON.stringify({ model, files: { "model.gguf": digest }, stream: false }));
}

/** Gives a model another name, also one that stood for another model. @throws Error in the server's words */
export function copyModel(server: ModelServer, source: string, destination: string): Promise<void> {
  return post(server, "/api/copy", JSON.stringify({ source, destination }));
}

async function post(server: ModelServer, path: string, body: string | Blob): Promise<void> {
  const response = await fetch(`${server.url}${path}`, { method: "POST", headers: server.headers, body });
  const text = await response.text();
  if (!response.ok || /"error"/.test(text))
    throw new Error(`${server.name}, ${path}: ${response.status} ${text.slice(0, 500)}`);
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(file, { highWaterMark: 1_048_576 })) hash.update(part as Buffer);
  return hash.digest("hex");
}
