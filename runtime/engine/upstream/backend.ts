import type { EngineConfig } from "../../contracts/engine-config.ts";
import type { Backend } from "../backend.ts";
import { ollamaBackend } from "../ollama/backend.ts";
import { vllmBackend } from "../vllm/backend.ts";

/** Settings that a backend over another server reads. The CPU limit of this container says nothing about that server's threads. */
export type UpstreamConfig = Pick<EngineConfig, "upstream" | "upstreamKey" | "threads" | "contextTokens" | "models">;

/** The backend over a server elsewhere. @throws Error that names the setting */
export function upstreamBackend(kind: "ollama" | "vllm", config: UpstreamConfig): Backend {
  const { upstream, upstreamKey, threads, contextTokens, models } = config;
  if (upstream === undefined)
    throw new Error(
      `--backend ${kind}: want --upstream with the address of the server, such as http://127.0.0.1:11434`,
    );
  const pins = new Map(models.flatMap(({ name, digest }) => (digest === undefined ? [] : [[name, digest] as const])));
  const server = { url: upstream, pins, ...(upstreamKey === undefined ? {} : { key: upstreamKey }) };
  if (kind === "vllm") return vllmBackend(server);
  return ollamaBackend({ ...server, contextTokens, ...(threads === undefined ? {} : { threads }) });
}
