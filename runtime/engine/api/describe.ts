import type { EngineModel } from "../../contracts/engine-api.ts";
import type { ModelStatus } from "../residency/status.ts";

/** A model as the main API tells of it. */
export function describe({ name, facts, status, memoryBytes, inFlight, expiresAtMs }: ModelStatus): EngineModel {
  return {
    name,
    state: status.state,
    ...(facts?.digest === undefined ? {} : { digest: facts.digest }),
    ...(status.state === "loading" ? { progress: status.progress } : {}),
    ...(status.state === "failed" ? { reason: status.reason } : {}),
    ...(status.state === "ready" ? { loadMs: Math.round(status.loadMs), memoryBytes, inFlight } : {}),
    ...(expiresAtMs === undefined ? {} : { expiresAtMs: Math.round(expiresAtMs) }),
    ...(facts === undefined
      ? {}
      : {
          sizeBytes: facts.sizeBytes,
          format: facts.format,
          family: facts.family,
          parameterSize: facts.parameterSize,
          quantization: facts.quantization,
          contextTokens: facts.contextTokens,
        }),
  };
}
