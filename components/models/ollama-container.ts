import type * as k8s from "@pulumi/kubernetes";
import { MODEL_PORT, STORE_PATH, TAGS_PATH, threadsFor } from "../../runtime/contracts/index.ts";
import { containerSecurity } from "../placement.ts";
import type { BackendContainers, BackendSpec } from "./backend.ts";
import { CONTEXT_TOKENS, mounts } from "./backend.ts";
import { execProbe, httpProbe } from "./probes.ts";

type Container = k8s.types.input.core.v1.Container;
type EnvVar = k8s.types.input.core.v1.EnvVar;

/** Pure: an Ollama server, and before it what puts the model into its store. */
export function ollamaContainers(spec: BackendSpec): BackendContainers {
  return { init: [ollamaPull(spec)], main: ollamaServe(spec) };
}

/** Path of a model's own directory in the store: two servers in one directory would prune each other's half-finished downloads. */
function storeDirectory(name: string): string {
  return `${STORE_PATH}/${name}`;
}

function ollamaEnv({ name, model, digest }: BackendSpec): EnvVar[] {
  return [
    { name: "MODEL_NAME", value: model },
    ...(digest === undefined ? [] : [{ name: "MODEL_DIGEST", value: digest }]),
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
  const { image, profile, limits, digest } = spec;
  const threads = profile.threadsFollowCpuLimit ? threadsFor(limits.cpuMillicores) : undefined;
  return {
    name: "pull",
    image,
    imagePullPolicy: "IfNotPresent",
    command: ["sh", "-c"],
    args: [renderPullScript(threads, digest !== undefined)],
    env: [...ollamaEnv(spec), { name: "OLLAMA_HOST", value: `127.0.0.1:${MODEL_PORT}` }],
    securityContext: containerSecurity(),
    volumeMounts: mounts(false),
  };
}

/**
 * The shell script that puts `$MODEL_NAME` into the store.
 * @param threads written into the model itself, since Ollama has no server-wide setting (ollama#9784). Absent: Ollama's choice.
 * @param pinned whether its weights must be those of `$MODEL_DIGEST`; Ollama names the file of a layer after its SHA-256 and checks it
 */
export function renderPullScript(threads: number | undefined, pinned = false): string {
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
    ...(pinned
      ? [
          'if ! ollama show --modelfile "$MODEL_NAME" | grep -q "^FROM .*sha256-$MODEL_DIGEST\\$"; then',
          '  echo "$MODEL_NAME has other weights than sha256:$MODEL_DIGEST:" >&2',
          '  ollama show --modelfile "$MODEL_NAME" | grep "^FROM " >&2',
          '  ollama rm "$MODEL_NAME" >/dev/null',
          "  exit 1",
          "fi",
        ]
      : []),
    `printf '%s\\n' "FROM $MODEL_NAME" ${parameters.map((line) => `"${line}"`).join(" ")} > /tmp/Modelfile`,
    'ollama create "$MODEL_NAME" -f /tmp/Modelfile',
  ].join("\n");
}

/** Asks the server to load the weights if they are not; an empty prompt does just that. Source: Ollama FAQ, preloading. */
const LOAD_COMMAND = ["sh", "-c", 'ollama ps | grep -qF "$MODEL_NAME" || ollama run "$MODEL_NAME" ""'];
/** A load of 1.5 GB from a SATA disk takes 3 s, twice that while the node is busy (E3 of the performance notes). */
const LOAD_SECONDS = 30;

function ollamaServe(spec: BackendSpec): Container {
  const { image, probes } = spec;
  // An Ollama server has no path that tells whether weights are loaded, so the timing drives a command that makes sure of it.
  const load = (timing: typeof probes.liveness) => execProbe(timing, LOAD_COMMAND, LOAD_SECONDS);
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
    ...(probes.startup === undefined ? {} : { startupProbe: load(probes.startup) }),
    livenessProbe: httpProbe(probes.liveness, MODEL_PORT, TAGS_PATH),
    readinessProbe:
      probes.startup === undefined ? httpProbe(probes.readiness, MODEL_PORT, TAGS_PATH) : load(probes.readiness),
    securityContext: containerSecurity(),
    volumeMounts: mounts(false),
  };
}
