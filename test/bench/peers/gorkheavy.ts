import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundle } from "../../../runtime/bundle.mjs";
import { ORCHESTRATOR_NODE_FLAGS } from "../../../runtime/contracts/catalogue.ts";
import { type EnsembleConfigInput, renderEnsembleConfig } from "../../../runtime/contracts/ensemble-config.ts";
import { freePort, type Gateway, type GatewayOptions, MODEL, startPinned } from "./gateway.ts";

const name = "gorkheavy";

/** The orchestrator as its container starts it: one bundled file and Node. */
export const gorkheavy: Gateway = {
  name,
  async prepare() {
    const dir = await mkdtemp(join(tmpdir(), "gorkheavy-bench-bundle-"));
    const entry = join(dir, "gorkheavy.mjs");
    await bundle(entry);
    return {
      name,
      async start(options) {
        const port = await freePort();
        const file = join(options.work, "ensemble.yaml");
        await writeFile(file, configText(options));
        return startPinned({ name, url: `http://127.0.0.1:${port}` }, options, [
          ...[
            process.execPath,
            ...ORCHESTRATOR_NODE_FLAGS,
            entry,
            "serve",
            "--config",
            file,
            "--port",
            `${port}`,
            "--log-level",
            "error",
          ],
        ]);
      },
    };
  },
};

function configText({ upstreams, timeoutMs }: GatewayOptions): string {
  return renderEnsembleConfig({
    members: upstreams.map((url, index) => ({
      name: index === 0 ? MODEL : `fallback-${index}`,
      role: "candidate" as const,
      url,
      api: "openai" as const,
      model: MODEL,
    })),
    // Requests that are passed through leave no history, here as with the peers.
    store: { kind: "process" },
    // The peers have no such bound unless one is set.
    limits: { concurrent: 4096 },
    ...(timeoutMs === undefined ? {} : tested(timeoutMs)),
  });
}

/** With a deadline for each call it is faults that are measured: each is met afresh, so nobody is left alone for an earlier one. */
function tested(timeoutMs: number): Pick<EnsembleConfigInput, "deadlines" | "breaker"> {
  return {
    deadlines: { rewriteMs: timeoutMs, candidatesMs: timeoutMs, judgeMs: timeoutMs, totalMs: 2 * timeoutMs },
    breaker: { failures: 1_000 },
  };
}
