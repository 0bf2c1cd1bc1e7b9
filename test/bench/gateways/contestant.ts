import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { execa } from "execa";
import { z } from "zod";
import type { PreparedGateway, RunningGateway } from "../peers/gateway.ts";

/** Core that every gateway has for itself; the model server and the load share the other. */
export const GATEWAY_CORE = 0;
/** Core of the model server and the load. */
export const LOAD_CORE = 1;

/** A cheap model server that runs. */
export interface RunningUpstream {
  /** Base address, without `/v1`. */
  url: string;
  stop(): Promise<void>;
}

/** Starts the model server that answers after so many ms. */
export async function startUpstream(delayMs: number): Promise<RunningUpstream> {
  const script = join(import.meta.dirname, "upstream.ts");
  const child = execa("taskset", ["-c", `${LOAD_CORE}`, process.execPath, script, `${delayMs}`], {
    buffer: false,
    reject: false,
    stderr: "inherit",
  });
  const first = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  const port = z.coerce.number().int().min(1).parse(first.value);
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      child.kill();
      await child;
    },
  };
}

/** Starts a gateway with a folder of its own, which goes when it stops. */
export async function startGateway(
  gateway: PreparedGateway,
  upstreams: readonly [string, ...string[]],
  timeoutMs?: number,
): Promise<RunningGateway> {
  const work = join(await mkdtemp(join(tmpdir(), "gorkheavy-bench-")), "work");
  await mkdir(work);
  const remove = (): Promise<void> => rm(join(work, ".."), { recursive: true, force: true });
  try {
    const running = await gateway.start({
      upstreams,
      core: GATEWAY_CORE,
      work,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    return {
      ...running,
      stop: async () => {
        await running.stop();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
