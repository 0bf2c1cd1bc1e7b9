import type * as k8s from "@pulumi/kubernetes";
import { MODEL_PORT, threadsFor } from "../../runtime/contracts/index.ts";
import { containerSecurity } from "../placement.ts";
import type { BackendContainers, BackendSpec } from "./backend.ts";
import { CONTEXT_TOKENS, ENGINE_STORE, mounts } from "./backend.ts";
import { httpProbe } from "./probes.ts";
import type { WeightsRef } from "./weights.ts";
import { renderPullArguments } from "./weights.ts";

type Container = k8s.types.input.core.v1.Container;

/** Port of the engine's own API; only the Ollama port is behind the Service. */
const ENGINE_PORT = 5000;

/** Our program in its image; the image's own entry point is the same, but a command says so. */
const PROGRAM = ["node", "/app/gorkheavy.mjs"];

/**
 * Pure: our engine, with llama.cpp or a script. With llama.cpp an init container first sees that the weights are in the store: where they
 * are, that takes no network, and a pod that comes to a node without them brings them itself.
 */
export function engineContainers(spec: BackendSpec): BackendContainers {
  const { backend, model, image, profile, probes, limits, storeIsFixed } = spec;
  const llama = ["--context", `${CONTEXT_TOKENS}`];
  if (profile.threadsFollowCpuLimit) llama.push("--threads", `${threadsFor(limits.cpuMillicores)}`);
  const main: Container = {
    name: "engine",
    image,
    imagePullPolicy: "IfNotPresent",
    command: PROGRAM,
    args: [
      ...["engine", "--backend", backend, "--store", ENGINE_STORE, "--model", model],
      ...["--host", "0.0.0.0", "--port", `${ENGINE_PORT}`, "--ollama-port", `${MODEL_PORT}`],
      ...(backend === "llama" ? llama : []),
    ],
    ports: [{ name: "ollama", containerPort: MODEL_PORT, protocol: "TCP" }],
    ...(probes.startup === undefined ? {} : { startupProbe: httpProbe(probes.startup, MODEL_PORT) }),
    livenessProbe: httpProbe(probes.liveness, MODEL_PORT),
    readinessProbe: httpProbe(probes.readiness, MODEL_PORT),
    securityContext: containerSecurity(),
    volumeMounts: mounts(true),
  };
  const init = backend === "llama" && !storeIsFixed ? [pullContainer("weights", image, spec)] : [];
  return { init, main };
}

/** Pure: what puts one model into the store, and does nothing where it is there. Its log says how far it is. */
export function pullContainer(name: string, image: string, weights: WeightsRef): Container {
  return {
    name,
    image,
    imagePullPolicy: "IfNotPresent",
    command: PROGRAM,
    args: ["models", "pull", ...renderPullArguments(weights), "--store", ENGINE_STORE],
    securityContext: containerSecurity(),
    volumeMounts: mounts(false),
  };
}
