import type * as k8s from "@pulumi/kubernetes";
import { z } from "zod";
import type { Profile, ProbeTiming } from "../../runtime/contracts/index.ts";
import { MODEL_PORT, threadsFor } from "../../runtime/contracts/index.ts";
import { containerSecurity } from "../placement.ts";

type Container = k8s.types.input.core.v1.Container;
type Probe = k8s.types.input.core.v1.Probe;
type EnvVar = k8s.types.input.core.v1.EnvVar;

/** What answers in a model pod: `scripted` is our engine's stand-in that says it is one, `ollama` is an Ollama server with real weights. */
export const BackendSchema = z.enum(["scripted", "ollama"]);
export type Backend = z.output<typeof BackendSchema>;

/** Where the model store is mounted in every model pod. */
export const STORE_PATH = "/models";

/** Port of the engine's own API; only the Ollama port is behind the Service. */
const ENGINE_PORT = 5000;

/** Context window of the Ollama backend, tokens; what the orchestrator asks for by default, so that its first call re-loads nothing. */
const CONTEXT_TOKENS = 4096;

/** What a backend's containers are made from. */
export interface BackendSpec {
  /** Name of the model's Deployment; its part of the store is a directory of this name. */
  name: string;
  /** `family:tag` */
  model: string;
  image: string;
  profile: Profile;
  cpuLimitMillicores: number;
}

/** The containers of a model pod, without resources: those are the caller's. */
export interface BackendContainers {
  init: Container[];
  main: Container;
}

/** Pure: the containers that serve `spec.model` on port 11434. */
export function containersFor(backend: Backend, spec: BackendSpec): BackendContainers {
  switch (backend) {
    case "scripted":
      return { init: [], main: engineContainer(spec) };
    case "ollama":
      return { init: [ollamaPull(spec)], main: ollamaServe(spec) };
  }
}

/** Path of a model's own directory in the store: two servers in one directory would prune each other's half-finished downloads. */
export function storeDirectory(name: string): string {
  return `${STORE_PATH}/${name}`;
}

const mounts = [
  { name: "models", mountPath: STORE_PATH },
  { name: "tmp", mountPath: "/tmp" },
];

function engineContainer({ name, model, image, profile }: BackendSpec): Container {
  return {
    name: "engine",
    image,
    imagePullPolicy: "IfNotPresent",
    command: ["node", "/app/gorkheavy.mjs"],
    args: [
      "engine",
      "--store",
      storeDirectory(name),
      "--host",
      "0.0.0.0",
      "--port",
      `${ENGINE_PORT}`,
      "--ollama-port",
      `${MODEL_PORT}`,
      "--backend",
      "scripted",
      "--model",
      model,
    ],
    ports: [{ name: "ollama", containerPort: MODEL_PORT, protocol: "TCP" }],
    ...(profile.startup === undefined ? {} : { startupProbe: httpProbe(profile.startup) }),
    livenessProbe: httpProbe(profile.liveness),
    readinessProbe: httpProbe(profile.readiness),
    securityContext: containerSecurity(),
    volumeMounts: mounts,
  };
}

function ollamaEnv({ name, model }: BackendSpec): EnvVar[] {
  return [
    { name: "MODEL_NAME", value: model },
    // Ollama keeps its identity key under HOME, and the image's own home is root's.
    { name: "HOME", value: "/tmp" },
    { name: "OLLAMA_MODELS", value: storeDirectory(name) },
  ];
}

/**
 * Fetches the weights before the server starts, through a server of its own that listens inside the pod only.
 * Weights that are there already are not asked for again, so a pod also starts while the registry is away.
 */
function ollamaPull(spec: BackendSpec): Container {
  const { image, profile, cpuLimitMillicores } = spec;
  return {
    name: "pull",
    image,
    imagePullPolicy: "IfNotPresent",
    command: ["sh", "-c"],
    args: [renderPullScript(profile.threadsFollowCpuLimit ? threadsFor(cpuLimitMillicores) : undefined)],
    env: [...ollamaEnv(spec), { name: "OLLAMA_HOST", value: `127.0.0.1:${MODEL_PORT}` }],
    securityContext: containerSecurity(),
    volumeMounts: mounts,
  };
}

