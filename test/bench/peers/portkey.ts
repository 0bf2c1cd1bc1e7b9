import { join } from "node:path";
import { execa } from "execa";
import { cached } from "../../../infra/lab/tools/cache.ts";
import { freePort, type Gateway, type GatewayOptions, startPinned } from "./gateway.ts";

/** Newest version on npm when this was written. */
const VERSION = "1.15.2";
/** What makes its streams work; the file says why. */
const STREAMS = new URL("portkey-streams.mjs", import.meta.url).href;
const name = `Portkey ${VERSION}`;

/** Portkey's gateway: the same language and web framework as ours, so the fair comparison. */
export const portkey: Gateway = {
  name,
  async prepare(report) {
    const { dir } = await cached(
      "bench-portkey",
      VERSION,
      async (into, say) => {
        say(`installing @portkey-ai/gateway ${VERSION} from npm`);
        const flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
        await execa("npm", ["install", "--prefix", into, ...flags, `@portkey-ai/gateway@${VERSION}`], { cwd: into });
      },
      { report },
    );
    const entry = join(dir, "node_modules/@portkey-ai/gateway/build/start-server.js");
    return {
      name,
      async start(options) {
        const port = await freePort();
        return startPinned(
          {
            name,
            url: `http://127.0.0.1:${port}`,
            headers: portkeyHeaders(options),
            // What its own container image sets.
            env: { NODE_ENV: "production" },
          },
          options,
          [process.execPath, "--import", STREAMS, entry, `--port=${port}`, "--headless"],
        );
      },
    };
  },
};

/** With one upstream the plain headers; with more its config header with fallback, two retries and a deadline. Source: docs/ of Portkey-AI/gateway. */
function portkeyHeaders({ upstreams, timeoutMs }: GatewayOptions): Record<string, string> {
  const [first] = upstreams;
  if (upstreams.length === 1 && timeoutMs === undefined)
    return {
      "x-portkey-provider": "openai",
      "x-portkey-custom-host": `${first}/v1`,
      authorization: "Bearer no-key-needed",
    };
  const config = {
    strategy: { mode: "fallback" },
    retry: { attempts: 2 },
    ...(timeoutMs === undefined ? {} : { request_timeout: timeoutMs }),
    targets: upstreams.map((url) => ({ provider: "openai", api_key: "no-key-needed", custom_host: `${url}/v1` })),
  };
  return { "x-portkey-config": JSON.stringify(config) };
}
