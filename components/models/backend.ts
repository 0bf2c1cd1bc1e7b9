import type * as k8s from "@pulumi/kubernetes";
import { z } from "zod";
import type { Profile, Resources } from "../../runtime/contracts/index.ts";
import { MODEL_PORT, STORE_PATH } from "../../runtime/contracts/index.ts";
import type { Probes } from "./probes.ts";
import type { WeightsRef } from "./weights.ts";

type Container = k8s.types.input.core.v1.Container;

/**
 * What answers in a model pod. `llama`: our engine with llama.cpp. `ollama`: an Ollama server. `vllm`: a vLLM server on a graphics card.
 * `scripted`: our engine with answers from a script, for tests.
 */
export const BackendSchema = z.enum(["llama", "ollama", "vllm", "scripted"]);
export type Backend = z.output<typeof BackendSchema>;

/** Our engine's own part of the store, by content: all models of a namespace share it. No member can have this name. */
export const ENGINE_STORE = `${STORE_PATH}/_store`;

/** Context window, tokens; what the orchestrator asks for by default, so that its first call re-loads nothing. */
export const CONTEXT_TOKENS = 4096;

/** Port of vLLM's OpenAI API. Source: vLLM, `vllm serve --port`. */
const VLLM_PORT = 8000;

/** Port of a backend's API behind the Service, and which API it is. */
export function apiOf(backend: Backend): { kind: "ollama" | "openai"; port: number } {
  return backend === "vllm" ? { kind: "openai", port: VLLM_PORT } : { kind: "ollama", port: MODEL_PORT };
}

/** What a backend's containers are made from. */
export interface BackendSpec extends WeightsRef {
  backend: Backend;
  /** Name of the model's Deployment. */
  name: string;
  image: string;
  profile: Profile;
  probes: Probes;
  limits: Resources["limits"];
  /** Whether the weights are in the store already, and nothing can be put there: an image's volume. */
  storeIsFixed: boolean;
  gpu: { resource: string; count: number } | undefined;
}

/** The containers of a model pod, without resources: those are the caller's. */
export interface BackendContainers {
  init: Container[];
  main: Container;
}

/** The store as pods have it. @param readOnly for whoever only serves from it */
export function mounts(readOnly: boolean): k8s.types.input.core.v1.VolumeMount[] {
  return [
    { name: "models", mountPath: STORE_PATH, ...(readOnly ? { readOnly } : {}) },
    { name: "tmp", mountPath: "/tmp" },
  ];
}
