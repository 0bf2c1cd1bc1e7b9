import { STORE_PATH } from "../../runtime/contracts/index.ts";
import { containerSecurity } from "../placement.ts";
import type { BackendContainers, BackendSpec } from "./backend.ts";
import { apiOf, CONTEXT_TOKENS, mounts } from "./backend.ts";
import { httpProbe } from "./probes.ts";

/** Answers 200 once the weights are loaded, and before it listens nothing does. Source: vLLM, OpenAI-compatible server. */
const HEALTH_PATH = "/health";

/** Pure: a vLLM server with its OpenAI API; it fetches its weights from Hugging Face itself, as it starts. */
export function vllmContainers({ name, model, source, image, probes }: BackendSpec): BackendContainers {
  const { port } = apiOf("vllm");
  const [repository = model, revision] = (source ?? model).replace(/^hf\.co\//, "").split("@");
  return {
    init: [],
    main: {
      name: "engine",
      image,
      imagePullPolicy: "IfNotPresent",
      command: ["vllm", "serve", repository],
      args: [
        ...(revision === undefined ? [] : ["--revision", revision, "--tokenizer-revision", revision]),
        ...["--served-model-name", model, "--max-model-len", `${CONTEXT_TOKENS}`],
        ...["--host", "0.0.0.0", "--port", `${port}`],
      ],
      env: [
        // The image's own home is root's; what is downloaded goes to the store and outlives the pod.
        { name: "HOME", value: "/tmp" },
        { name: "HF_HOME", value: `${STORE_PATH}/${name}/huggingface` },
        { name: "VLLM_CACHE_ROOT", value: `${STORE_PATH}/${name}/vllm` },
        { name: "VLLM_NO_USAGE_STATS", value: "1" },
      ],
      ports: [{ name: "openai", containerPort: port, protocol: "TCP" }],
      ...(probes.startup === undefined ? {} : { startupProbe: httpProbe(probes.startup, port, HEALTH_PATH) }),
      livenessProbe: httpProbe(probes.liveness, port, HEALTH_PATH),
      readinessProbe: httpProbe(probes.readiness, port, HEALTH_PATH),
      securityContext: containerSecurity(),
      volumeMounts: [...mounts(false), { name: "shm", mountPath: "/dev/shm" }],
    },
  };
}