/**
 * The shell script that puts `$MODEL_NAME` into the store.
 * @param threads written into the model itself, since Ollama has no server-wide setting (ollama#9784). Absent: Ollama's choice.
 */
export function renderPullScript(threads: number | undefined): string {
  const parameters = [`PARAMETER num_ctx ${CONTEXT_TOKENS}`];
  if (threads !== undefined) parameters.push(`PARAMETER num_thread ${threads}`);
  return [
    "set -eu",
    'mkdir -p "$OLLAMA_MODELS"',
    "ollama serve & server=$!",
    "trap 'kill $server' EXIT",
    "tries=0",
    "until ollama list >/dev/null 2>&1; do",
    "  tries=$((tries + 1))",
    '  if [ "$tries" -ge 60 ]; then echo "the Ollama server did not start within 60 s" >&2; exit 1; fi',
    "  sleep 1",
    "done",
    'ollama show "$MODEL_NAME" >/dev/null 2>&1 || ollama pull "$MODEL_NAME"',
    `printf '%s\\n' "FROM $MODEL_NAME" ${parameters.map((line) => `"${line}"`).join(" ")} > /tmp/Modelfile`,
    'ollama create "$MODEL_NAME" -f /tmp/Modelfile',
  ].join("\n");
}

/** Asks the server to load the weights if they are not; an empty prompt does just that. Source: Ollama FAQ, preloading. */
const LOAD_COMMAND = ["sh", "-c", 'ollama ps | grep -qF "$MODEL_NAME" || ollama run "$MODEL_NAME" ""'];

function ollamaServe(spec: BackendSpec): Container {
  const { image, profile } = spec;
  return {
    name: "engine",
    image,
    imagePullPolicy: "IfNotPresent",
    command: ["ollama"],
    args: ["serve"],
    env: [
      ...ollamaEnv(spec),
      // All addresses of the pod; who may reach them is the network policy's to say.
      { name: "OLLAMA_HOST", value: `0.0.0.0:${MODEL_PORT}` },
      { name: "OLLAMA_KEEP_ALIVE", value: "-1" },
      { name: "OLLAMA_NUM_PARALLEL", value: "1" },
      { name: "OLLAMA_CONTEXT_LENGTH", value: `${CONTEXT_TOKENS}` },
    ],
    ports: [{ name: "ollama", containerPort: MODEL_PORT, protocol: "TCP" }],
    ...(profile.startup === undefined ? {} : { startupProbe: loadProbe(profile.startup) }),
    livenessProbe: httpProbe(profile.liveness),
    readinessProbe: profile.startup === undefined ? httpProbe(profile.readiness) : loadProbe(profile.readiness),
    securityContext: containerSecurity(),
    volumeMounts: mounts,
  };
}

function httpProbe(timing: ProbeTiming): Probe {
  return { httpGet: { path: timing.path, port: MODEL_PORT, scheme: "HTTP" }, ...timingOf(timing) };
}

/** An Ollama server has no path that tells whether weights are loaded, so the profile's timing drives a command that makes sure of it. */
function loadProbe(timing: ProbeTiming): Probe {
  const slowest = 30; // A load of 1.5 GB from a SATA disk takes 3 s, twice that while the node is busy (E3 of the performance notes).
  return {
    exec: { command: LOAD_COMMAND },
    ...timingOf({ ...timing, timeoutSeconds: Math.max(timing.timeoutSeconds, slowest) }),
  };
}

function timingOf({ initialDelaySeconds, periodSeconds, failureThreshold, timeoutSeconds }: ProbeTiming): Probe {
  return { initialDelaySeconds, periodSeconds, failureThreshold, timeoutSeconds };
}
