import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Report } from "../../../infra/lab/tools/cache.ts";
import { venvPython } from "../../../infra/lab/tools/venv.ts";
import { freePort, type Gateway, type GatewayOptions, MODEL, type RunningGateway, startPinned } from "./gateway.ts";

/** Newest whose pinned dependencies PyPI had when this was written. Never 1.82.7 or 1.82.8: both carried a back door (March 2026). */
const VERSION = "1.102.4";
const name = `LiteLLM ${VERSION}`;

/** LiteLLM's proxy, in a Python environment of its own. */
export const litellm: Gateway = {
  name,
  async prepare(report) {
    const python = await litellmPython(report);
    return { name, start: (options) => startLiteLlm(python, litellmConfig(options), options) };
  },
};

/** The Python that has LiteLLM; installed the first time. */
export async function litellmPython(report: Report): Promise<string> {
  return venvPython("bench-litellm", [`litellm[proxy]==${VERSION}`], report);
}

/** Starts the proxy with a configuration of its own format. One of its models must be named as `MODEL`. */
export async function startLiteLlm(
  python: string,
  config: unknown,
  options: Pick<GatewayOptions, "core" | "work" | "timeoutMs">,
): Promise<RunningGateway> {
  const port = await freePort();
  const file = join(options.work, "litellm.yaml");
  await writeFile(file, stringify(config));
  return startPinned(
    {
      name,
      url: `http://127.0.0.1:${port}`,
      headers: { authorization: "Bearer no-key-needed" },
      // The price list comes with the package; without this it is downloaded at every start.
      env: { LITELLM_LOCAL_MODEL_COST_MAP: "True", LITELLM_LOG: "ERROR" },
    },
    options,
    [
      ...[python, "-c", "from litellm import run_server; run_server()", "--config", file],
      ...["--host", "127.0.0.1", "--port", `${port}`, "--num_workers", "1", "--telemetry", "False"],
    ],
  );
}

/** One model; each further upstream is a fallback of the one before, with two retries. Source: docs.litellm.ai/docs/proxy/reliability. */
function litellmConfig({ upstreams, timeoutMs }: GatewayOptions): unknown {
  const nameOf = (index: number): string => (index === 0 ? MODEL : `fallback-${index}`);
  const others = upstreams.slice(1).map((_, index) => nameOf(index + 1));
  return {
    model_list: upstreams.map((url, index) => ({
      model_name: nameOf(index),
      litellm_params: { model: `openai/${MODEL}`, api_base: `${url}/v1`, api_key: "no-key-needed" },
    })),
    ...(others.length === 0 ? {} : { litellm_settings: { num_retries: 2, fallbacks: [{ [MODEL]: others }] } }),
    // Where faults are measured each is met afresh, so nobody is left alone for an earlier one.
    ...(timeoutMs === undefined ? {} : { router_settings: { timeout: timeoutMs / 1000, disable_cooldowns: true } }),
  };
}
